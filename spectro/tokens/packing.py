"""Packing as GPT-NeoX and Pythia were trained: documents joined by end-of-text, cut to length.

The token stream is doc_0, EOT, doc_1, EOT, ...; sample i covers stream[i·T : i·T + T + 1], so
neighbours share one id, which is the last target of one and the first input of the next.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.unknown import UnknownTokens

_BATCH_DOCUMENTS = 16
INNER_ENDS = "ids of end-of-text within documents"
"""For tokenizers that use one id for end-of-text and something else, such as unknown text."""


class Encoded(NamedTuple):
    """Texts as ids."""

    ids: list[list[int]]
    """Per text, without special tokens."""
    unknown: UnknownTokens
    """Unknown characters; none where every text can be written."""
    tokenizer: str
    """Name, for messages."""


Encode = Callable[[list[str]], Encoded]


def num_samples(num_ids: int, context: int) -> int:
    """Whole samples of `context` + 1 ids, overlapping by one, in a stream of `num_ids`."""
    return max(0, (num_ids - 1) // context)


def sample(
    stream: NDArray[np.integer], indices: NDArray[np.int64], context: int
) -> NDArray[np.int32]:
    """Samples of a stream by index; int32 [len(indices), context + 1]."""
    offsets_T1 = np.arange(context + 1)
    return np.asarray(stream[indices[:, None] * context + offsets_T1], dtype=np.int32)


def encode_stream(
    documents: Iterable[str],
    encode: Encode,
    *,
    eot_id: int,
    vocab_size: int,
    enough: Callable[[int], bool],
    report: SourceReport,
) -> NDArray[np.int32]:
    """Tokenise documents, end-of-text after each, until `enough(num_ids)` or the end.

    Batches have a fixed size, so that the number read depends on the documents alone. Returns the
    stream, int32 [num_ids]; the report counts unknown characters. Raises ValueError for ids outside
    the vocabulary, and for too many unknown characters (`unknown.py`).
    """
    unknown = UnknownTokens()
    parts: list[NDArray[np.int32]] = []
    num_ids = 0
    for batch in _batches(documents):
        encoded = encode(batch)
        unknown.add(encoded.unknown, report, encoded.tokenizer)
        for ids in encoded.ids:
            if ids and not (min(ids) >= 0 and max(ids) < vocab_size):
                raise ValueError(
                    f"the tokenizer gave ids from {min(ids)} to {max(ids)}, the model's "
                    f"vocabulary is 0 to {vocab_size - 1}: do tokenizer and model belong together?"
                )
            report.count(INNER_ENDS, ids.count(eot_id))
            parts.append(np.asarray([*ids, eot_id], dtype=np.int32))
            num_ids += len(ids) + 1
        if enough(num_ids):
            break
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def first_batch(documents: Iterable[str]) -> list[str]:
    """The first batch of documents, for checks before a run."""
    return next(_batches(documents), [])


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, _BATCH_DOCUMENTS)):
        yield batch
