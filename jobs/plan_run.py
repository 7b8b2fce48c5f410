"""Makes a plan and prints it: stages, bill, clusters."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from spectro.cluster_stage.units import rows_of_shards
from spectro.config import PipelineConfig
from spectro.formats.gpu_time import GpuTime, gpu_time
from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.models.load import resolve_device
from spectro.models.size import ModelSize
from spectro.planning.bill import BillLine, make_bill
from spectro.planning.cluster_plan import ClusterPlan, Machines, plan_clusters
from spectro.planning.cluster_rates import load_cluster_rates
from spectro.planning.cluster_work import ClusterWork, layout_of, num_clusterings
from spectro.planning.config import MEASURE, PlanConfig
from spectro.planning.device_costs import Device
from spectro.planning.job_estimate import estimate
from spectro.planning.measure_rates import measure_rates
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan import Plan, make_plan
from spectro.planning.plan_addition import plan_addition, shard_sizes_after
from spectro.planning.plan_notes import damage_notes
from spectro.planning.rates import Rates, file_of_rates, load_rates, product_type, to_yaml
from spectro.planning.run_work import measurement_of
from spectro.storage.store import Store
from spectro.upsampling.plan import plan_upsampled, upsample_bill, with_upsampling
from spectro.work.threads import num_cores_here

from .plan_tables import bill_table, clusters_table, gpu_time_line, plan_table

MIN_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """A plan, its bill, its clusters."""

    plan: Plan
    """Of the measurement."""
    bill: tuple[BillLine, ...]
    """Planned and done, stage by stage; empty unless asked for."""
    gpu_time: GpuTime | None
    """Of all invocations; None unless a bill is asked for."""
    clusters: ClusterPlan
    """Of the clustering."""
    rates: Rates
    """Of the device."""
    price_per_gpu_hour: float | None
    """As `run.price_per_gpu_hour` says."""
    warnings: list[str]
    """About the run that exists."""

    def show(self) -> None:
        """Print tables and notes."""
        console = Console(soft_wrap=True)
        console.width = max(console.width, MIN_WIDTH)  # a table that is cut says nothing
        console.print(plan_table(self.plan))
        if self.bill:
            console.print(bill_table(self.bill))
        if self.gpu_time is not None and self.gpu_time.held_seconds:
            line = gpu_time_line(self.plan.device_seconds, self.gpu_time)
            console.print(line, highlight=False)
        console.print(clusters_table(self.clusters))
        for line in estimate(self.plan, self.clusters).lines(self.price_per_gpu_hour):
            console.print(line, highlight=False)
        for note in (*self.warnings, *self.plan.notes, *self.clusters.notes):
            loud = note.startswith("rates") and "NOT MEASURED" in note
            console.print(f"- {note}", style="bold red" if loud else None, highlight=False)

    @property
    def rates_yaml(self) -> str:
        """The rates as a file."""
        return to_yaml(self.rates)

    @property
    def json(self) -> str:
        """All of it."""
        plain = _as_dict(self.plan, self.bill, self.clusters)
        if self.gpu_time is not None:
            waited = {"waited_seconds": self.gpu_time.waited_seconds}
            plain["gpu_time"] = dataclasses.asdict(self.gpu_time) | waited
        return json.dumps(plain, indent=1)


def make_report(config: PipelineConfig, settings: PlanConfig) -> PlanReport:
    """Plan a run; measures the device's rates if `settings.rates` says so."""
    size = size_of_checkpoint(config.model)
    precision = product_type(config.model)
    rates = _rates(settings, config, precision)
    device = Device(rates=rates, precision=precision, num_devices=settings.num_devices)
    plan = _planned(settings, config, size, device)
    bill_of = make_bill if config.upsample is None else upsample_bill
    store = Store(config.run.uri)
    begun = store.is_local or settings.bill or config.more is not None
    return PlanReport(
        plan=plan,
        bill=bill_of(plan, config) if settings.bill else (),
        gpu_time=gpu_time(read_heartbeats(store, store.list(SESSIONS))) if settings.bill else None,
        clusters=_clusters(settings, config, size),
        rates=rates,
        price_per_gpu_hour=config.run.price_per_gpu_hour,
        warnings=damage_notes(store, config, size) if begun else [],
    )


def _planned(settings: PlanConfig, config: PipelineConfig, size: ModelSize, device: Device) -> Plan:
    if config.upsample is not None:
        return plan_upsampled(config, size, device)
    if config.more is not None:
        return plan_addition(config, size, device)
    plan = make_plan(config, size, device, settings)
    if settings.upsample_tokens is None:
        return plan
    return with_upsampling(plan, config, device, settings.predict, settings.upsample_tokens)


def _rates(settings: PlanConfig, config: PipelineConfig, precision: str) -> Rates:
    if settings.rates == MEASURE:
        size = size_of_checkpoint(config.model)
        device = resolve_device(config.model.device)
        return measure_rates(size, config.tokens.context, precision, device)
    return load_rates(file_of_rates(settings.rates))


def _clusters(settings: PlanConfig, config: PipelineConfig, size: ModelSize) -> ClusterPlan:
    """Clusters of all tokens that the run will then have, or of as many as are asked for."""
    m = measurement_of(config, size)
    sizes = m.shard_sizes if config.more is None else shard_sizes_after(config)
    work = ClusterWork(
        config=config.cluster,
        layout=layout_of(config, rows_of_shards(sizes, m.context), settings.cluster_tokens),
        num_columns=settings.cluster_columns or m.num_columns,
    )
    machines = Machines(
        rates=load_cluster_rates(file_of_rates(settings.cluster_rates)),
        num_nodes=settings.nodes,
        num_cores=settings.cores or num_cores_here(),
    )
    return plan_clusters(work, machines, num_clusterings(config))


def _as_dict(plan: Plan, bill: tuple[BillLine, ...], clusters: ClusterPlan) -> dict[str, Any]:
    """A plan, its bill and its clusters as plain values."""
    plain = dataclasses.asdict(plan)
    plain["totals"] = {
        **dataclasses.asdict(plan.work),
        "device_seconds": plan.device_seconds,
        "finish_seconds": plan.finish_seconds,
    }
    plain["clusters"] = {
        **dataclasses.asdict(clusters),
        "core_seconds": clusters.core_seconds,
        "finish_seconds": clusters.finish_seconds,
        "peak_bytes": clusters.peak_bytes,
    }
    if bill:
        plain["bill"] = [dataclasses.asdict(line) for line in bill]
    return plain
