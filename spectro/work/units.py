"""Units of work: what each makes, what it needs, and when its result is no longer needed.

A unit is idempotent: its objects are serialised first and put once, and their presence is what
"done" means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit of work. Subclasses declare their stage and their outputs (ADR 078)."""

    stage: ClassVar[str]
    """Name of its stage, under which progress is shown."""
    takes_all_cores: ClassVar[bool] = False
    """Whether it uses all cores of a machine that the run started for itself."""
    needs_model: ClassVar[bool] = True
    """Whether it needs the model's weights; a run that needs none asks for no GPU."""
    is_intermediate: ClassVar[bool] = False
    """Whether it only leads to the next stage's result, and is not asked for once that is there."""
    is_kept: ClassVar[bool] = False
    """Whether what is lost of its result is made again even if no undone unit needs it; such a unit
    finds out itself what is there."""
    part: str = ""
    """Subfolder of the run that it belongs to: empty, `control`, `nbeta-3`."""
    cost: float = 1.0
    """Work relative to other units of its stage, for the time left, and to those that wait for it,
    for the order."""
    needs: tuple[Unit, ...] = ()
    """Units that must be done before."""

    @property
    def names(self) -> tuple[str, ...]:
        """Objects that it makes, relative to its part of the run; the first is its id."""
        raise NotImplementedError

    def superseded_by(self, name: str) -> tuple[str, ...]:
        """Objects, relative to the run's root, that together stand for one of `names`, which may
        then be removed; empty: none."""
        return ()

    @property
    def sort_key(self) -> str:
        """Order among units of a stage after which the same work is left."""
        return self.id

    @property
    def outputs(self) -> tuple[str, ...]:
        """Objects that it makes, relative to the run's root."""
        return tuple(self.in_run(name) for name in self.names)

    @property
    def id(self) -> str:
        """Name in logs and messages."""
        return self.in_run(self.names[0])

    def in_run(self, name: str) -> str:
        """Name relative to the run's root of an object of the unit's part."""
        return f"{self.part}/{name}" if self.part else name

    def sources_of(self, present: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Output → objects in `present` that stand for it: itself, or what superseded it; or ()."""
        names = dict(zip(self.outputs, self.names, strict=False))
        found = {}
        for output in self.outputs:
            others = self.superseded_by(names[output]) if output in names else ()
            own = (output,) if output in present else ()
            found[output] = (*own, *(others if all(o in present for o in others) else ()))
        return found

    def absent(self, present: Collection[str]) -> list[str]:
        """Outputs that are not there and not superseded."""
        return [name for name, there in self.sources_of(present).items() if not there]

    def is_done(self, present: Collection[str]) -> bool:
        """Whether all outputs are there or superseded."""
        return not self.absent(present)


def label(unit: Unit) -> str:
    """Name of a unit's stage, with its part: `tiles`, `control: tiles`."""
    return f"{unit.part}: {unit.stage}" if unit.part else unit.stage


def walk(units: Iterable[Unit]) -> list[Unit]:
    """These units and all that they need, each once, needs first."""
    found: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.id not in found:
            for need in unit.needs:
                visit(need)
            found[unit.id] = unit

    for unit in units:
        visit(unit)
    return list(found.values())


def required(
    goals: Iterable[Unit], present: Collection[str], stage_order: Sequence[str]
) -> list[Unit]:
    """Units to do; those whose outputs are present, and what only they need, are left out.

    Order: what the run's own goals need before what only those of its other parts need (its
    control); of these the unit first after which most work is left one after the other: its own
    cost and that of the costliest chain of units that wait for it (list scheduling by the critical
    path, Graham 1969). So no fleet waits at the end for what one worker could have begun before.
    """
    found: dict[str, Unit] = {}
    part: dict[str, str] = {}

    def visit(unit: Unit, of_part: str) -> None:
        if unit.id in found or all(name in present for name in unit.outputs):
            return
        found[unit.id], part[unit.id] = unit, of_part
        for need in unit.needs:
            visit(need, of_part)

    for goal in goals:
        visit(goal, goal.part)
    rank, left = {name: i for i, name in enumerate(stage_order)}, _costs_left(found)
    return sorted(
        found.values(), key=lambda u: (part[u.id], -left[u.id], rank[u.stage], u.sort_key)
    )


def _costs_left(units: Mapping[str, Unit]) -> dict[str, float]:
    """Cost of each unit and of the costliest chain of units that wait for it."""
    waiting = dict.fromkeys(units, 0.0)
    found = {}
    for unit in reversed(walk(units.values())):  # those that wait before what they need
        if unit.id in units:
            found[unit.id] = unit.cost + waiting[unit.id]
            for need in unit.needs:
                if need.id in units:
                    waiting[need.id] = max(waiting[need.id], found[unit.id])
    return found
