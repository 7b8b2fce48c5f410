"""Activations of a run's tokens at one hook of a model, a batch of sequences at a time.

Shapes: S sequences, T context, U positions of the reading model, n rows of a batch, D vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from spectro.autoencoders.alignment import (
    UNREAD,
    Reading,
    by_characters,
    same_ids,
    with_beginning,
)
from spectro.autoencoders.hooks import HookReader
from spectro.measure.checkpoint_copy import on_this_machine
from spectro.models.load import load_model, load_tokenizer
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder.source import AutoencoderSource

BATCH_TOKENS = 8192


class RowReader:
    """Reads vectors for the rows (x, y) of a run.

    Args:
        source: the autoencoder and the model.
        pieces: bytes of each of the run's tokens, None for those that are no text; None: the
            tokenizer is not known.
        vocab_size: of the run.

    Raises ValueError, in one line, where the model lacks the hook, where vectors there have another
    size than the autoencoder's, and where the tokenizers differ and cannot be aligned.
    """

    def __init__(
        self, source: AutoencoderSource, pieces: Sequence[bytes | None] | None, vocab_size: int
    ) -> None:
        local = on_this_machine(source.model, None, weights=True)
        self.model: PreTrainedModel = load_model(local)
        self._source = source
        self._read = HookReader(self.model, source.hook, centred=source.released.centred)
        config = self.model.config
        self._max_positions = int(getattr(config, "max_position_embeddings", 1 << 30))
        bos = getattr(config, "bos_token_id", None)
        self._bos = bos if source.released.prepend_bos else None
        self._align = _aligner(source, pieces, vocab_size, lambda: load_tokenizer(local))
        self._require_size()

    @property
    def device(self) -> torch.device:
        """Where vectors are."""
        found: torch.device = self.model.device
        return found

    def rows(self, ids_ST1: NDArray[np.integer]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Ascending rows (sequence · T + position) and their vectors [n, D]; rows that cannot be
        read are left out."""
        step = max(1, BATCH_TOKENS // ids_ST1.shape[1])
        context = ids_ST1.shape[1] - 1
        for first in range(0, len(ids_ST1), step):
            part = self._align(ids_ST1[first : first + step])
            reading = with_beginning(part, self._bos, self._max_positions)
            x_SUD = self._read(self._padded(reading.ids))
            sequence_n, place_n = np.nonzero(reading.position_ST != UNREAD)
            position_n = reading.position_ST[sequence_n, place_n]
            row_n = (first + sequence_n) * context + place_n
            yield row_n, x_SUD[torch.from_numpy(sequence_n), torch.from_numpy(position_n)]

    def _padded(self, ids: list[NDArray[np.int64]]) -> Tensor:
        """Sequences filled up at their ends, which positions before do not see."""
        padded = np.zeros((len(ids), max(1, *(row.size for row in ids))), np.int64)
        for sequence, row in enumerate(ids):
            padded[sequence, : row.size] = row
        return torch.from_numpy(padded).to(self.device)

    def _require_size(self) -> None:
        size = self._read(torch.zeros((1, 1), dtype=torch.int64, device=self.device)).shape[-1]
        wanted = self._source.released.autoencoder.num_inputs
        if size != wanted:
            raise ValueError(
                f"{self._source.what}: the autoencoder reads vectors of {wanted}, found {size} "
                "there: is it of another model or another hook?"
            )


def _aligner(
    source: AutoencoderSource,
    pieces: Sequence[bytes | None] | None,
    vocab_size: int,
    tokenizer_of: Callable[[], PreTrainedTokenizerBase],
) -> Callable[[NDArray[np.integer]], Reading]:
    """How the run's tokens become those of the model that is read."""
    at = source.config.read_at
    if source.is_own_model:
        return lambda ids_ST1: same_ids(ids_ST1, at)
    if pieces is None:
        raise ValueError(
            f"{source.what}: the tokenizer of the run's own model is missing here, so that it "
            "cannot be compared with that of the model that is read"
        )
    tokenizer = tokenizer_of()
    known, theirs = tuple(pieces), Vocabulary.of(tokenizer, vocab_size).pieces
    if theirs is not None and tuple(theirs) == known:
        return lambda ids_ST1: same_ids(ids_ST1, at)
    if not tokenizer.is_fast:
        raise ValueError(
            f"{source.what}: its tokenizer differs from the run's and gives no offsets, by which "
            "they could be aligned: expected a fast tokenizer"
        )

    def tokenize(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        found: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]

    return lambda ids_ST1: by_characters(ids_ST1, known, tokenize, tokenizer.eos_token_id, at)
