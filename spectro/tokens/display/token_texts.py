"""Text of each token as its own tokenizer decodes it (ADR 062).

In a byte-level vocabulary a token is its bytes. Other decoders write, move or drop white space by
the token's neighbours (SentencePiece, WordPiece, `</w>`). The text of token x *inside a text* is
read between two copies of a frame token a, whose first and last texts are known:

    decode([a, x, a]) = first(a) + inside(x) + last(a)

in one call for the whole vocabulary. Only the ends of a text differ: the first token is read from
decode([x, a]), the last from decode([a, x]).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

from spectro.tokens.display.vocabulary import byte_pieces

NUM_CANDIDATES = 4096
"""Candidates for the frame token, Latin letters and short ones first."""
REPLACEMENT = "\ufffd"
"""Decoders' mark for bytes that are not UTF-8."""
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
"""A one-byte entry of a vocabulary with byte fallback."""
_LATIN = re.compile("[A-Za-z]")
_LEVEL = "ByteLevel"


class Tokenizer(Protocol):
    """The used part of a Hugging Face tokenizer."""

    def get_vocab(self) -> dict[str, int]: ...

    def get_added_vocab(self) -> dict[str, int]: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]: ...

    def batch_decode(self, sequences: list[list[int]], **kwargs: Any) -> list[str]: ...

    def __call__(self, text: str, **kwargs: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A token between whose copies others are decoded."""

    token: int
    """Its id."""
    first: str
    """Its text at the beginning."""
    last: str
    """Its text at the end."""


class TokenTexts:
    """Bytes of the tokens of one tokenizer, singly and in a text."""

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        """`size` is the model's number of ids; the tokenizer may have fewer, more, or gaps."""
        self._tokenizer, self._size = tokenizer, size
        ids = sorted({index for index in tokenizer.get_vocab().values() if 0 <= index < size})
        self._entries = dict(zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True))
        self._has_bytes, self._suffix = is_byte_level(tokenizer), _end_of_word(tokenizer)
        known = {"Sequence", _LEVEL}
        alone = set(_kinds(_part(tokenizer, "decoder"))) <= known and not self._suffix
        self._is_plain = self._has_bytes and alone
        """Whether every token is its bytes, whatever its neighbours."""

    @cached_property
    def pieces(self) -> list[bytes | None]:
        """Bytes of each token inside a text, by id; None for an id without a token.

        Special tokens are their names. Raises ValueError, in one line, if the decoding cannot be
        split into tokens.
        """
        if self._is_plain:
            entries = [self._entries.get(index) for index in range(self._size)]
            return byte_pieces(entries, self._tokenizer.get_added_vocab())
        found: list[bytes | None] = [None] * self._size
        for index, piece in self._inside(self._entries).items():
            found[index] = piece
        for index, token in self._tokenizer.added_tokens_decoder.items():
            if index in self._entries and token.special:
                found[index] = self._entries[index].encode()
        return found

    def in_text(self, ids: Sequence[int]) -> list[bytes | None]:
        """Bytes of each token of a whole text, in order; None for an id without a token.

        Together the tokenizer's decoding of all ids (with special tokens, no clean-up of white
        space), except that bytes which are not UTF-8 are kept.
        """
        if self._is_plain:
            return [self.pieces[index] if index < self._size else None for index in ids]
        known = [index for index in ids if index in self._entries]
        found = iter(self._of_text(known) if known else [])
        return [next(found) if index in self._entries else None for index in ids]

    def entry(self, text: str) -> int | None:
        """Id of an entry of the tokenizer's file: `▁the`, `##ing`, `Ġthe`."""
        return next((index for index, entry in self._entries.items() if entry == text), None)

    def written(self, text: str) -> list[int]:
        """Ids of a text, without special tokens around it."""
        found = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return [int(index) for index in found["input_ids"]]

    def _of_text(self, ids: list[int]) -> list[bytes]:
        (whole,) = self._decode([ids])
        inside = self._inside(set(ids))
        found = [inside[index] for index in ids]
        a = self._frame
        if len(ids) == 1:
            found = [self._piece(ids[0], whole)]
        else:
            start, end = self._decode([[ids[0], a.token], [a.token, ids[-1]]])
            found[0] = self._piece(ids[0], _between(start, "", a.last))
            found[-1] = self._piece(ids[-1], _between(end, a.first, ""))
        joined = _text(b"".join(found))
        return found if joined is None or joined == whole else self._grown(ids, whole)

    def _grown(self, ids: list[int], whole: str) -> list[bytes]:
        """Token by token, one call each, for decoders that look beyond the neighbours."""
        ends = [0]
        for stop in range(1, len(ids)):
            (part,) = self._decode([ids[:stop]])
            ends.append(ends[-1] + _num_shared(part[ends[-1] :], whole[ends[-1] :]))
        ends.append(len(whole))
        return [whole[start:end].encode() for start, end in pairwise(ends)]

    def _inside(self, ids: Collection[int]) -> dict[int, bytes]:
        a = self._frame
        texts = self._decode([a.token, index, a.token] for index in ids)
        return {
            index: self._piece(index, _between(text, a.first, a.last))
            for index, text in zip(ids, texts, strict=True)
        }

    def _piece(self, index: int, text: str | None) -> bytes:
        """Bytes of a token decoded as `text` (None: not separable from its neighbours)."""
        entry = self._entries[index]
        byte = _BYTE.fullmatch(entry)
        if byte and text != entry:
            return bytes.fromhex(byte[1])
        if self._has_bytes and (text is None or REPLACEMENT in text):
            stem = entry.removesuffix(self._suffix)
            return (byte_pieces([stem], ())[0] or b"") + (b"" if stem == entry else b" ")
        return (entry if text is None else text).encode()

    @cached_property
    def _frame(self) -> Frame:
        """The frame token: adds the same text inside and at the end, preferably no white space.
        Raises ValueError if there is none.
        """
        added = set(self._tokenizer.get_added_vocab().values())
        ids = [index for index in self._entries if index not in added]
        ids.sort(key=lambda i: (not _LATIN.search(self._entries[i]), len(self._entries[i]), i))
        ids = ids[:NUM_CANDIDATES]
        one, two, three = (self._decode([index] * num for index in ids) for num in (1, 2, 3))
        found = [
            Frame(token=index, first=first, last=both[len(first) :])
            for index, first, both, all_three in zip(ids, one, two, three, strict=True)
            if both.startswith(first) and len(both) > len(first)
            and all_three == both + both[len(first) :] and REPLACEMENT not in both
        ]  # fmt: skip
        if not found:
            raise ValueError(
                f"the tokenizer's decoding cannot be split into tokens: of {len(ids)} entries none "
                f"adds the same text each time ({type(self._tokenizer).__name__}, decoder "
                f"{_kinds(_part(self._tokenizer, 'decoder'))})"
            )
        return min(found, key=lambda a: any(map(str.isspace, a.last)))  # the first of the best

    def _decode(self, sequences: Iterable[list[int]]) -> list[str]:
        rows = list(sequences)
        if not rows:
            return []
        return self._tokenizer.batch_decode(
            rows, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )


def is_byte_level(tokenizer: object) -> bool:
    """Whether entries are bytes written as printable characters (GPT-2, GPT-NeoX).

    Decided by the decoder, or by the pre-tokenizer and normalizer without one.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return hasattr(tokenizer, "byte_decoder")  # the Python-only GPT-2 and its kin
    decoder = _part(tokenizer, "decoder")
    if decoder is not None:
        return _LEVEL in _kinds(decoder)
    parts = (_part(tokenizer, name) for name in ("pre_tokenizer", "normalizer"))
    return any(_LEVEL in _kinds(part) for part in parts)


def _end_of_word(tokenizer: object) -> str:
    """Suffix of entries that end a word, such as `</w>`, or empty."""
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    return getattr(model, "end_of_word_suffix", None) or ""


def _part(tokenizer: object, name: str) -> Any:
    return getattr(getattr(tokenizer, "backend_tokenizer", None), name, None)


def _kinds(part: Any) -> list[str]:
    """Types of a part of a fast tokenizer and of everything in it."""
    if part is None:
        return []
    found: list[str] = []

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == "type")
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                collect(each)

    collect(json.loads(part.__getstate__()))
    return found


def _between(text: str, before: str, after: str) -> str | None:
    """The text between two others; None if they do not enclose it."""
    end = len(text) - len(after)
    fits = text.startswith(before) and text.endswith(after) and end >= len(before)
    return text[len(before) : end] if fits else None


def _num_shared(a: str, b: str) -> int:
    """Length of the common prefix."""
    differ = (index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(differ, min(len(a), len(b)))


def _text(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None
