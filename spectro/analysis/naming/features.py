"""What a name may say of a token in context: y, tokens before it, kinds, repetition, subset, place.

Every feature is one whole number per token, computed within its sequence, so that how tokens are
cut into blocks changes nothing. −1: not there, as the token before the first.

Shapes: S sequences, T context, N = S·T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.patterns import Bools, Ids, Traits, first_occurrence, word_part, word_start

Ints = NDArray[np.int64]
OTHER = "other text"
WORDS = ("word start", "capitalised word start", "upper-case word start")
PARTS = ("word part", "capitalised word part", "upper-case word part")
KINDS = (
    OTHER,
    *WORDS,
    *PARTS,
    "number",
    "bracket",
    "quotation mark",
    "punctuation",
    "markup",
    "spaces",
    "line break",
)
"""Kinds of token by `patterns.py`, made disjoint: a token is of the last that it satisfies."""
REPEATS = (0, 1, 2, 4, 8)
"""Lengths of repetition that are distinguished."""
TOKENS = ("y", "before", "before2")
"""Features whose values are token ids."""
NUM_PLACES = 32
"""Intervals of positions: 0, 1–2, 3–6, 7–14, …; the k-th begins at 2^k − 1."""


@dataclass(frozen=True, kw_only=True)
class SequenceBlock:
    """Some whole consecutive sequences of a run."""

    first_sequence: int
    """Id of the first."""
    ids_ST1: Ids
    """Token ids."""
    subset_S: Ids
    """Index of the subset of each."""

    @property
    def sequence_id_S(self) -> Ints:
        """Ids of the sequences."""
        return self.first_sequence + np.arange(len(self.ids_ST1))

    @property
    def first_token_id(self) -> int:
        """Id of the first token."""
        return int(self.first_sequence * (self.ids_ST1.shape[1] - 1))


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Properties of every token of a vocabulary, and the subsets that there are."""

    traits: Traits
    """Kinds that depend on the bytes alone."""
    case_V: NDArray[np.int8]
    """0 without capitals, 1 capitalised, 2 two or more letters, all upper-case."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""

    @classmethod
    def of(cls, vocabulary: Sequence[bytes | None], subset_names: Sequence[str]) -> Lexicon:
        """From the bytes of every token; None is a token without text."""
        case = [_case((piece or b"").decode("utf-8", "ignore")) for piece in vocabulary]
        return cls(
            traits=Traits.of(vocabulary),
            case_V=np.array(case, np.int8),
            subset_names=tuple(subset_names),
        )

    def num_values(self, feature: str) -> int:
        """Number of values that a feature may have."""
        if feature in TOKENS:
            return int(self.case_V.size)
        if feature.startswith("kind"):
            return len(KINDS)
        if feature == "subset":
            return max(1, len(self.subset_names))
        return NUM_PLACES if feature == "position" else REPEATS[-1] + 1


FEATURES = (*TOKENS, "kind", "kind_before", "kind_before2", "repeat", "subset", "position")
Columns = dict[str, Ints]
"""Feature → its value for every token, [N]."""


def token_features(lexicon: Lexicon, block: SequenceBlock) -> Columns:
    """All features of all tokens of a block, in the order of token ids.

    Raises ValueError, in one line, for ids outside the vocabulary.
    """
    ids, size = block.ids_ST1.astype(np.int64), lexicon.case_V.size
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        raise ValueError(
            f"expected token ids within 0 … {size - 1}, found {ids.min()} … {ids.max()}: is this "
            "the vocabulary of another model?"
        )
    shape = (len(ids), ids.shape[1] - 1)
    kind = _kinds(lexicon, ids)
    place = np.frexp(np.arange(shape[1]) + 1.0)[1].astype(np.int64) - 1
    columns = {
        "y": ids[:, 1:],
        "before": ids[:, :-1],
        "before2": _earlier(ids[:, :-1], 1),
        "kind": kind,
        "kind_before": _earlier(kind, 1),
        "kind_before2": _earlier(kind, 2),
        "repeat": repetition(ids),
        "subset": np.broadcast_to(block.subset_S.astype(np.int64)[:, None], shape),
        "position": np.broadcast_to(place, shape),
    }
    return {name: columns[name].reshape(-1) for name in FEATURES}


def repetition(ids_ST1: Ids) -> Ints:
    """Length of the longest string of tokens that ends with y and has occurred before, [S, T].

    One of `REPEATS`, rounded down; 0: y is new. A string of two or more must have ended two tokens
    before at least, as `patterns.induction` has it: from 2 on a token is of that type.
    """
    one = first_occurrence(ids_ST1)
    two = first_occurrence(_joined(one, one, 1))
    four = first_occurrence(_joined(two, two, 2))
    eight = first_occurrence(_joined(four, four, 4))
    here = np.arange(ids_ST1.shape[1])
    found = np.where(one < here, 1, 0)
    for length, first in ((2, two), (4, four), (8, eight)):
        found[(here - first >= 2) & (here >= length - 1)] = length
    result: Ints = found[:, 1:]
    return result


def _joined(earlier: Ints, last: Ints, distance: int) -> Ints:
    """A number for each pair (`earlier` some places before, `last`); unique before the first."""
    size = last.shape[1] + 1
    before = _earlier(earlier, distance)
    result: Ints = np.where(before < 0, -1 - np.arange(last.shape[1]), before * size + last)
    return result


def _earlier(values_ST: Ids, distance: int) -> Ints:
    moved = np.full(values_ST.shape, -1, np.int64)
    moved[:, distance:] = values_ST[:, : max(0, values_ST.shape[1] - distance)]
    return moved


def _kinds(lexicon: Lexicon, ids_ST1: Ids) -> Ints:
    traits, y = lexicon.traits, ids_ST1[:, 1:]
    case = lexicon.case_V[y]
    tests: list[tuple[str, Bools]] = []
    for names, is_word in (
        (WORDS, word_start(traits, ids_ST1)),
        (PARTS, word_part(traits, ids_ST1)),
    ):
        tests += [(name, is_word & (case == index)) for index, name in enumerate(names)]
    tests += [
        ("markup", traits.markup[y]),
        ("punctuation", traits.delimiters[y]),
        ("number", traits.digits[y]),
        ("bracket", traits.brackets[y]),
        ("quotation mark", traits.quotes[y]),
        ("spaces", traits.all_space[y]),
        ("line break", traits.has_break[y]),
    ]
    kind = np.zeros(y.shape, np.int64)
    for name, is_kind in tests:
        kind[is_kind] = KINDS.index(name)
    return kind


def _case(text: str) -> int:
    letters = [char for char in text if char.isalpha()]
    if not letters or not letters[0].isupper():
        return 0
    return 2 if len(letters) > 1 and all(char.isupper() for char in letters) else 1
