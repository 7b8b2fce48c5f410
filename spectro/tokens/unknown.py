"""Characters that a tokenizer has no tokens for: counted, and refused where they are many.

Tokenizers of whole bytes write every text. The others (words, pieces of words, characters without
byte fallback) give one id for all that they do not know, or leave it out. Which token a character
of the text belongs to is known from the tokens' spans; white space is not judged, since such
tokenizers leave it out or merge it as they were trained to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.sources.source_report import SourceReport

MOST_UNKNOWN = 0.1
"""Share of characters, white space aside, above which a tokenizer is refused for a text."""
UNKNOWN = "characters that the tokenizer does not know, or leaves out"


@dataclass(kw_only=True)
class UnknownTokens:
    """Characters other than white space, and how many of them no known token stands for."""

    num_chars: int = 0
    num_unknown: int = 0

    def add(self, other: UnknownTokens, report: SourceReport, tokenizer: str) -> None:
        """Add those of further documents to the sum and to the report of their source.

        Raises ValueError, naming the tokenizer, when more than a tenth of all is unknown.
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


def judged(
    text: str, spans_N2: Sequence[tuple[int, int]], known_N: NDArray[np.bool_]
) -> UnknownTokens:
    """Of one document, by the spans of its tokens in characters, [N, 2], and which are known."""
    inked = ~np.fromiter((char.isspace() for char in text), dtype=bool, count=len(text))
    spans = np.asarray(spans_N2, dtype=np.int64).reshape(-1, 2)[known_N]
    change = np.zeros(len(text) + 1, dtype=np.int64)
    np.add.at(change, spans[:, 0], 1)
    np.add.at(change, spans[:, 1], -1)
    covered = np.cumsum(change[:-1]) > 0
    return UnknownTokens(num_chars=int(inked.sum()), num_unknown=int((inked & ~covered).sum()))
