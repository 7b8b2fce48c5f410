"""Builds the worker pool, the driver and the stop conditions of one invocation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from spectro.config import PipelineConfig, to_dict
from spectro.formats.gpu_time import gpu_time, job_seconds
from spectro.formats.sessions import Heartbeat
from spectro.storage.store import Store
from spectro.work.config import RunConfig
from spectro.work.driver import Driver
from spectro.work.errors import StoppedError, one_line
from spectro.work.heartbeats import HeartbeatWriter, Observer
from spectro.work.inline_pool import InlinePool
from spectro.work.model_info import ModelInfo
from spectro.work.progress import Progress
from spectro.work.ray_actors import RayActors
from spectro.work.ray_pool import RayPool
from spectro.work.ray_session import WorkerSizes, ray_session, worker_sizes
from spectro.work.retry_budgets import RetryBudgets
from spectro.work.stop_conditions import RunLimits, StopConditions
from spectro.work.trackers import require_installed
from spectro.work.tracking import Findings, TrackedRun
from spectro.work.webhook import Webhook
from spectro.work.worker import WorkerSetup
from spectro.work.worker_kinds import WorkerKind

OnReady = Callable[[ModelInfo], None]


def stop_conditions(run: RunConfig, earlier: Sequence[Heartbeat]) -> StopConditions:
    """When an invocation that begins now, after these, is to stop."""
    return StopConditions(
        time.monotonic(),
        limits=limits_of(run, earlier),
        idle_seconds=None if run.idle_minutes is None else 60 * run.idle_minutes,
        drain_seconds=run.drain_seconds,
    )


def limits_of(run: RunConfig, earlier: Sequence[Heartbeat]) -> RunLimits:
    """A run's limits, and what its earlier invocations have used: GPU time all of them, time those
    of the same job."""
    limits = {"run.max_gpu_hours": run.max_gpu_hours}
    if run.max_cost is not None and run.price_per_gpu_hour is not None:
        limits["run.max_cost"] = run.max_cost / run.price_per_gpu_hour
    given = {name: hours for name, hours in limits.items() if hours is not None}
    name = min(given, key=lambda name: given[name], default="")
    return RunLimits(
        deadline_seconds=None if run.deadline_hours is None else 3600 * run.deadline_hours,
        seconds_before=job_seconds(earlier, run.job),
        gpu_seconds=3600 * given[name] if given else None,
        gpu_seconds_before=gpu_time(earlier).held_seconds,
        gpu_limit=name,
    )


@contextmanager
def open_pool(
    setup: WorkerSetup, stop: StopConditions, *, is_measuring: bool, on_ready: OnReady
) -> Iterator[InlinePool | RayPool]:
    """The worker pool: this process, or Ray actors; two kinds of them where GPUs are reserved.

    Args:
        setup: of its workers.
        stop: heeded by a worker in this process.
        is_measuring: whether a unit is left that needs the model.
        on_ready: checks what a worker describes; raises ValueError.
    """
    config = setup.config
    if config.run.num_workers == 0:
        yield InlinePool(setup, is_measuring, on_ready, stop.requested)
        return
    with ray_session(config.run):
        sizes = worker_sizes(config.run, config.model.device)

        def actors(kind: WorkerKind, cpus: float, gpus: float, holds_model: bool) -> RayActors:
            return RayActors(
                setup=setup,
                kind=kind,
                cpus=cpus,
                gpus=gpus,
                holds_model=holds_model,
                on_ready=on_ready,
            )

        pool = RayPool(actors=_kinds(sizes, actors, is_measuring), capacity=sizes.capacity)
        try:
            yield pool
        finally:
            pool.close()


def _kinds(
    sizes: WorkerSizes,
    actors: Callable[[WorkerKind, float, float, bool], RayActors],
    is_measuring: bool,
) -> dict[WorkerKind, RayActors]:
    if not sizes.gpus:
        return {WorkerKind.CPU: actors(WorkerKind.CPU, sizes.threads, 0.0, is_measuring)}
    return {
        WorkerKind.CPU: actors(WorkerKind.CPU, sizes.cpu_worker_cores, 0.0, False),
        WorkerKind.GPU: actors(WorkerKind.GPU, sizes.threads, sizes.gpus, True),
    }


def make_driver(
    run: RunConfig,
    pool: InlinePool | RayPool,
    heartbeats: HeartbeatWriter,
    progress: Progress,
    stop: StopConditions,
) -> Driver:
    """The driver of this invocation."""
    return Driver(
        pool=pool,
        progress=progress,
        heartbeats=heartbeats,
        stop=stop,
        budgets=RetryBudgets(errors=run.max_errors, crashes=run.max_crashes, losses=run.max_losses),
        one_machine=run.ray_address is None,
    )


@contextmanager
def open_webhook(run: RunConfig, uri: str, earlier: Sequence[Heartbeat]) -> Iterator[Webhook]:
    """The run's webhook, which reports how the block ends; open it before workers are held."""
    webhook = Webhook(run.webhook, uri, earlier)
    with _ending(webhook.ended):
        yield webhook


@contextmanager
def open_trackers(
    config: PipelineConfig, uri: str, earlier: Sequence[Heartbeat], findings: Findings
) -> Iterator[TrackedRun]:
    """The run's experiment trackers; open them before workers are held.

    Raises ModuleNotFoundError, with what to install, for a tracker whose library is missing.
    """
    require_installed(config.run.trackers)
    settings = {name: value for name, value in to_dict(config).items() if name != "run"}
    tracked = TrackedRun(config.run.trackers, uri, settings, earlier, findings)
    with _ending(tracked.ended):
        yield tracked


@contextmanager
def open_heartbeats(
    config: PipelineConfig,
    store: Store,
    pool: InlinePool | RayPool,
    observers: Sequence[Observer],
) -> Iterator[HeartbeatWriter]:
    """The heartbeats of this invocation; the last one records how it ends."""
    heartbeats = HeartbeatWriter(
        store, config.run, device=config.model.device.split(":")[0], observers=observers
    )
    with _ending(lambda ended: heartbeats.close(pool, ended)):
        yield heartbeats


@contextmanager
def _ending(record: Callable[[str], None]) -> Iterator[None]:
    """Record how the block ends: `done`, `stopped: …`, `failed: …`."""
    try:
        yield
    except StoppedError as stopped:
        record(f"stopped: {stopped}")
        raise
    except BaseException as error:
        record(f"failed: {one_line(error)}")
        raise
    record("done")
