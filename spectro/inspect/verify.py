"""Re-reading all of a run against its checksums and counts, from storage alone.

Two passes over one listing: first the small objects, which say what the large ones must be, then
the large ones, a few at a time. What is not there yet is not damage: an object is *missing* only
if another that is there was made from it, or names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.run_parts import split_part
from spectro.formats.tokens import MARKER
from spectro.inspect.verify_part import PartVerifier
from spectro.pipeline.expected import Expected, expected_units
from spectro.pipeline.stages import STAGES
from spectro.storage.store import DamagedObjectError, Store
from spectro.work.model_info import model_of
from spectro.work.registry import StageRegistry
from spectro.work.stage import UNKNOWN_KIND, ObjectKind, OnProgress
from spectro.work.units import Unit

DAMAGED, MISSING, UNKNOWN = "damaged", "missing", "unknown"
READERS = 8
"""Large objects that are read at a time; so many are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One object that is not as it should be."""

    name: str
    """Relative to the run."""
    kind: str
    """As in `spectro.pipeline.stages`."""
    what: str
    """`damaged`, `missing` or `unknown`."""
    message: str
    """What is wrong, and what to do; one line."""


@dataclass(kw_only=True)
class KindCount:
    """What was found of one kind."""

    objects: int = 0
    """Objects that are there."""
    size_bytes: int = 0
    """Their size."""
    damaged: int = 0
    """Those whose content is wrong."""
    missing: int = 0
    """Those that should be there."""
    unknown: int = 0
    """Those that nothing accounts for."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found."""

    uri: str
    """Of the run."""
    kinds: dict[str, KindCount]
    """By kind, those that are there or should be."""
    faults: tuple[Fault, ...]
    """All that is wrong, by name."""
    units: int | None
    """Units of the whole run, as far as the page; None while its tokens are not there."""
    undone: tuple[str, ...]
    """Units that are not done, which is no fault."""
    leftovers: tuple[str, ...]
    """Objects that nobody needs and that may be deleted, which is no fault."""


@dataclass(kw_only=True)
class _Findings:
    """Counts and faults as they come."""

    stages: StageRegistry
    kinds: dict[str, KindCount] = field(default_factory=dict)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)

    def kind_of(self, name: str) -> ObjectKind:
        return self.stages.kind_of(split_part(name)[1])

    def count(self, name: str, size_bytes: int) -> None:
        count = self.kinds.setdefault(self.kind_of(name).name, KindCount())
        count.objects += 1
        count.size_bytes += size_bytes

    def add(self, name: str, what: str, message: str) -> None:
        """Record a fault; an object is recorded once."""
        if (name, what) in self.faults:
            return
        kind = self.kind_of(name).name
        count = self.kinds.setdefault(kind, KindCount())
        setattr(count, what, getattr(count, what) + 1)
        line = " ".join(message.split())
        self.faults[name, what] = Fault(name=name, kind=kind, what=what, message=line)


def verify_run(
    store: Store,
    config: PipelineConfig,
    on_progress: OnProgress = lambda done, total: None,
    stages: StageRegistry = STAGES,
) -> Verification:
    """Read everything that a run has, and compare it with what its markers say.

    Args:
        store: of the run.
        config: its configuration, from its run.yaml.
        on_progress: called with bytes read and bytes in all.
        stages: that the run may have.

    Raises ValueError if the folder is not that of a run, DamagedObjectError if its run.yaml is
    damaged: then nothing else can be judged.
    """
    file = run_dir.require(store)
    model = model_of(file, store.uri)
    present, found = store.list(), _Findings(stages=stages)
    for name, size in present.items():
        found.count(name, size)
    parts = {
        name: PartVerifier(store, name, present, stages=stages, add=found.add)
        for name in _parts(config, present)
    }
    for part in parts.values():
        part.read_markers()
    expected = None
    try:
        expected = expected_units(store, config, model, present, stages)
    except (DamagedObjectError, KeyError, TypeError, ValueError):
        pass  # recorded with the markers
    else:
        for name, needed_by in _missing(expected, present, found):
            advice = found.kind_of(name).advice(split_part(name)[1], missing=True)
            found.add(name, MISSING, f"{needed_by} was made from it; {advice}")
    _read_large(parts.values(), present, on_progress)
    for part in parts.values():
        part.compare(parts[""].contents, expected.probe_sha256 if expected else None)
    order = [kind.name for kind in (*stages.kinds, UNKNOWN_KIND)]
    return Verification(
        uri=store.uri,
        kinds={kind: found.kinds[kind] for kind in order if kind in found.kinds},
        faults=tuple(found.faults[key] for key in sorted(found.faults)),
        units=len(expected.units) if expected and expected.num_shards is not None else None,
        undone=tuple(unit.id for unit in expected.undone(present)) if expected else (),
        leftovers=tuple(name for part in parts.values() for name in sorted(part.leftovers)),
    )


def _read_large(
    parts: Iterable[PartVerifier], present: dict[str, int], on_progress: OnProgress
) -> None:
    """The large objects of all parts; those that fill much memory last, one at a time."""
    jobs = [(part, name) for part in parts for name in part.large()]
    total, done = sum(present[part.full(name)] for part, name in jobs), 0
    huge = [(part, name) for part, name in jobs if part.kind_of(name).is_huge]
    others = [(part, name) for part, name in jobs if not part.kind_of(name).is_huge]
    for chosen, readers in ((others, READERS), (huge, 1)):
        with ThreadPoolExecutor(readers, thread_name_prefix="verify") as threads:
            for size in threads.map(lambda job: job[0].check(job[1]), chosen):
                done += size
                on_progress(done, total)


def _missing(
    expected: Expected, present: Iterable[str], found: _Findings
) -> Iterable[tuple[str, str]]:
    """Absent objects that something which is there was made from, with the name of that."""
    there = set(present)
    if expected.num_shards is None:
        made = next((n for n in sorted(there) if found.kind_of(n).needs_tokens), None)
        if made is not None:
            yield MARKER, made
    wanted: dict[str, str] = {}

    def want(unit: Unit, because: str) -> None:
        for need in unit.needs:
            if need.id not in wanted:
                wanted[need.id] = because
                want(need, because)

    for unit in expected.units:
        if unit.is_done(there):
            want(unit, unit.id)
    for unit in expected.units:
        if unit.id in wanted:
            yield from ((name, wanted[unit.id]) for name in unit.absent(there))


def _parts(config: PipelineConfig, present: Iterable[str]) -> list[str]:
    """Parts that the run should have, and others that are there."""
    found = sorted({split_part(name)[0] for name in present})
    return list(dict.fromkeys([*config.parts, *found]))
