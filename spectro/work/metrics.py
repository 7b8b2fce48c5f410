"""A run's numbers as Ray metrics, which Ray serves to Prometheus on every node.

Names: spectro_units (gauge: stage, state), spectro_work_share (gauge: stage), spectro_workers,
spectro_workers_starting, spectro_worker_seconds, spectro_gpus, spectro_gpu_seconds_held,
spectro_gpu_seconds_worked, spectro_waiting_seconds (gauges), spectro_units_undone (counter, by
fate: how a unit ended). All have the run's URI as tag `run`. Without Ray nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray.util import metrics as ray_metrics

from spectro.formats.sessions import StageCount
from spectro.work.outcome import Outcome, WorkerCounts


class Metrics:
    """Sets Ray's metrics, if Ray is running."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._made: dict[str, Any] = {}

    def state(self, counts: WorkerCounts, stages: Mapping[str, StageCount]) -> None:
        """Workers, and how far every stage is."""
        for name, what, value in (
            ("workers", "workers that are ready", counts.num_workers),
            ("workers_starting", "workers that start or wait for a machine", counts.num_starting),
            ("worker_seconds", "time of all workers", counts.worker_seconds),
            ("gpus", "GPUs that workers hold", counts.num_gpus),
            ("gpu_seconds_held", "GPU time of all workers", counts.gpu_seconds_held),
            ("gpu_seconds_worked", "GPU time in units", counts.gpu_seconds_worked),
            ("waiting_seconds", "time without a worker for ready units", counts.waiting_seconds),
        ):
            self._set(f"spectro_{name}", what, value)
        for name, count in stages.items():
            share = count.done_cost / count.cost if count.cost else 1.0
            self._set("spectro_work_share", "share of a stage's work done", share, stage=name)
            for state, value in (("done", count.done), ("left", count.units - count.done)):
                self._set(
                    "spectro_units", "units of this invocation", value, stage=name, state=state
                )

    def undone(self, outcome: Outcome) -> None:
        """A unit came back undone."""
        if ray.is_initialized():
            metric = self._metric(
                ray_metrics.Counter, "spectro_units_undone", "units that came back", ("fate",)
            )
            metric.inc(1, tags={"run": self._run, "fate": str(outcome.result)})

    def _set(self, name: str, what: str, value: float, **tags: str) -> None:
        if ray.is_initialized():
            metric = self._metric(ray_metrics.Gauge, name, what, tuple(tags))
            metric.set(value, tags={"run": self._run, **tags})

    def _metric(self, kind: Any, name: str, what: str, tags: tuple[str, ...]) -> Any:
        if name not in self._made:
            self._made[name] = kind(name, description=what, tag_keys=("run", *tags))
        return self._made[name]
