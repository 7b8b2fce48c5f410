"""Features of tokens, against a slow reading of every token by itself."""

from __future__ import annotations

import made_text
import numpy as np
import pytest

from spectro.analysis.naming.features import (
    FEATURES,
    KINDS,
    REPEATS,
    SequenceBlock,
    repetition,
    token_features,
)
from spectro.analysis.patterns import Traits, induction, numeric, word_part, word_start


def longest_repeat(ids: list[int], end: int) -> int:
    """Length of the longest string that ends at `end` and has ended before, by comparison."""
    best = 0
    for earlier in range(end):
        length = 0
        while length <= earlier and ids[earlier - length] == ids[end - length]:
            length += 1
        if length > 1 and end - earlier < 2:
            length = 1
        best = max(best, length)
    return best


@pytest.mark.parametrize("num_words", [2, 5, 33])
def test_repetition_is_that_of_a_slow_reading(num_words: int) -> None:
    ids = np.random.default_rng(num_words).integers(0, num_words, (20, 31))
    ids[:, 20:29] = ids[:, 3:12]
    found = repetition(ids)
    for row, values in zip(ids.tolist(), found.tolist(), strict=True):
        for t, value in enumerate(values):
            length = longest_repeat(row, t + 1)
            assert value == max(each for each in REPEATS if each <= length), (t, length)


def test_two_or_more_is_induction() -> None:
    ids, _ = made_text.made(40, 24)
    of_patterns = induction(Traits.of(made_text.PIECES), ids)
    assert np.array_equal(repetition(ids) >= 2, of_patterns)


def test_kinds_are_the_patterns_made_disjoint() -> None:
    ids, subset = made_text.made(60, 20)
    block = SequenceBlock(first_sequence=0, ids_ST1=ids, subset_S=subset)
    columns, traits = token_features(made_text.lexicon(), block), Traits.of(made_text.PIECES)
    kind = np.array(KINDS)[columns["kind"]]
    for name, of_patterns in (("word start", word_start), ("word part", word_part)):
        is_named = np.char.find(kind, name) >= 0
        assert np.array_equal(is_named, of_patterns(traits, ids).reshape(-1))
    assert np.array_equal(kind == "number", numeric(traits, ids).reshape(-1))
    y = np.array([piece.decode("utf-8", "replace") for piece in made_text.PIECES])[columns["y"]]
    expected = {
        " The": "capitalised word start", " NASA": "upper-case word start", " cat": "word start",
        "(": "bracket", '"': "quotation mark", ".": "punctuation", "##": "markup",
        "\n": "line break", "    ": "spaces", " a1": "other text", "\ufffd": "other text",
    }  # fmt: skip
    for text, name in expected.items():
        assert set(kind[y == text]) == {name}, text


def test_each_feature_by_hand() -> None:
    ids = np.array([[20, 12, 20, 12, 20, 12, 0]])
    block = SequenceBlock(first_sequence=5, ids_ST1=ids, subset_S=np.array([2]))
    found = {name: values.tolist() for name, values in
             token_features(made_text.lexicon(), block).items()}  # fmt: skip
    word, mark, end = (KINDS.index(name) for name in ("word start", "punctuation", "line break"))
    assert set(found) == set(FEATURES)
    assert found["y"] == [12, 20, 12, 20, 12, 0]
    assert found["before"] == [20, 12, 20, 12, 20, 12]
    assert found["before2"] == [-1, 20, 12, 20, 12, 20]
    assert found["kind"] == [mark, word, mark, word, mark, end]
    assert found["kind_before"] == [-1, mark, word, mark, word, mark]
    assert found["kind_before2"] == [-1, -1, mark, word, mark, word]
    assert found["repeat"] == [0, 1, 2, 2, 4, 0]
    assert found["subset"] == [2] * 6 and found["position"] == [0, 1, 1, 2, 2, 2]


def test_ids_of_another_vocabulary_are_refused() -> None:
    block = SequenceBlock(first_sequence=0, ids_ST1=np.array([[0, 99]]), subset_S=np.zeros(1, int))
    with pytest.raises(ValueError, match=r"expected token ids within 0 … 32, found 0 … 99"):
        token_features(made_text.lexicon(), block)
