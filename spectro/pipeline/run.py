"""A whole run: what is to be done for a goal, checked, then handed to the driver."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass

from spectro.cluster_stage.find import check_clusters
from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats import run_dir, tokens
from spectro.formats.chain_records import drop_draws
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.measure.resident_model import ResidentModel
from spectro.measure.tokenise import read_lines, token_units
from spectro.pipeline.findings import findings
from spectro.pipeline.goals import (
    bind_run,
    goal_units,
    known_model,
    lost_units,
    open_run,
    present_objects,
)
from spectro.pipeline.preflight import check_goal, check_place, describe_model, load_described
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.susceptibility.summary import summary_lines
from spectro.upsampling.checks import check_upsampled
from spectro.work.driver import Driver
from spectro.work.errors import UnitError
from spectro.work.invocation import (
    make_driver,
    open_heartbeats,
    open_pool,
    open_trackers,
    open_webhook,
    stop_conditions,
)
from spectro.work.model_info import ModelInfo
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry
from spectro.work.stage import Goal
from spectro.work.stop_conditions import on_sigterm
from spectro.work.units import Unit
from spectro.work.worker import WorkerSetup

__all__ = ["Finished", "Goal", "run_pipeline"]
logger = logging.getLogger(__name__)


MAX_LISTINGS = 5
"""Times that storage is listed anew because a listed object was not there."""


UNFINISHED_SECONDS = 24 * 3600.0
"""Parts of objects that nobody has finished after so long belong to writers that died."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Summary of a finished invocation."""

    uri: str
    """Of the run."""
    num_units: int
    """Units done now; 0 if all was there already."""
    seconds: float
    """Wall time of this invocation."""
    stage_seconds: dict[str, float]
    """Wall time by stage; stages overlap."""


def run_pipeline(
    config: PipelineConfig,
    progress: Progress,
    *,
    goal: Goal = Goal.REPORT,
    stages: StageRegistry = STAGES,
) -> Finished:
    """Do what is missing of a run.

    Raises ValueError for what the user can mend (one line, nothing written that was not right),
    UnitError for work that failed.
    """
    start = time.monotonic()
    config = with_absolute_paths(config)
    store = Store(config.run.uri)
    check_place(store)
    run_dir.check(store, config.inputs())
    check_clusters(store, config.parts, config)
    token_units(store, config)  # refuses an addition that cannot be, before anything is started
    earlier = read_heartbeats(store, store.list(SESSIONS))
    stop = stop_conditions(config.run, earlier)
    known = known_model(store, config, goal, stages)
    setup = WorkerSetup(
        config=config,
        stages=stages,
        context=ResidentModel,
        describe=describe_model,
        load=load_described,
        model=known.shape,
    )
    binding = _Binding(config=config, store=store, stages=stages)
    with (
        open_webhook(config.run, store.uri, earlier) as webhook,
        open_trackers(config, store.uri, earlier, lambda: findings(store.uri)) as tracked,
        open_pool(setup, stop, is_measuring=known.is_needed, on_ready=binding.require) as pool,
        on_sigterm(stop.requested),  # Ray sets a handler of its own
        open_heartbeats(config, store, pool, (webhook, tracked)) as heartbeats,
    ):
        model = known.shape
        if model is None or (known.is_needed and not pool.has_gpu_workers):
            model = pool.describe(stop, lambda: heartbeats.put_while_waiting(pool))
        check_goal(config, store, goal, model)
        run = _Run(config=config, store=store, model=model, stages=stages)
        binding.check_source(model)
        open_run(store, config, model)
        binding.open(model)
        heartbeats.device = (model.device or config.model.device).split(":")[0]
        num_units = run.do(make_driver(config.run, pool, heartbeats, progress, stop), goal)
    now = time.monotonic()
    return Finished(
        uri=store.uri,
        num_units=num_units,
        seconds=now - start,
        stage_seconds={name: s.elapsed_seconds(now) for name, s in progress.stages.items()},
    )


@dataclass(kw_only=True)
class _Binding:
    """Which weights and which type of device a run is bound to, from its first measuring worker on.

    Tokens, clusters and the page bind it to nothing: they can be made on other machines (ADR 094).
    """

    config: PipelineConfig
    store: Store
    stages: StageRegistry
    is_open: bool = False
    """Whether the run's `run.yaml` is there."""
    _accepted: ModelInfo | None = None
    """The last model that was bound or checked: a fleet of the same asks storage nothing."""
    _source_of: str | None = None
    """Digest of the weights that the source of an upsampled run was compared with."""

    def open(self, model: ModelInfo) -> None:
        """The run's `run.yaml` is there now, and a worker has described its model."""
        self.is_open = True
        self.require(model)

    def require(self, model: ModelInfo) -> None:
        """Bind the run, or check what it is bound to; nothing for a model that is not loaded.

        Raises ValueError, OtherRunError among them, for another model or type of device.
        """
        if self.is_open and model.weights_sha256 and model != self._accepted:
            self.check_source(model)
            bind_run(self.store, self.config, model)
            self._accepted = model

    def check_source(self, model: ModelInfo) -> None:
        """Refuse a loaded model that the source of an upsampled run was not measured with."""
        if self.config.upsample is None or model.weights_sha256 in ("", self._source_of):
            return
        run = _Run(config=self.config, store=self.store, model=model, stages=self.stages)
        if run.reads_source():
            check_upsampled(self.config, model)
        self._source_of = model.weights_sha256


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run whose model is known."""

    config: PipelineConfig
    store: Store
    model: ModelInfo
    stages: StageRegistry

    def goal_units(self, goal: Goal) -> list[Unit]:
        info = tokens.read_info(self.store)
        return goal_units(self.config, self.model, info, goal, self.stages)

    def reads_source(self) -> bool:
        """Whether a unit is still to do that reads the measured run of an upsampled one."""
        if self.config.upsample is None:
            return False
        present = self.store.list()
        if self.stages.required(token_units(self.store, self.config), present):
            return True
        return bool(self.stages.required(self.goal_units(Goal.SAMPLE), present))

    def do(self, driver: Driver, goal: Goal) -> int:
        """Do what a goal needs; returns the number of units.

        What is there is read from one listing before anything is given out. Where a unit then
        misses an object (a listing may be stale, or somebody has deleted it) the listing is read
        again.
        """
        config, store = self.config, self.store
        first = self.stages.required(token_units(store, config), store.list())
        if missing := driver.run(first):
            raise UnitError(f"unit {missing[0]} misses an object: is somebody deleting this run?")
        for line in read_lines(first, store):
            driver.progress.say(line)
        if goal is Goal.TOKENS:
            return len(first)
        done = len(first)
        for _ in range(MAX_LISTINGS):
            goals = self.goal_units(goal)
            present = present_objects(store, config, goal, self.stages)
            units = self.stages.required([*goals, *lost_units(goals, present)], present)
            done += len(units)
            missing = driver.run(units)
            if not missing:
                break
            logger.warning("objects that were listed are not there; listing again: %s", missing)
        else:
            raise UnitError(
                f"unit {missing[0]} misses an object that storage lists again and again"
            )
        if done > len(first):
            _log_columns(store, config)
        self.tidy()
        return done

    def tidy(self) -> None:
        """Remove what nobody needs, also what a killed invocation should have removed."""
        store, config = self.store, self.config
        try:
            store.sweep(UNFINISHED_SECONDS)
        except (ValueError, PermissionError) as error:  # the product is whole all the same
            logger.warning("unfinished uploads cannot be looked for: %s", error)
        for part in config.parts:
            own = store.child(part)
            names = set(own.list())
            unneeded = self.stages.leftovers(own, names)
            own.delete_many(unneeded)
            if not config.run.keep_draws:
                drop_draws(own, names - unneeded)


def _log_columns(store: Store, config: PipelineConfig) -> None:
    """A line for every column: how it was drawn, its reliability, whether its chains are true."""
    for part in config.parts:
        own = store.child(part)
        if own.exists(SUMMARY_NAME):
            for line in summary_lines(json.loads(own.read(SUMMARY_NAME))):
                logger.info("%scolumn %s", f"{part}: " if part else "", line)
