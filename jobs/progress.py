"""One progress bar for a command of one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from spectro.work.progress import Progress


@contextmanager
def progress(name: str) -> Iterator[Callable[[float, float], None]]:
    """Show a bar while the block lasts; it yields `update(done, total)`."""
    with Progress(Console(soft_wrap=True)) as bars:
        bars.add(name, 1.0)
        yield lambda done, total: bars.update(name, done / total if total else 1.0)
        bars.update(name, 1.0)
