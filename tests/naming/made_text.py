"""Made-up text with a vocabulary of every kind of token, cut into blocks of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from spectro.analysis.naming.features import Lexicon, SequenceBlock

PIECES = [
    b"\n", b"    ", b" the", b" of", b" The", b" OF", b"ing", b"tion", b"TION", b"(", b")", b'"',
    b".", b",", b"#", b"##", b" 7", b"42", b" a1", b"\xff", b" cat", b" dog", b" run", b" see",
    b" Paris", b" NASA", b"ed", b"er", b":", b"=", b" x", b"y", b" z",
]  # fmt: skip
SUBSETS = ("code", "docs", "web")


def lexicon() -> Lexicon:
    return Lexicon.of(PIECES, SUBSETS)


def made(num_sequences: int, context: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids [S, T + 1], common and rare, with strings that repeat; subsets [S]."""
    rng = np.random.default_rng(seed)
    weight = 1 / (1 + np.arange(len(PIECES)))
    shape = (num_sequences, context + 1)
    ids = rng.permutation(len(PIECES))[rng.choice(len(PIECES), size=shape, p=weight / weight.sum())]
    for row in ids[::3]:  # an earlier string comes again
        length = int(rng.integers(2, max(3, context // 3)))
        row[-length:] = row[:length]
    return ids.astype(np.int32), rng.integers(0, len(SUBSETS), num_sequences).astype(np.int16)


def blocks(ids: np.ndarray, subset: np.ndarray, size: int) -> Callable[[], Iterator[SequenceBlock]]:
    def read() -> Iterator[SequenceBlock]:
        for first in range(0, len(ids), size):
            part = slice(first, first + size)
            yield SequenceBlock(first_sequence=first, ids_ST1=ids[part], subset_S=subset[part])

    return read
