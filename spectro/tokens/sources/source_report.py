"""What was read of one source: counts and notes that a person should see.

A reader fills the report while it reads. It is kept in `tokens/tokens.json` and printed on the
terminal, so that nothing is skipped or replaced without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DOCUMENTS = "documents read"


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
        """Add a sentence, once; what is no UTF-8 in it (names of files) is escaped."""
        printable = sentence.encode("utf-8", "backslashreplace").decode()
        if printable not in self.notes:
            self.notes.append(printable)

    @property
    def has_more_than_documents(self) -> bool:
        """Whether there is something to say beyond how many documents were read."""
        return bool(self.notes) or bool(set(self.counts) - {DOCUMENTS})

    @property
    def in_brackets(self) -> str:
        """` (counts; notes)` to end a message; empty where only documents were counted."""
        return f" ({self.line})" if self.has_more_than_documents else ""

    @property
    def line(self) -> str:
        """Counts, documents first, then notes, on one line."""
        ordered = sorted(self.counts.items(), key=lambda item: item[0] != DOCUMENTS)
        counts = ", ".join(f"{number:,} {what}" for what, number in ordered)
        return "; ".join([counts, *self.notes] if counts else self.notes)

    def to_plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"counts": dict(self.counts), "notes": list(self.notes)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SourceReport:
        """From plain values."""
        return cls(counts=Counter(plain["counts"]), notes=list(plain["notes"]))
