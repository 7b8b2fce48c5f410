"""Texts → ids by a model's tokenizer: one set of rules for a run's sources and `spectro text`.

Text stays text: what reads like a special token (`<|endoftext|>` in a document about tokenizers)
is written with ordinary tokens, so that end-of-text only ever ends a document.
"""

from __future__ import annotations

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerBase

from spectro.tokens.packing import Encoded
from spectro.tokens.unknown import UnknownTokens, count_unknown

_BYTE_NAMES = frozenset(f"<0x{byte:02X}>" for byte in range(256))


class Encoder:
    """A tokenizer without its special tokens; says which characters it does not know."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """Of the tokenizer of the model `name`."""
        self._tokenizer = tokenizer
        self._name = name
        self._unknown_ids = _unknown_ids(tokenizer)
        self._writes_all = _writes_every_byte(tokenizer)

    def __call__(self, texts: list[str]) -> Encoded:
        """Ids of each text; characters are counted where the tokenizer may not know some."""
        found = self._tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        ids = [list(own) for own in found["input_ids"]]
        if self._writes_all:
            return Encoded(ids, UnknownTokens(), self._name)
        total = UnknownTokens()
        for number, (text, own) in enumerate(zip(texts, ids, strict=True)):
            known = ~np.isin(np.asarray(own, dtype=np.int64), self._unknown_ids)
            if found.encodings is not None:
                one = count_unknown(text, found.encodings[number].offsets, known)
            else:
                one = _by_share(text, known.size, int(known.sum()))
            total.num_chars += one.num_chars
            total.num_unknown += one.num_unknown
        return Encoded(ids, total, self._name)


def _by_share(text: str, num_ids: int, num_known: int) -> UnknownTokens:
    """Where tokens have no spans: as large a part of the characters is unknown as of the ids."""
    num_chars = len("".join(text.split()))
    unknown = num_chars * (num_ids - num_known) / num_ids if num_ids else num_chars
    return UnknownTokens(num_chars=num_chars, num_unknown=round(unknown))


def _unknown_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the token for what is unknown, as the tokenizer and the model within it name it."""
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    of_model = getattr(model, "unk_token", None)
    vocab = tokenizer.get_vocab()
    found = {tokenizer.unk_token_id, getattr(model, "unk_id", None), vocab.get(of_model or "")}
    return sorted(int(own) for own in found if own is not None)


def _writes_every_byte(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it has a token for each of the 256 bytes, and falls back on them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    vocab: set[str] = set(tokenizer.get_vocab())
    if getattr(backend.model, "byte_fallback", False):
        return vocab >= _BYTE_NAMES
    before = f"{backend.pre_tokenizer} {backend.normalizer}"
    return "ByteLevel" in before and vocab >= set(ByteLevel.alphabet())
