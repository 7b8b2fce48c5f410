"""What commands that read a run share: its place, and how results are printed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spectro.storage.locations import resolve_location


class Format(Enum):
    """Output format."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """Everything, as one JSON value."""


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run that is read, not worked on."""

    uri: str = "runs/demo"
    """Folder or URI of the run."""
    debug: bool = False
    """Show tracebacks on the terminal."""

    def __post_init__(self) -> None:
        resolve_location(self.uri, "run.uri")
