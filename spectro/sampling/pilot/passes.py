"""The passes of a pilot: what those that are done gave, and where the one in progress resumes.

A pilot evaluates draws, then may step chains: a row of long passes whose results decide which
come next. A checkpoint holds the result of every finished pass and the state of the one that was
broken off, so that a resumed pilot takes the same way to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spectro.sampling.checkpoint import Checkpoint, Checkpoints, joined

OnShare = Callable[[float, float], None]
"""Takes what is done and the total, in the same unit."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one pass is given."""

    checkpoints: Checkpoints
    """Where it resumes, and where its checkpoints go."""
    report: OnShare
    """Takes how much of it is done."""


class Passes:
    """The passes of one pilot.

    Args:
        checkpoints: where the pilot resumes, and where its checkpoints go.
        on_progress: called with what is done and the total as far as it is known, in forward
            passes of one draw over the evaluation set.
    """

    def __init__(
        self, checkpoints: Checkpoints | None = None, on_progress: OnShare | None = None
    ) -> None:
        self._checkpoints = checkpoints or Checkpoints()
        self._on_progress = on_progress
        self._done: dict[str, Checkpoint] = {}
        self._broken_off: dict[str, Checkpoint] = {}
        self._planned: dict[str, float] = {}
        self._num_saves = 0
        if (resume := self._checkpoints.resume) is not None:
            self._num_saves = resume.values["num_saves"]
            self._done, self._broken_off = (
                {name: resume.part(kind).part(name) for name in resume.values[kind]}
                for kind in ("done", "broken_off")
            )

    def plan(self, name: str, work: float) -> None:
        """Count a pass that will probably come, for the share that is done."""
        self._planned[name] = work

    def run(self, name: str, work: float, make: Callable[[Pass], Checkpoint]) -> Checkpoint:
        """The result of a pass: made now, or known from a checkpoint.

        Args:
            name: of the pass, without a slash; each is run once.
            work: what it costs, as `on_progress` counts.
            make: does it.
        """
        self._planned[name] = work
        if name not in self._done:
            checkpoints = Checkpoints(
                resume=self._broken_off.get(name),
                due=self._checkpoints.due,
                save=lambda position, snapshot: self._save({name: snapshot}),
            )
            self._done[name] = make(
                Pass(
                    checkpoints=checkpoints,
                    report=lambda done, total: self._report(done / total * work),
                )
            )
            self._report()
            if self._checkpoints.due():
                self._save({})
        return self._done[name]

    def drop_tensors(self, name: str) -> None:
        """Leave the tensors of a pass's result out of later checkpoints: no later pass needs
        them."""
        self._done[name] = Checkpoint(values=self._done[name].values)

    def _report(self, done: float = 0.0) -> None:
        if self._on_progress is not None:
            before = sum(self._planned.get(name, 0.0) for name in self._done)
            self._on_progress(before + done, sum(self._planned.values()))

    def _save(self, broken_off: dict[str, Checkpoint]) -> None:
        self._num_saves += 1
        found = joined({"done": joined(self._done), "broken_off": joined(broken_off)})
        values = found.values | {"num_saves": self._num_saves}
        self._checkpoints.save(self._num_saves, Checkpoint(tensors=found.tensors, values=values))
