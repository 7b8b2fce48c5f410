"""What a job needs, in a few figures: GPU-hours, time, memory of cards and machines, cost.

The one source of the figures that `spectro plan`, `spectro render` and the docs give.
"""

from __future__ import annotations

from dataclasses import dataclass

from spectro.cluster_stage.units import rows_of_shards
from spectro.config import PipelineConfig
from spectro.formats.gpu_time import SECONDS_PER_HOUR
from spectro.planning.cluster_plan import ClusterPlan, Machines, plan_clusters
from spectro.planning.cluster_rates import load_cluster_rates
from spectro.planning.cluster_work import ClusterWork, layout_of, num_clusterings
from spectro.planning.config import CLUSTER_RATES, Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan import Plan, make_plan
from spectro.planning.plan_addition import plan_addition, shard_sizes_after
from spectro.planning.rates import file_of_rates, load_rates, product_type
from spectro.planning.run_work import measurement_of

GB = 1e9
PROCESS_BYTES = 2.0e9
"""Of a worker's process before it has any array: torch and Ray, 0.3 GB measured; what CUDA adds on
the host is assumed."""
CLUSTER_CORES = 16
"""Of a machine that finds clusters, where `run.cpu_worker_cores` does not say."""


@dataclass(frozen=True, kw_only=True)
class JobEstimate:
    """A whole job."""

    device: str
    """Name of the GPU that the rates are of, or of the CPU."""
    num_devices: int
    """How many work at once."""
    gpu_hours: float
    """Of all devices together: units alone, not the workers' starts."""
    finish_hours: float
    """Until the last unit that needs a GPU ends, on `num_devices`."""
    cluster_hours: float
    """Then, of one machine without a GPU, with `cluster_cores`."""
    cluster_cores: int
    """Cores of that machine."""
    device_bytes: int
    """Largest peak on a card."""
    gpu_memory_bytes: float | None
    """Of the card, by the rates; None: they are of a CPU."""
    host_bytes: int
    """Largest peak of a worker with a GPU on its host."""
    cpu_worker_bytes: int
    """Largest peak of a machine that finds clusters, with the files that it maps."""
    scratch_bytes: int
    """Files on the disk of such a machine."""
    stored_bytes: int
    """Draws in the run's storage."""
    measured: bool
    """Whether all rates were measured; else they are assumed."""

    def cost(self, price_per_gpu_hour: float | None) -> float | None:
        """Of the GPU-hours; None without a price."""
        return None if price_per_gpu_hour is None else self.gpu_hours * price_per_gpu_hour

    def lines(self, price_per_gpu_hour: float | None = None) -> list[str]:
        """Time and cost, memory, and where the figures come from."""
        cost = self.cost(price_per_gpu_hour)
        price = "" if cost is None else f", cost {cost:,.0f} at {price_per_gpu_hour:g} an hour"
        card = "" if self.gpu_memory_bytes is None else f" of {_gb(self.gpu_memory_bytes)}"
        source = "measured" if self.measured else "ASSUMED, NOT MEASURED"
        return [
            f"{self.gpu_hours:,.0f} GPU-hours{price}: {self.finish_hours:,.1f} h on "
            f"{self.num_devices} × {self.device}; then clusters without a GPU, "
            f"{self.cluster_hours:,.1f} h on one machine of {self.cluster_cores} cores",
            f"memory: {_gb(self.device_bytes)}{card} on a card, {_gb(self.host_bytes)} on the host "
            f"for each GPU worker, {_gb(self.cpu_worker_bytes)} and {_gb(self.scratch_bytes)} of "
            "scratch on a machine that finds clusters",
            f"rates of these figures: {source}",
        ]


def estimate_job(config: PipelineConfig, rates: str, num_devices: int) -> JobEstimate:
    """What a run will need.

    Args:
        config: the run.
        rates: a file of `benchmarks/rates/`, such as `h200-assumed`, or a path.
        num_devices: GPUs that work at once.

    Raises ValueError for what the model cannot do, and for rates that are not there.
    """
    size = size_of_checkpoint(config.model)
    device = Device(
        rates=load_rates(file_of_rates(rates)),
        precision=product_type(config.model),
        num_devices=num_devices,
    )
    if config.more is not None:
        plan, sizes = plan_addition(config, size, device), shard_sizes_after(config)
    else:
        plan = make_plan(config, size, device, Assumptions())
        sizes = measurement_of(config, size).shard_sizes
    m = measurement_of(config, size)
    work = ClusterWork(
        config=config.cluster,
        layout=layout_of(config, rows_of_shards(sizes, m.context)),
        num_columns=m.num_columns,
    )
    machines = Machines(
        rates=load_cluster_rates(file_of_rates(CLUSTER_RATES)),
        num_cores=config.run.cpu_worker_cores or CLUSTER_CORES,
    )
    return estimate(plan, plan_clusters(work, machines, num_clusterings(config)))


def estimate(plan: Plan, clusters: ClusterPlan) -> JobEstimate:
    """The figures of a plan and of its clusters."""
    rates = plan.device.rates
    return JobEstimate(
        device=rates.device,
        num_devices=plan.device.num_devices,
        gpu_hours=plan.device_seconds / SECONDS_PER_HOUR,
        finish_hours=plan.finish_seconds / SECONDS_PER_HOUR,
        cluster_hours=clusters.finish_seconds / SECONDS_PER_HOUR,
        cluster_cores=clusters.machines.num_cores,
        device_bytes=max(stage.device_bytes for stage in plan.stages),
        gpu_memory_bytes=rates.memory_bytes,
        host_bytes=int(PROCESS_BYTES) + max(stage.host_bytes for stage in plan.stages),
        cpu_worker_bytes=int(PROCESS_BYTES) + clusters.peak_bytes,
        scratch_bytes=clusters.scratch_bytes,
        stored_bytes=plan.stored_bytes,
        measured=rates.measured and clusters.machines.rates.measured,
    )


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / GB:,.0f} GB"
