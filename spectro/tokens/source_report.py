"""What was read of one source: counts and notes that a person should see.

A reader fills the report while it reads. It is kept in `tokens/tokens.json` and printed on the
terminal, so that nothing is skipped or replaced without a word.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class SourceReport:
    """What the reader of one source took, left out and replaced."""

    counts: Counter[str] = field(default_factory=Counter)
    """What → how many, such as `documents read`, `hidden files skipped`, `bytes replaced`."""
    notes: list[str] = field(default_factory=list)
    """Sentences about the source as a whole, such as how its index was understood."""

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        if number:
            self.counts[what] += number

    def note(self, sentence: str) -> None:
        """Add a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
