"""Compares a rendered job with its plan, and refuses what cannot hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from spectro.config import PipelineConfig

from .manifests import Manifest
from .pods import CPU_GROUP, GPU, GPU_GROUP, MEMORY, group_named, limit

if TYPE_CHECKING:  # torch: not for --help
    from spectro.planning.job_estimate import JobEstimate

GB = 1e9


def refuse_what_does_not_fit(
    estimate: JobEstimate, config: PipelineConfig, manifest: Manifest, job: str, hours: float
) -> None:
    """Raise ValueError, in one line, if a limit or a pod is smaller than the plan says.

    Args:
        estimate: of the run, `job` being a part of it.
        config: its settings, with the budget.
        manifest: the RayJob, its pods sized.
        job: `pipeline`, `sample` or `cluster`.
        hours: deadline of the driver.
    """
    found = [*_time(estimate, job, hours), *_memory(estimate, manifest, job)]
    if job != "cluster":
        found += _budget(estimate, config)
    if found:
        raise ValueError(f"{'; '.join(found)} (render.rates=null renders without the plan)")


def clusters_line(estimate: JobEstimate) -> str:
    """Time and memory of clusters alone."""
    return (
        f"clusters: {estimate.cluster_hours:,.1f} h on one machine of {estimate.cluster_cores} "
        f"cores, memory {estimate.cpu_worker_bytes / GB:,.0f} GB, scratch "
        f"{estimate.scratch_bytes / GB:,.0f} GB"
    )


def _time(estimate: JobEstimate, job: str, hours: float) -> Iterator[str]:
    needed = {
        "pipeline": estimate.finish_hours + estimate.cluster_hours,
        "sample": estimate.finish_hours,
        "cluster": estimate.cluster_hours,
    }[job]
    if needed > hours:
        yield (
            f"the plan takes {needed:,.1f} h, the deadline is {hours:g} h: more render.workers, or "
            "a later render.deadline_hours"
        )


def _budget(estimate: JobEstimate, config: PipelineConfig) -> Iterator[str]:
    run, cost = config.run, estimate.cost(config.run.price_per_gpu_hour)
    if run.max_gpu_hours is not None and estimate.gpu_hours > run.max_gpu_hours:
        yield (
            f"the plan takes {estimate.gpu_hours:,.0f} GPU-hours, run.max_gpu_hours is "
            f"{run.max_gpu_hours:g}"
        )
    if run.max_cost is not None and cost is not None and cost > run.max_cost:
        yield f"the plan costs {cost:,.0f}, run.max_cost is {run.max_cost:g}"


def _memory(estimate: JobEstimate, manifest: Manifest, job: str) -> Iterator[str]:
    gpu, cpu = group_named(manifest, GPU_GROUP), group_named(manifest, CPU_GROUP)
    assert cpu is not None
    if gpu is not None:
        card, host = estimate.gpu_memory_bytes, limit(gpu, MEMORY) / limit(gpu, GPU)
        if card is not None and estimate.device_bytes > card:
            yield (
                f"the plan needs {estimate.device_bytes / GB:,.0f} GB on a card of "
                f"{card / GB:,.0f} GB: smaller run.chains_per_unit or chain.batch_size"
            )
        if estimate.host_bytes > host:
            yield (
                f"a GPU worker needs {estimate.host_bytes / GB:,.0f} GB on its host, the pod has "
                f"{host / GB:,.0f} GB for each GPU: an overlay with more memory"
            )
    if job != "sample" and estimate.cpu_worker_bytes > limit(cpu, MEMORY):
        yield (
            f"clusters need {estimate.cpu_worker_bytes / GB:,.0f} GB on a machine, the pod has "
            f"{limit(cpu, MEMORY) / GB:,.0f} GB: larger run.cpu_worker_cores, which memory follows"
        )
