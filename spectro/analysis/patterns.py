"""Pattern types of a token in context: properties of y and of the tokens before it.

The seven names are those by which Baker et al. 2025 (arXiv 2504.18274) sort the tokens at the ends
of principal components. The definitions are ours where the print leaves room, and depend on
nothing but the bytes of the tokens and their order; no corpus is counted. A token may be of
several types, or of none.

Text: the bytes that a token adds inside a text (`token_texts.py`), read as UTF-8. A token that is
only a part of a character has no text and is of no type but `induction`, which looks at ids alone.
*Core*: text less the white space around it.

Shapes: S sequences, T context, V vocabulary, P = 7 types. y of position t is ids[t + 1]; the token
before it is ids[t].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ids = NDArray[np.integer]

MARKS_OF_DELIMITERS = frozenset("()[]{}<>\"'`“”‘’«»‹›,;:.!?…")
"""Brackets, quotation marks and punctuation."""
BRACKETS = frozenset("()[]{}<>")
QUOTES = frozenset("\"'`“”‘’«»‹›")
MARKS_OF_FORMATTING = frozenset("#*_=-–—~`|\\/<>&%@^$+•·")
"""Marks of layout and markup: headings, rules, lists, tables, tags, comments, TeX."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of every token of the vocabulary from its own bytes; bool [V]."""

    all_letters: Bools
    """Letters only, except for a space at the end."""
    spaced_letters: Bools
    """One space, then the same."""
    ends_in_letter: Bools
    """The last character is a letter."""
    all_space: Bools
    """Text that is white space and nothing else."""
    has_break: Bools
    """Text with a line break in it."""
    digits: Bools
    """The core is decimal digits and nothing else."""
    delimiters: Bools
    """The core is not empty, and each character is one of `MARKS_OF_DELIMITERS`."""
    brackets: Bools
    """The core is not empty, and each character is one of `BRACKETS`."""
    quotes: Bools
    """The core is not empty, and each character is one of `QUOTES`."""
    markup: Bools
    """The core is not empty, and each character is one of `MARKS_OF_FORMATTING`."""

    @classmethod
    def of(cls, vocabulary: Sequence[bytes | None]) -> Traits:
        """Read every token of a vocabulary once; None is a token without text."""
        texts = [_text(piece) for piece in vocabulary]

        def each(test: Callable[[str], bool]) -> Bools:
            return np.array([bool(text) and test(text) for text in texts], bool)

        return cls(
            all_letters=each(_is_word),
            spaced_letters=each(lambda text: text[0] == " " and _is_word(text[1:])),
            ends_in_letter=each(lambda text: text[-1].isalpha()),
            all_space=each(str.isspace),
            has_break=each(lambda text: "\n" in text or "\r" in text),
            digits=each(lambda text: text.strip().isdecimal()),
            delimiters=each(lambda text: _only(text, MARKS_OF_DELIMITERS)),
            brackets=each(lambda text: _only(text, BRACKETS)),
            quotes=each(lambda text: _only(text, QUOTES)),
            markup=each(lambda text: _only(text, MARKS_OF_FORMATTING)),
        )


def word_start(traits: Traits, ids_ST1: Ids) -> Bools:
    """The first token of a word: letters with one space of their own before them, or letters alone
    after a token that does not end in a letter (a line break, a bracket, a digit, an underscore).
    """
    y, before = ids_ST1[:, 1:], ids_ST1[:, :-1]
    alone = traits.all_letters[y] & ~traits.ends_in_letter[before]
    result: Bools = traits.spaced_letters[y] | alone
    return result


def word_part(traits: Traits, ids_ST1: Ids) -> Bools:
    """A later token of a word: letters alone, after a token that ends in a letter."""
    result: Bools = traits.all_letters[ids_ST1[:, 1:]] & traits.ends_in_letter[ids_ST1[:, :-1]]
    return result


def induction(traits: Traits, ids_ST1: Ids) -> Bools:
    """y ends a repeated pair: u v … u v, where u is the token before y and y is the second v.

    The earlier pair must be over before the later one begins (`a a a` is none), and may stand
    anywhere in the context. Baker et al. ask besides that v be improbable after u in general; that
    would need a corpus, so common pairs are among these.
    """
    ids = ids_ST1.astype(np.int64)
    pair_ST = ids[:, :-1] * (int(ids.max(initial=0)) + 1) + ids[:, 1:]
    result: Bools = np.arange(pair_ST.shape[1]) - first_occurrence(pair_ST) >= 2
    return result


def first_occurrence(value_ST: Ids) -> NDArray[np.int64]:
    """Place in its row at which each value occurs first, [S, T]."""
    order_ST = np.argsort(value_ST, axis=1, kind="stable")
    sorted_ST = np.take_along_axis(value_ST, order_ST, axis=1)
    is_first_ST = np.ones(value_ST.shape, bool)
    is_first_ST[:, 1:] = sorted_ST[:, 1:] != sorted_ST[:, :-1]
    start_ST = np.where(is_first_ST, np.arange(value_ST.shape[1]), 0)
    np.maximum.accumulate(start_ST, axis=1, out=start_ST)
    first_ST = np.empty_like(order_ST)
    np.put_along_axis(first_ST, order_ST, np.take_along_axis(order_ST, start_ST, axis=1), axis=1)
    return first_ST


def spacing(traits: Traits, ids_ST1: Ids) -> Bools:
    """White space only."""
    return traits.all_space[ids_ST1[:, 1:]]


def delimiter(traits: Traits, ids_ST1: Ids) -> Bools:
    """Brackets, quotation marks and marks of punctuation, with or without white space around."""
    return traits.delimiters[ids_ST1[:, 1:]]


def formatting(traits: Traits, ids_ST1: Ids) -> Bools:
    r"""A token with a line break, or only marks of markup (`##`, `---`, `|`, `</`, `\`), with or
    without white space around.
    """
    y = ids_ST1[:, 1:]
    result: Bools = traits.has_break[y] | traits.markup[y]
    return result


def numeric(traits: Traits, ids_ST1: Ids) -> Bools:
    """Decimal digits and nothing else, with or without white space around."""
    return traits.digits[ids_ST1[:, 1:]]


TYPES: dict[str, Callable[[Traits, Ids], Bools]] = {
    "word start": word_start,
    "word part": word_part,
    "induction": induction,
    "spacing": spacing,
    "delimiter": delimiter,
    "formatting": formatting,
    "numeric": numeric,
}
"""By name, in column order."""
NAMES = tuple(TYPES)


def pattern_types(traits: Traits, ids_ST1: Ids) -> Bools:
    """All types of all tokens, bool [S, T, P].

    Raises ValueError, in one line, for an id that the vocabulary does not have.
    """
    size = traits.all_letters.size
    if ids_ST1.size and (ids_ST1.min() < 0 or ids_ST1.max() >= size):
        raise ValueError(
            f"expected token ids within 0 … {size - 1}, found {ids_ST1.min()} … {ids_ST1.max()}: "
            "is this the vocabulary of another model?"
        )
    return np.stack([found(traits, ids_ST1) for found in TYPES.values()], axis=-1)


def _text(piece: bytes | None) -> str:
    """Text of a token; empty where it is not a whole text."""
    try:
        return (piece or b"").decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _is_word(text: str) -> bool:
    """Letters; vocabularies that mark the ends of words have the space after them (`the</w>`)."""
    return text.removesuffix(" ").isalpha()


def _only(text: str, marks: frozenset[str]) -> bool:
    core = text.strip()
    return bool(core) and all(char in marks for char in core)
