"""Re-reading all of a run against its checksums and counts, from storage alone.

Two passes over one listing: first the small objects, which say what the large ones must be, then
the large ones, a few at a time. What is not there yet is not damage: an object is *missing* only
if another that is there was made from it, or names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.object_kinds import KINDS, kind_of
from spectro.formats.parts import split_part
from spectro.formats.tokens import MARKER
from spectro.inspect.remedies import remedy
from spectro.inspect.verify_part import PartVerifier
from spectro.pipeline.expected import Expected, expected_units
from spectro.storage.store import DamagedObjectError, Store
from spectro.work.model_info import model_of
from spectro.work.units import Unit

DAMAGED, MISSING, UNKNOWN = "damaged", "missing", "unknown"
BEFORE_TOKENS = ("run", "tokens", "sessions", "failures", "logs", "fences", "unknown")
"""Kinds of objects that are made without tokens."""
READERS = 8
"""Large objects that are read at a time; so many are in memory at once."""
OnProgress = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One object that is not as it should be."""

    name: str
    """Relative to the run."""
    kind: str
    """As in `formats/object_kinds.py`."""
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


@dataclass
class _Book:
    """Counts and faults as they come."""

    kinds: dict[str, KindCount] = field(default_factory=dict)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)

    def count(self, name: str, size_bytes: int) -> None:
        kind = self.kinds.setdefault(_kind(name), KindCount())
        kind.objects += 1
        kind.size_bytes += size_bytes

    def add(self, name: str, what: str, message: str) -> None:
        """Book a fault; an object is booked once."""
        if (name, what) in self.faults:
            return
        kind = self.kinds.setdefault(_kind(name), KindCount())
        setattr(kind, what, getattr(kind, what) + 1)
        line = " ".join(message.split())
        self.faults[name, what] = Fault(name=name, kind=_kind(name), what=what, message=line)


def verify_run(
    store: Store, config: PipelineConfig, on_progress: OnProgress = lambda done, total: None
) -> Verification:
    """Read everything that a run has, and hold it against what its markers say.

    Args:
        store: of the run.
        config: its configuration, from its run.yaml.
        on_progress: called with bytes read and bytes in all.

    Raises ValueError if the folder is not that of a run, DamagedObjectError if its run.yaml is
    damaged: then nothing else can be judged.
    """
    file = run_dir.require(store)
    model = model_of(file, store.uri)
    present, book = store.list(), _Book()
    for name, size in present.items():
        book.count(name, size)
    parts = {
        name: PartVerifier(store, name, present, add=book.add) for name in _parts(config, present)
    }
    for part in parts.values():
        part.read_markers()
    expected = None
    try:
        expected = expected_units(store, config, model, present)
    except (DamagedObjectError, KeyError, TypeError, ValueError):
        pass  # booked with the markers
    else:
        for name, needed_by in _missing(expected, present):
            advice = remedy(split_part(name)[1], missing=True)
            book.add(name, MISSING, f"{needed_by} was made from it; {advice}")
    _read_large(parts.values(), present, on_progress)
    for part in parts.values():
        part.finish(parts[""].sequence_ids, expected.probe_sha256 if expected else None)
    return Verification(
        uri=store.uri,
        kinds={kind: book.kinds[kind] for kind in KINDS if kind in book.kinds},
        faults=tuple(book.faults[key] for key in sorted(book.faults)),
        units=len(expected.units) if expected and expected.num_shards is not None else None,
        undone=tuple(unit.id for unit in expected.undone(present)) if expected else (),
        leftovers=tuple(name for part in parts.values() for name in sorted(part.leftovers)),
    )


def _read_large(
    parts: Iterable[PartVerifier], present: dict[str, int], on_progress: OnProgress
) -> None:
    """The large objects of all parts: sequences first, which rows are held against."""
    jobs = [(part, name) for part in parts for name in part.large()]
    total, done = sum(present[part.full(name)] for part, name in jobs), 0
    of_tokens = [job for job in jobs if kind_of(job[1]) == "tokens"]
    of_lists = [job for job in jobs if kind_of(job[1]) == "lists"]  # a gigabyte each
    others = [job for job in jobs if kind_of(job[1]) not in ("tokens", "lists")]
    for chosen, readers in ((of_tokens, READERS), (others, READERS), (of_lists, 1)):
        with ThreadPoolExecutor(readers, thread_name_prefix="verify") as threads:
            for size in threads.map(lambda job: job[0].check(job[1]), chosen):
                done += size
                on_progress(done, total)


def _missing(expected: Expected, present: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Absent objects that something which is there was made from, with the name of that."""
    there = set(present)
    if expected.num_shards is None:
        made = next((n for n in sorted(there) if _kind(n) not in BEFORE_TOKENS), None)
        if made is not None:
            yield MARKER, made
    wanted: dict[str, str] = {}

    def want(unit: Unit, because: str) -> None:
        for need in unit.needs:
            if need.id not in wanted:
                wanted[need.id] = because
                want(need, because)

    for unit in expected.units:
        if expected.is_done(unit, there):
            want(unit, unit.id)
    for unit in expected.units:
        if unit.id in wanted:
            yield from ((name, wanted[unit.id]) for name in expected.absent(unit, there))


def _parts(config: PipelineConfig, present: Iterable[str]) -> list[str]:
    """Parts that the run should have, and others that are there."""
    found = sorted({split_part(name)[0] for name in present})
    return list(dict.fromkeys([*config.parts, *found]))


def _kind(name: str) -> str:
    return kind_of(split_part(name)[1])
