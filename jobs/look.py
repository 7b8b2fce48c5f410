"""What jobs that only look at a run have in common."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.storage.locations import resolve_location


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run that is looked at, not worked on."""

    uri: str
    """Its folder or URI."""
    debug: bool = False
    """Show tracebacks on the terminal."""

    def __post_init__(self) -> None:
        resolve_location(self.uri, "run.uri")
