"""A stage is one object: one that only this test declares is run, shown, verified and mended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from spectro.config import PipelineConfig
from spectro.formats.derived_objects import put_derived
from spectro.formats.object_kinds import PATTERNS
from spectro.inspect.status import read_status
from spectro.inspect.verify import DAMAGED, MISSING, verify_run
from spectro.measure.units import SummaryUnit
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.storage.store import ObjectInfo, Store
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry
from spectro.work.stage import (
    ObjectKind,
    OnProgress,
    PartContents,
    RunPlan,
    ShouldStop,
    Stage,
    WorkerContext,
    resolve,
)
from spectro.work.units import Unit

DATA = b"as many tokens as the summary counts"


@dataclass(frozen=True, kw_only=True)
class CountUnit(Unit):
    stage: ClassVar[str] = "counting"
    needs_model: ClassVar[bool] = False
    probe_sha256: str
    names = ("counts/count.bin", "counts/count.json")


def count(
    unit: CountUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    store, _ = context.of(unit)
    store.put(unit.names[0], DATA)
    put_derived(store, unit.names[1], {"file": asdict(ObjectInfo.of(DATA))}, unit.probe_sha256)
    on_progress(1.0, 1.0)


def count_units(plan: RunPlan) -> list[Unit]:
    """One unit, for the run's own measurement."""
    needs = tuple(unit for unit in plan.of_type(SummaryUnit) if not unit.part)
    return [CountUnit(probe_sha256=plan.tokens.probe_sha256, needs=needs)]


def file_of_count(contents: PartContents, name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"counts/count.bin": content["file"]}


def check_count(contents: PartContents, name: str, data: bytes) -> None:
    if name.endswith(".bin") and data != DATA:
        raise ValueError("it counts other tokens")


COUNTING = Stage(
    name="counting",
    goal=Goal.SAMPLE,
    run={CountUnit: count},
    units=count_units,
    objects=(
        ObjectKind(
            name="counts",
            pattern=r"counts/count\.(bin|json)",
            read_marker=file_of_count,
            check=check_count,
            damaged="delete it; counting costs a second",
            missing="delete the marker too; counting costs a second",
        ),
    ),
    completed_by=r"counts/count\.json",
)
WITH_COUNTING = StageRegistry((*STAGES.stages, COUNTING))


@pytest.fixture
def counted(run_copy: Callable[[], tuple[Store, PipelineConfig]]) -> tuple[Store, PipelineConfig]:
    """A finished run, gone on with by a version that knows one more stage."""
    store, config = run_copy()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, uri=store.uri))
    before = read_status(store, config, stages=WITH_COUNTING)
    assert (before.stages["counting"].units, before.stages["counting"].done) == (1, 0)
    assert before.state == "stopped"
    progress = Progress()
    finished = run_pipeline(config, progress, goal=Goal.REPORT, stages=WITH_COUNTING)
    assert finished.num_units == 1
    assert list(progress.stages) == ["counting"]
    return store, config


def test_a_stage_is_run_shown_and_verified_by_its_declaration(
    counted: tuple[Store, PipelineConfig],
) -> None:
    store, config = counted
    status = read_status(store, config, stages=WITH_COUNTING)
    assert (status.stages["counting"].done, status.state) == (1, "done")
    found = verify_run(store, config, stages=WITH_COUNTING)
    assert found.faults == ()
    assert found.kinds["counts"].objects == 2


def test_what_is_wrong_with_its_objects_is_named_with_what_to_do(
    counted: tuple[Store, PipelineConfig],
) -> None:
    store, config = counted
    path = Path(store.root) / "counts/count.bin"
    path.write_bytes(DATA[:-1])
    (fault,) = verify_run(store, config, stages=WITH_COUNTING).faults
    assert (fault.name, fault.kind, fault.what) == ("counts/count.bin", "counts", DAMAGED)
    assert fault.message.endswith("delete it; counting costs a second")
    path.unlink()
    found = verify_run(store, config, stages=WITH_COUNTING)
    assert [(fault.name, fault.what) for fault in found.faults] == [("counts/count.bin", MISSING)]
    assert found.faults[0].message.endswith("delete the marker too; counting costs a second")
    assert found.undone == ("counts/count.bin",)


def test_its_result_goes_stale_with_the_tokens(counted: tuple[Store, PipelineConfig]) -> None:
    store, _ = counted
    gone = WITH_COUNTING.remove_stale(store, store.list(), "of other tokens")
    assert {"counts/count.bin", "counts/count.json", "assembly/summary.json"} <= gone
    assert "assembly/part-00000.json" not in gone


def test_a_version_without_the_stage_does_not_know_its_objects(
    counted: tuple[Store, PipelineConfig],
) -> None:
    store, config = counted
    assert {fault.what for fault in verify_run(store, config).faults} == {"unknown"}


def test_a_stage_runs_only_its_own_units() -> None:
    with pytest.raises(ValueError, match="units of another stage: \\['CountUnit'\\]"):
        Stage(name="others", run={CountUnit: count})


def test_all_functions_that_stages_name_exist() -> None:
    hooks = ("units", "incomplete", "leftovers")
    of_kinds = ("remedy", "read_marker", "check", "compare")
    found = [*(f for s in STAGES.stages for f in s.run.values())]
    found += [getattr(stage, name) for stage in STAGES.stages for name in hooks]
    found += [getattr(kind, name) for kind in STAGES.kinds for name in of_kinds]
    for function in found:
        assert function is None or callable(resolve(function)), function


def test_every_kind_of_object_is_declared_once() -> None:
    assert sorted(kind.name for kind in STAGES.kinds) == sorted(PATTERNS)
    names = [stage.name for stage in STAGES.stages]
    assert len(names) == len(set(names))
