"""Counts characters that a tokenizer cannot encode; too many are refused.

Byte-level tokenizers encode every text. Others map unknown text to one id or drop it; the tokens'
spans tell which characters. White space is ignored: such tokenizers drop or merge it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.sources.source_report import SourceReport

MOST_UNKNOWN = 0.1
"""Largest share of unknown characters, without white space."""
UNKNOWN = "characters that the tokenizer does not know, or leaves out"


@dataclass(kw_only=True)
class UnknownTokens:
    """Number of characters other than white space, and of those without a known token."""

    num_chars: int = 0
    num_unknown: int = 0

    def add(self, other: UnknownTokens, report: SourceReport, tokenizer: str) -> None:
        """Add the counts of further documents, also to the report.

        Raises ValueError, naming the tokenizer, if more than a tenth is unknown.
        """
        self.num_chars += other.num_chars
        self.num_unknown += other.num_unknown
        report.count(UNKNOWN, other.num_unknown)
        if self.num_unknown > MOST_UNKNOWN * self.num_chars:
            raise ValueError(
                f"the tokenizer of {tokenizer!r} has no tokens for {self.num_unknown:,} of the "
                f"first {self.num_chars:,} characters (white space aside): what is measured would "
                "not be this text; give text of the language that the model was trained on, or "
                "another model"
            )


def count_unknown(
    text: str, spans_N2: Sequence[tuple[int, int]], known_N: NDArray[np.bool_]
) -> UnknownTokens:
    """Counts of one document by its tokens' character spans [N, 2] and which are known."""
    inked = ~np.fromiter((char.isspace() for char in text), dtype=bool, count=len(text))
    spans = np.asarray(spans_N2, dtype=np.int64).reshape(-1, 2)[known_N]
    change = np.zeros(len(text) + 1, dtype=np.int64)
    np.add.at(change, spans[:, 0], 1)
    np.add.at(change, spans[:, 1], -1)
    covered = np.cumsum(change[:-1]) > 0
    return UnknownTokens(num_chars=int(inked.sum()), num_unknown=int((inked & ~covered).sum()))
