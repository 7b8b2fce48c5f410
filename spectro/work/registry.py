"""All stages of a run, in the order of their work: what drivers, workers and inspection read."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from spectro.formats.derived_objects import TOKENS
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import DamagedObjectError, Store
from spectro.work.stage import (
    UNKNOWN_KIND,
    Goal,
    ObjectKind,
    OnProgress,
    RunPlan,
    ShouldStop,
    Stage,
    WorkerContext,
    resolve,
)
from spectro.work.units import Unit, required

logger = logging.getLogger(__name__)


def never() -> bool:
    """A worker that is never asked to stop."""
    return False


@dataclass(frozen=True)
class StageRegistry:
    """Stages of a run; picklable by reference."""

    stages: tuple[Stage, ...]
    """In the order of their work."""

    @cached_property
    def kinds(self) -> tuple[ObjectKind, ...]:
        """All kinds of objects."""
        return tuple(kind for stage in self.stages for kind in stage.objects)

    def kind_of(self, name: str) -> ObjectKind:
        """Kind of an object by its name within its part of a run."""
        return next((kind for kind in self.kinds if kind.matches(name)), UNKNOWN_KIND)

    def is_marker(self, name: str) -> bool:
        """Whether an object is small sealed JSON that says of others, or of a state of the run."""
        kind = self.kind_of(name)
        return name.endswith(".json") and kind is not UNKNOWN_KIND and kind.has_markers

    def goals(self, plan: RunPlan, goal: Goal) -> list[Unit]:
        """The units that a goal asks for; what they need comes with them."""
        for stage in self.stages:
            if stage.units is not None and goal.includes(stage.goal):
                plan.goals.extend(resolve(stage.units)(plan))
        return plan.goals

    def required(self, goals: Iterable[Unit], present: Collection[str]) -> list[Unit]:
        """Units to do, in order; see `units.required`."""
        return required(goals, present, [stage.name for stage in self.stages])

    def execute(
        self,
        unit: Unit,
        context: WorkerContext,
        on_progress: OnProgress,
        should_stop: ShouldStop = never,
    ) -> None:
        """Do a unit; its objects are in storage when this returns.

        Raises HandedBack soon after `should_stop` says True, with a checkpoint in storage where
        the unit has any; units without checkpoints are finished.
        """
        if not unit.is_kept and all(context.root.exists(name) for name in unit.outputs):
            logger.info("another worker has done it")  # the listing was stale, or it was faster
            return
        for stage in self.stages:
            if type(unit) in stage.run:
                resolve(stage.run[type(unit)])(unit, context, on_progress, should_stop)
                return
        raise TypeError(f"no stage declares how to run a {type(unit).__name__}")

    def measures(self, unit: Unit) -> bool:
        """Whether χ is incomplete without a unit; False for clusters and the page."""
        goals = {stage.name: stage.goal for stage in self.stages}
        return Goal.SAMPLE.includes(goals[unit.stage])

    def incomplete(self, store: Store, names: Collection[str]) -> set[str]:
        """Objects of a part that count as absent, since what they name is lost."""
        found = [resolve(s.incomplete)(store, names) for s in self.stages if s.incomplete]
        return set().union(*found)

    def leftovers(self, store: Store, names: Collection[str]) -> set[str]:
        """Objects of one part of a run that may be deleted, at any time.

        Args:
            store: of that part.
            names: objects that are there, relative to it.
        """
        there = set(names)
        found = [resolve(s.leftovers)(store, there) for s in self.stages if s.leftovers]
        return set().union(*found)

    def remove_stale(
        self,
        store: Store,
        names: Collection[str],
        probe_sha256: str,
        *,
        keep_clusters: bool = False,
    ) -> set[str]:
        """Remove results of other tokens, the object that completes each first; returns names.

        A completing object that is damaged goes too. Nothing of it is lost but time: two drivers
        that do so at once make it twice, from the same rows.

        Args:
            store: of one part of a run.
            names: objects that are there, relative to it.
            probe_sha256: of the tokens.
            keep_clusters: keep clusters, to which added tokens can still be assigned (ADR 029).
        """
        gone: set[str] = set()
        for name in sorted(names):
            stage = next(
                (s for s in self.stages if re.fullmatch(s.completed_by or "(?!)", name)), None
            )
            if stage is None or (keep_clusters and stage.goal is Goal.CLUSTER):
                continue
            if not _is_of_tokens(store, name, probe_sha256):
                logger.info("%s/%s is not of the tokens now: removed", store.uri, name)
                stale = [name, *sorted(_beside(name, names) if stage.owns_folder else ())]
                for each in stale:
                    store.delete(each)
                gone.update(stale)
        return gone


def _beside(name: str, names: Collection[str]) -> set[str]:
    """Other objects of an object's folder, but for those of the halves' clusters."""
    folder = name.rpartition("/")[0] + "/"
    there = {other for other in names if other.startswith(folder)}
    return {other for other in there if not other.startswith(f"{folder}half-")} - {name}


def _is_of_tokens(store: Store, name: str, probe_sha256: str) -> bool:
    try:
        return bool(read_sealed(store, name).get(TOKENS) == probe_sha256)
    except DamagedObjectError:
        return False
    except FileNotFoundError:  # another driver has just removed it
        return True
