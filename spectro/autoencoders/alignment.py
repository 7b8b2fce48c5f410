"""Which position of a reading model belongs to each token of a run.

A row of a run is (x, y): y after the context x. A feature is read either where the model has just
read y (`target`), or where it predicts y (`context`). A model with the run's tokenizer reads the
run's own ids. Another one reads the same text, and its positions are found by characters: `target`
is its token that holds the last character of y, `context` its last token that ends before y begins.

Shapes: S sequences, T context, U positions of the reading model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.autoencoders.config import ReadAt

UNREAD = -1
"""Position of a row that the reading model cannot place."""
Tokenize = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]
"""Text → ids, and first and last + 1 character of each."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the model reads of some sequences, and where each row is."""

    ids: list[NDArray[np.int64]]
    """Ids of each sequence."""
    position_ST: NDArray[np.int64]
    """Position of each row; `UNREAD` where there is none."""


def same_ids(ids_ST1: NDArray[np.integer], at: ReadAt) -> Reading:
    """For a model that has the run's tokenizer."""
    num, length = ids_ST1.shape
    positions = np.arange(length - 1) + (at is ReadAt.TARGET)
    return Reading(
        ids=[row.astype(np.int64) for row in ids_ST1],
        position_ST=np.repeat(positions[None], num, axis=0).astype(np.int64),
    )


def by_characters(
    ids_ST1: NDArray[np.integer],
    pieces: Sequence[bytes | None],
    tokenize: Tokenize,
    end_id: int | None,
    at: ReadAt,
) -> Reading:
    """For a model with another tokenizer.

    Args:
        ids_ST1: of the run.
        pieces: bytes of each of the run's tokens; None for one that is no text, such as the end of
            a document.
        tokenize: of the reading model, without special tokens.
        end_id: what it reads at the end of a document; None: nothing.
        at: which position of a row is taken.
    """
    found = [_aligned([int(i) for i in row], pieces, tokenize, end_id, at) for row in ids_ST1]
    return Reading(
        ids=[ids for ids, _ in found], position_ST=np.stack([position for _, position in found])
    )


def with_beginning(reading: Reading, bos_id: int | None, max_positions: int) -> Reading:
    """The same after a token of the beginning (None: without), cut to the model's context.

    A sequence that begins with that token is not given a second one. Rows beyond the cut are
    `UNREAD`.
    """
    ids, position_ST = [], reading.position_ST.copy()
    for sequence, row in enumerate(reading.ids):
        if bos_id is not None and (not row.size or row[0] != bos_id):
            row = np.concatenate([[bos_id], row])
            position_ST[sequence] += position_ST[sequence] != UNREAD
        ids.append(row[:max_positions])
    position_ST[position_ST >= max_positions] = UNREAD
    return Reading(ids=ids, position_ST=position_ST)


def _aligned(
    row: list[int],
    pieces: Sequence[bytes | None],
    tokenize: Tokenize,
    end_id: int | None,
    at: ReadAt,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the other model for one sequence, and the position of each of its rows."""
    ids: list[int] = []
    position_T1 = np.full(len(row), UNREAD, np.int64)
    start = 0
    while start < len(row):
        stop = start
        while stop < len(row) and pieces[row[stop]] is not None:
            stop += 1
        texts = [pieces[token] or b"" for token in row[start:stop]]
        own, position = _of_document(texts, tokenize, at)
        offset = len(ids)
        before = offset - 1 if at is ReadAt.CONTEXT else UNREAD  # what was read before the document
        position_T1[start:stop] = np.where(position >= 0, position + offset, before)
        ids.extend(own)
        if stop < len(row):  # the end of a document
            if at is ReadAt.CONTEXT:
                position_T1[stop] = len(ids) - 1
            if end_id is not None:
                ids.append(end_id)
                if at is ReadAt.TARGET:
                    position_T1[stop] = len(ids) - 1
        start = stop + 1
    position_T1[position_T1 < 0] = UNREAD
    return np.array(ids, np.int64), position_T1[1:]


def _of_document(
    texts: list[bytes], tokenize: Tokenize, at: ReadAt
) -> tuple[Sequence[int], NDArray[np.int64]]:
    """Ids of one document's part, and a position for each of its tokens; −1 before the first."""
    joined = b"".join(texts).decode("utf-8", errors="surrogateescape")
    sizes = [1 if "\udc80" <= c <= "\udcff" else len(c.encode()) for c in joined]
    char_end = np.cumsum(sizes)  # in bytes
    ids, offsets = tokenize("".join("�" if "\udc80" <= c <= "\udcff" else c for c in joined))
    first_U = np.array([first for first, _ in offsets], np.int64)
    end_U = np.array([end for _, end in offsets], np.int64)
    byte_end = np.cumsum([len(text) for text in texts])
    if at is ReadAt.TARGET:  # the last token that begins before the end of y's last character
        char = np.searchsorted(char_end, byte_end, side="left")
        return ids, np.searchsorted(first_U, char, side="right") - 1
    byte_start = np.concatenate([[0], byte_end[:-1]])
    num_whole = np.searchsorted(char_end, byte_start, side="right")  # characters before y
    return ids, np.searchsorted(end_U, num_whole, side="right") - 1
