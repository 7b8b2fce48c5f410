"""A stage of a run, declared as one object (ADR 078).

Its units and the functions that run them, the objects that it puts, what `spectro verify` asks of
each, what the loss of each costs, and when its result is stale or may be deleted.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Protocol, TypeVar

from spectro.config import PipelineConfig
from spectro.formats.object_kinds import PATTERNS
from spectro.formats.tokens import TokensInfo
from spectro.storage.store import ObjectInfo, Store
from spectro.work.model_info import ModelInfo
from spectro.work.units import Unit

OnProgress = Callable[[float, float], None]
"""Called with what is done and the total, in the same unit."""
ShouldStop = Callable[[], bool]
"""Whether the worker is to hand its unit back."""
Function = str | Callable[..., Any]
"""A function, or `package.module:function`, imported when it is first called."""
U = TypeVar("U", bound=Unit)

DELETE = "delete it; nothing depends on it"
REMAKE = "delete it; the run makes it again"
WHEN_NEEDED = "the run makes it again when it needs it, or restore it from a copy"


def resolve(function: Function) -> Callable[..., Any]:
    """The function that a declaration names."""
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


class Goal(StrEnum):
    """How far a run goes; each includes those before it."""

    TOKENS = "tokens"
    SAMPLE = "sample"
    CLUSTER = "cluster"
    REPORT = "report"

    def includes(self, other: Goal) -> bool:
        """Whether a run with this goal reaches the other."""
        order = list(Goal)
        return order.index(other) <= order.index(self)


class WorkerContext(Protocol):
    """What a worker keeps between units; stages define what else it holds."""

    config: PipelineConfig
    """Of the run."""
    root: Store
    """Of the run."""

    def of(self, unit: Unit) -> tuple[Store, PipelineConfig]:
        """The part of the run that a unit belongs to, and its configuration."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a stage needs to know to list its units."""

    config: PipelineConfig
    """Of the run."""
    model: ModelInfo
    """Shape of its model."""
    tokens: TokensInfo
    """Its tokens."""
    goals: list[Unit] = field(default_factory=list)
    """Units of the stages before."""

    def of_type(self, kind: type[U]) -> list[U]:
        """Units of the stages before, of one type."""
        return [unit for unit in self.goals if isinstance(unit, kind)]


@dataclass(kw_only=True)
class PartContents:
    """What verification has read of one part of a run."""

    root: Store
    """Of the run."""
    store: Store
    """Of the part."""
    names: set[str]
    """Objects of the part."""
    expected: dict[str, ObjectInfo] = field(default_factory=dict)
    """Size and checksum of the objects that markers name."""
    named_by: dict[str, str] = field(default_factory=dict)
    """Object → marker that names it."""
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Kind → object → what its check returned."""
    run_findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The same of the run itself, of which this may be another part."""
    probe_sha256: str | None = None
    """Of the run's tokens now; what is of other tokens is stale, not damaged."""

    def of_kind(self, kind: str) -> dict[str, Any]:
        """What the checks of a kind's objects returned, by name."""
        return self.findings.setdefault(kind, {})


@dataclass(frozen=True, kw_only=True)
class ObjectKind:
    """One kind of object of a run: how it is named, what must hold of it, what its loss costs."""

    name: str
    """Word in `spectro verify`."""
    pattern: str = ""
    """Regular expression of its names within a part; empty: that of `formats/object_kinds.py`."""
    damaged: str = DELETE
    """What to do if one is damaged."""
    missing: str = WHEN_NEEDED
    """What to do if one is missing."""
    remedy: Function | None = None
    """(name, missing) → what to do, where that depends on the name."""
    read_marker: Function | None = None
    """(contents, name, content) → objects that a sealed JSON names, with size and checksum."""
    check: Function | None = None
    """(contents, name, data) → a finding that is kept; raises if the content is wrong."""
    compare: Function | None = None
    """(contents) → names of objects that disagree with others, each with what is wrong."""
    named_by: tuple[str, str] | None = None
    """Pattern of its name, and the marker that must name it if that is there."""
    is_read: bool = True
    """Whether verification reads those that are no markers."""
    is_huge: bool = False
    """Whether one fills much of a machine's memory: they are read one at a time."""
    has_markers: bool = True
    """Whether its JSON objects are markers: small, sealed, read first."""
    may_vanish: bool = False
    """Whether a run that goes on may remove one while it is looked at."""
    needs_tokens: bool = True
    """Whether it can only be there once the run has tokens."""

    def matches(self, name: str) -> bool:
        """Whether an object's name within its part is of this kind."""
        return _compiled(self.pattern or PATTERNS[self.name]).fullmatch(name) is not None

    def advice(self, name: str, *, missing: bool) -> str:
        """What makes an object whole again, in a few words."""
        if self.remedy is not None:
            return str(resolve(self.remedy)(name, missing))
        return self.missing if missing else self.damaged

    def marker_of(self, name: str) -> str | None:
        """The marker that must name an object; None if there is none."""
        return None if self.named_by is None else re.sub(*self.named_by, name)


_compiled = cache(re.compile)

UNKNOWN_KIND = ObjectKind(name="unknown", pattern="(?!)", is_read=False, needs_tokens=False)
"""Of objects that no stage declares."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run; one without units declares objects that are made on request."""

    name: str
    """Shown in progress; `Unit.stage` of its units."""
    goal: Goal = Goal.REPORT
    """The first goal that needs it."""
    run: Mapping[type[Unit], Function] = field(default_factory=dict)
    """Unit type → (unit, context, on_progress, should_stop), after which its outputs are there."""
    units: Function | None = None
    """(plan) → its units that a goal asks for, with what they need; None: only needed by others."""
    objects: tuple[ObjectKind, ...] = ()
    """What it puts."""
    completed_by: str = ""
    """Pattern of the sealed object that says of which tokens the stage's result is: stale, and
    removed, once the run has others. Empty: tokens that are added leave the result valid."""
    owns_folder: bool = True
    """Whether what is beside that object goes stale with it."""
    incomplete: Function | None = None
    """(store, names) → objects that count as absent, since what they name is lost."""
    leftovers: Function | None = None
    """(store, names) → objects of a part that may be deleted at any time."""

    def __post_init__(self) -> None:
        if wrong := [unit.__name__ for unit in self.run if unit.stage != self.name]:
            raise ValueError(f"stage {self.name!r} declares units of another stage: {wrong}")
