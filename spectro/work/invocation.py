"""Builds the worker pool, the driver and the stop conditions of one invocation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from spectro.config import PipelineConfig
from spectro.storage.store import Store
from spectro.work.driver import Driver
from spectro.work.errors import StoppedError, one_line
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.inline_pool import InlinePool
from spectro.work.model_info import ModelInfo
from spectro.work.progress import Progress
from spectro.work.ray_actors import RayActors
from spectro.work.ray_pool import RayPool
from spectro.work.ray_session import gpus_per_worker, num_workers, ray_session
from spectro.work.retry_budgets import RetryBudgets
from spectro.work.stop_conditions import StopConditions
from spectro.work.worker import WorkerSetup


def stop_conditions(config: PipelineConfig) -> StopConditions:
    """When an invocation that begins now is to stop."""
    run = config.run
    return StopConditions(
        time.monotonic(),
        deadline_seconds=None if run.deadline_hours is None else 3600 * run.deadline_hours,
        idle_seconds=None if run.idle_minutes is None else 60 * run.idle_minutes,
        drain_seconds=run.drain_seconds,
    )


@contextmanager
def open_pool(setup: WorkerSetup, stop: StopConditions) -> Iterator[InlinePool | RayPool]:
    """The worker pool: this process, or Ray actors; no GPU where the model is known already."""
    config = setup.config
    if config.run.num_workers == 0:
        yield InlinePool(setup, stop.requested)
        return
    with ray_session(config.run):
        gpus = gpus_per_worker(config.run, config.model.device) if setup.model is None else 0.0
        pool = RayPool(
            actors=RayActors(setup=setup, gpus_per_worker=gpus),
            wanted=lambda: num_workers(config.run, gpus),
        )
        try:
            yield pool
        finally:
            pool.close()


@contextmanager
def open_driver(
    config: PipelineConfig,
    store: Store,
    model: ModelInfo,
    pool: InlinePool | RayPool,
    progress: Progress,
    stop: StopConditions,
) -> Iterator[Driver]:
    """The driver of this invocation; its last heartbeat records how it ends."""
    device = model.device.split(":")[0]
    heartbeats = HeartbeatWriter(store, device=device, beat_seconds=config.run.beat_seconds)
    budgets = RetryBudgets(errors=config.run.max_errors, crashes=config.run.max_crashes)
    ended = "done"
    try:
        yield Driver(
            pool=pool,
            progress=progress,
            heartbeats=heartbeats,
            stop=stop,
            budgets=budgets,
            one_machine=config.run.ray_address is None,
        )
    except StoppedError as stopped:
        ended = f"stopped: {stopped}"
        raise
    except BaseException as error:
        ended = f"failed: {one_line(error)}"
        raise
    finally:
        heartbeats.close(pool, ended)
