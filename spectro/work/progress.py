"""Progress of all stages, in one place: bars on a terminal, plain lines elsewhere.

The time left is linear in the work: elapsed · (rest / done), with the work of units reckoned by
their cost, so that it does not grow when the costly units come last.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 10.0


@dataclass(kw_only=True)
class StageProgress:
    """How far one stage is."""

    total: float
    """Work in all."""
    done: float = 0.0
    """Work done."""
    started: float | None = None
    """Clock when its first work began."""
    ended: float | None = None
    """Clock when all was done."""
    shown: float = field(default=float("-inf"))
    """Clock when a line was last written."""

    def elapsed_seconds(self, now: float) -> float:
        """Time since its first work began."""
        return 0.0 if self.started is None else (self.ended or now) - self.started

    def left_seconds(self, now: float) -> float | None:
        """Time left, None while nothing can be said."""
        if self.ended is not None:
            return 0.0
        if self.done <= 0 or self.started is None:
            return None
        return self.elapsed_seconds(now) * (self.total - self.done) / self.done


class Progress:
    """Stages of a run, shown as they go. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self.stages: dict[str, StageProgress] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars: Bars | None = None
        if console is not None and console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description:<18}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f} %"),
                _Times(self),
                console=console,
                refresh_per_second=4,
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, line: str) -> None:
        """A line between the others: it stays, and is in the log too."""
        logger.info("%s", line)
        if self._console is not None:
            self._console.print(line, highlight=False, markup=False)

    def add(self, name: str, total: float) -> None:
        """Announce a stage, or more work of one."""
        if name in self.stages:
            self.stages[name].total += total
        else:
            self.stages[name] = StageProgress(total=total)
            if self._bars is not None:
                self._tasks[name] = self._bars.add_task(name, total=total, start=False)

    def update(self, name: str, done: float) -> None:
        """Say how much of a stage is done, running units included."""
        now, stage = time.monotonic(), self.stages[name]
        stage.started = now if stage.started is None else stage.started
        stage.done = max(stage.done, min(done, stage.total))
        if stage.ended is None and stage.done >= stage.total * (1 - 1e-9):
            stage.ended = now
        if self._bars is not None:
            self._bars.update(self._tasks[name], completed=stage.done, total=stage.total)
        elif stage.shown != float("inf"):
            self._line(name, stage, now)

    def _line(self, name: str, stage: StageProgress, now: float) -> None:
        if stage.ended is None and now - stage.shown < SECONDS_BETWEEN_LINES:
            return
        stage.shown = float("inf") if stage.ended is not None else now
        if self._console is not None:
            percent = 100 * stage.done / stage.total if stage.total else 100
            self._console.print(
                f"{name:<18} {percent:3.0f} %  {times(stage, now)}", highlight=False
            )


def times(stage: StageProgress, now: float) -> str:
    """`0:32, 0:41 left` of a running stage, `1:13` of one that is done."""
    if stage.started is None:
        return "waiting"
    elapsed, left = clock(stage.elapsed_seconds(now)), stage.left_seconds(now)
    if stage.ended is not None:
        return elapsed
    return f"{elapsed}, {clock(left)} left" if left is not None else f"{elapsed}, starting"


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Times(ProgressColumn):
    """Elapsed time and time left, by this file's reckoning."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(times(self._progress.stages[task.description], time.monotonic()))
