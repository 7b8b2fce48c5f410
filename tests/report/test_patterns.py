"""Pattern types on sequences that are written out."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.analysis.patterns import NAMES, TYPES, Traits, pattern_types
from spectro.tokens.display.token_texts import TokenTexts
from tests.report.made_tokenizers import tokenizer

SHORT = {"word start": "S", "word part": "P", "induction": "I", "spacing": "w"}
SHORT |= {"delimiter": "D", "formatting": "F", "numeric": "N"}


def types_of(*tokens: str | bytes) -> list[str]:
    """Types of every token but the first, as letters."""
    pieces = [token if isinstance(token, bytes) else token.encode() for token in tokens]
    vocabulary: list[bytes | None] = sorted(set(pieces))
    ids = np.array([[vocabulary.index(piece) for piece in pieces]])
    found = pattern_types(Traits.of(vocabulary), ids)[0]
    return ["".join(SHORT[NAMES[p]] for p in np.flatnonzero(row)) for row in found]


@pytest.mark.parametrize(
    ("tokens", "types"),
    [
        # words
        ([".", " the", " in", "duc", "tion"], ["S", "S", "P", "P"]),
        (["\n", "The", "re"], ["S", "P"]),
        (["(", "x", ")", "_", "name", "Of"], ["S", "D", "F", "S", "P"]),
        (["a", "  the", "'s", " don", "'t"], ["", "", "S", ""]),
        (["é", " été", "é", " שלום", "мир"], ["S", "P", "S", "P"]),
        (["1", "st", "2", "nd"], ["S", "N", "S"]),
        # white space, layout
        (["a", "\n", "\n\n", "    ", "\t", "\r\n", " "], ["wF", "wF", "w", "w", "wF", "w"]),
        (["a", " ##", "---", "|", "</", "\\", " *"], ["F"] * 6),
        (["a", "*/\n", ");\n"], ["F", "DF"]),
        # marks
        (["a", " (", "[", "]", "}}", "',", " “", "...", "<", "`"], ["D"] * 7 + ["DF", "DF"]),
        # numbers
        (["a", "17", " 2024", "3", "3.5", "x1", "٣"], ["N", "N", "N", "", "", "N"]),
        # bytes that are no character, an empty token
        (["a", b"\xf0\x9f", b"\x98\x80", b"\xff", ""], ["", "", "", ""]),
    ],
)
def test_types(tokens: list[str | bytes], types: list[str]) -> None:
    assert types_of(*tokens) == types


@pytest.mark.parametrize(
    ("kind", "entries", "types"),
    [
        ("llama", [".", "▁the", "in", "<0x0A>", "▁", "▁17"], ["S", "P", "wF", "w", "N"]),
        ("metaspace first", [".", "▁the", "in", "<0x0A>", "in", "<0xE2>"],
         ["S", "P", "wF", "S", ""]),
        ("unigram", [".", "▁the", "ing", "▁", "▁walk", "a"], ["S", "P", "w", "S", "P"]),
        ("word piece", [".", "the", "##a", "(", "the", "[SEP]", "the"],
         ["S", "P", "D", "S", "", "S"]),
        ("word piece, no cleanup", ["the", "##a", ".", "the"], ["P", "D", "S"]),
        ("word level", ["the", "the", ".", "17", "the"], ["S", "D", "N", "S"]),
        ("end of word", ["the</w>", "th", "in", "e</w>", "the</w>", ".</w>"],
         ["S", "P", "P", "S", "D"]),
        ("clip", ["the</w>", "the</w>", "th", "a", "ing</w>", "A</w>"],
         ["S", "S", "P", "P", "S"]),
        ("slow", ["a", "_the", "a", "1", "_cat"], ["S", "P", "N", "S"]),
    ],
)  # fmt: skip
def test_types_of_tokens_of_other_tokenizers(
    kind: str, entries: list[str], types: list[str]
) -> None:
    """The same words, whatever marks their beginnings or ends."""
    made = tokenizer(kind)
    vocab = made.get_vocab()
    assert not set(entries) - set(vocab)
    traits = Traits.of(TokenTexts(made, len(vocab)).pieces)
    ids = np.array([[vocab[entry] for entry in entries]])
    rows = pattern_types(traits, ids)[0]
    found = ["".join(SHORT[NAMES[p]] for p in np.flatnonzero(row)) for row in rows]
    assert [each.replace("I", "") for each in found] == types


@pytest.mark.parametrize(
    ("letters", "ends"),
    [
        ("ab ab", [4]),  # the second b
        ("abab", [3]),
        ("aaa", []),  # the pairs overlap
        ("aaaa", [3]),
        ("abcabc", [4, 5]),
        ("abxaby", [4]),
        ("ab", []),
        ("baab", []),  # b and a are there, the pair ab is not
        ("abacab", [5]),
    ],
)
def test_induction(letters: str, ends: list[int]) -> None:
    ids = np.array([[ord(letter) for letter in letters]])
    found = TYPES["induction"](Traits.of([]), ids)
    assert (np.flatnonzero(found[0]) + 1).tolist() == ends


def test_induction_against_a_loop() -> None:
    ids = np.random.default_rng(0).integers(0, 4, (40, 30))
    found = TYPES["induction"](Traits.of([]), ids)
    for row, ids_T1 in enumerate(ids.tolist()):
        for t in range(29):
            earlier = any(ids_T1[s : s + 2] == ids_T1[t : t + 2] for s in range(t - 1))
            assert found[row, t] == earlier


def test_sequences_do_not_see_each_other() -> None:
    ids = np.array([[1, 2, 3], [1, 2, 3]])
    assert not TYPES["induction"](Traits.of([]), ids).any()


def test_shapes_and_refusals() -> None:
    traits = Traits.of([b"a", None])
    assert pattern_types(traits, np.zeros((0, 5), int)).shape == (0, 4, len(NAMES))
    assert pattern_types(traits, np.array([[1, 0]])).shape == (1, 1, 7)
    with pytest.raises(ValueError, match=r"within 0 … 1, found 0 … 2: is this the vocabulary"):
        pattern_types(traits, np.array([[0, 2]]))
