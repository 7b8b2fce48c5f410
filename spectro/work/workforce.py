"""Who works on a run: the pool, the driver, and what stops them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from spectro.config import PipelineConfig
from spectro.storage.store import Store
from spectro.work.driver import Budgets, Driver
from spectro.work.errors import StoppedError, one_line
from spectro.work.inline_pool import InlinePool
from spectro.work.journal import Journal
from spectro.work.model_info import ModelInfo
from spectro.work.progress import Progress
from spectro.work.ray_actors import RayActors
from spectro.work.ray_pool import RayPool
from spectro.work.ray_session import gpus_per_worker, num_workers, ray_session
from spectro.work.stop_conditions import StopConditions


def watch_of(config: PipelineConfig) -> StopConditions:
    """When an invocation that begins now is to stop."""
    run = config.run
    return StopConditions(
        time.monotonic(),
        deadline_seconds=None if run.deadline_hours is None else 3600 * run.deadline_hours,
        idle_seconds=None if run.idle_minutes is None else 60 * run.idle_minutes,
        drain_seconds=run.drain_seconds,
    )


@contextmanager
def workers_of(
    config: PipelineConfig, watch: StopConditions, model: ModelInfo | None
) -> Iterator[InlinePool | RayPool]:
    """The pool: this process, or Ray's.

    Args:
        config: of the run.
        watch: when to stop.
        model: its description if nothing is to be measured: no worker loads it, none needs a GPU.
    """
    if config.run.num_workers == 0:
        yield InlinePool(config, watch.told, model)
        return
    with ray_session(config.run):
        gpus = gpus_per_worker(config.run, config.model.device) if model is None else 0.0
        pool = RayPool(
            crew=RayActors(config=config, gpus_per_worker=gpus, model=model),
            wanted=lambda: num_workers(config.run, gpus),
        )
        try:
            yield pool
        finally:
            pool.close()


@contextmanager
def driver_of(
    config: PipelineConfig,
    store: Store,
    model: ModelInfo,
    pool: InlinePool | RayPool,
    progress: Progress,
    watch: StopConditions,
) -> Iterator[Driver]:
    """The driver of this invocation; storage is told how it ends."""
    device = model.device.split(":")[0]
    journal = Journal(store, device=device, beat_seconds=config.run.beat_seconds)
    budgets = Budgets(errors=config.run.max_errors, crashes=config.run.max_crashes)
    ended = "done"
    try:
        yield Driver(
            pool=pool,
            progress=progress,
            journal=journal,
            watch=watch,
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
        journal.close(pool, ended)
