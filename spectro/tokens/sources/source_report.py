"""Report on one source: counts of what was read, skipped and replaced.

Stored in `tokens/tokens.json` and printed on the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DOCUMENTS = "documents read"


@dataclass(kw_only=True)
class SourceReport:
    """What the reader of one source read, skipped and replaced."""

    counts: Counter[str] = field(default_factory=Counter)
    """Number by kind, such as `documents read`, `hidden files skipped`, `bytes replaced`."""
    notes: list[str] = field(default_factory=list)
    """Sentences about the source, such as how its index was read."""

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        if number:
            self.counts[what] += number

    def note(self, sentence: str) -> None:
        """Add a sentence once; bytes that are not UTF-8 are escaped."""
        printable = sentence.encode("utf-8", "backslashreplace").decode()
        if printable not in self.notes:
            self.notes.append(printable)

    @property
    def has_more_than_documents(self) -> bool:
        """Whether there is more than the number of documents."""
        return bool(self.notes) or bool(set(self.counts) - {DOCUMENTS})

    @property
    def in_brackets(self) -> str:
        """` (counts; notes)` to end a message; empty if only documents were counted."""
        return f" ({self.line})" if self.has_more_than_documents else ""

    @property
    def line(self) -> str:
        """Counts, documents first, then notes, on one line."""
        ordered = sorted(self.counts.items(), key=lambda item: item[0] != DOCUMENTS)
        counts = ", ".join(f"{number:,} {what}" for what, number in ordered)
        return "; ".join([counts, *self.notes] if counts else self.notes)

    def to_plain(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "notes": list(self.notes)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SourceReport:
        return cls(counts=Counter(plain["counts"]), notes=list(plain["notes"]))
