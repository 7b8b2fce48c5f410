"""`python -m jobs.plan [key=value ...]`: what a run will cost, before anything is spent.

Takes the settings of a run and needs no weights: a checkpoint's config.json, or the name of a
published model, is enough. With plan.bill=true, the bill of the finished run at run.uri beside.
With tokens=more, what it costs to measure more tokens of the run at run.uri. Then what clusters
cost: of the run's tokens, or of plan.cluster_tokens, on plan.nodes machines of plan.cores.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.launch import launch
from jobs.plan_tables import bill_table, clusters_table, plan_table
from jobs.stored import asked, stored_config
from spectro.cluster_stage.units import rows_of_shards
from spectro.config import PipelineConfig, with_absolute_paths
from spectro.models.load import resolve_device
from spectro.models.size import ModelSize
from spectro.planning.bill import BillLine, make_bill
from spectro.planning.cluster_plan import ClusterPlan, Machines, plan_clusters
from spectro.planning.cluster_rates import load_cluster_rates
from spectro.planning.cluster_work import ClusterWork, layout_of, num_clusterings
from spectro.planning.device_costs import PRODUCT_BYTES, Device
from spectro.planning.measure_rates import measure_rates
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan import Plan, make_plan
from spectro.planning.plan_addition import plan_addition, shard_sizes_after
from spectro.planning.plan_notes import damage_notes
from spectro.planning.rates import Rates, load_rates, to_yaml
from spectro.planning.run_work import measurement_of
from spectro.planning.schedules import Assumptions
from spectro.predict.config import PredictConfig
from spectro.storage.out_file import place_of, put_file
from spectro.storage.places import local_path
from spectro.storage.store import Store
from spectro.upsampling.plan import plan_upsampled, upsample_bill, with_upsampling
from spectro.work.threads import num_cores_here

RATES = Path(__file__).parent.parent / "benchmarks" / "rates"
MEASURE = "measure"
LEAST_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class PlanConfig(Assumptions):
    """What a plan assumes, and on what."""

    rates: str = MEASURE
    """`measure` this device in some seconds, or a file of rates: a path, or a name in
    `benchmarks/rates/`."""
    num_devices: int = 1
    """Devices that share the work; ≥ 1."""
    precision: str | None = None
    """Type of the products, such as `bfloat16`; None: that of `model.dtype`."""
    out: str | None = None
    """File for the plan as JSON."""
    rates_out: str | None = None
    """File for the rates that were measured."""
    bill: bool = False
    """Show what the finished run at `run.uri` did, beside its plan."""
    upsample_tokens: int | None = None
    """Tokens whose χ is predicted from the run's, the measured ones included; None: nothing is."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """How χ is then learnt."""
    cluster_tokens: int | None = None
    """Tokens that are clustered; None: the run's."""
    cluster_columns: int | None = None
    """Columns of χ that are clustered; None: the run's components."""
    nodes: int = 1
    """Machines that share the clustering; ≥ 1."""
    cores: int | None = None
    """Cores of each; None: as many as this machine has."""
    cluster_rates: str = "clusters"
    """File of the cluster stage's rates: a path, or a name in `benchmarks/rates/`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "num_devices",
            "upsample_tokens",
            "cluster_tokens",
            "cluster_columns",
            "nodes",
            "cores",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"plan.{name} must be at least 1, found {value}")
        if self.precision is not None and self.precision not in PRODUCT_BYTES:
            known = ", ".join(PRODUCT_BYTES)
            raise ValueError(f"plan.precision must be one of {known}, found {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class PlanJob(PipelineConfig):
    """A run, and how it is planned."""

    plan: PlanConfig = field(default_factory=PlanConfig)
    """What is assumed, and on what devices."""


def main() -> int:
    """Compose, plan; returns the exit status."""
    return launch("plan", "plan_job", PlanJob, _plan)


def _plan(job: PlanJob) -> None:
    config = with_absolute_paths(stored_config(job.run.uri) if job.plan.bill else asked(job))
    for out in (job.plan.out, job.plan.rates_out):
        if out is not None:
            place_of(out)  # before anything is measured
    size = size_of_checkpoint(config.model)
    precision = job.plan.precision or _precision(config)
    rates = _rates(job, config, precision)
    device = Device(rates=rates, precision=precision, num_devices=job.plan.num_devices)
    plan = _planned(job.plan, config, size, device)
    bill_of = make_bill if config.upsample is None else upsample_bill
    bill = bill_of(plan, config) if job.plan.bill else ()
    clusters = _clusters(job.plan, config, size)
    store = Store(config.run.uri)
    begun = store.is_local or job.plan.bill or config.more is not None
    warnings = damage_notes(store, config, size) if begun else []
    _tell(plan, bill, clusters, warnings)
    if job.plan.rates_out is not None:
        put_file(job.plan.rates_out, to_yaml(rates).encode())
    if job.plan.out is not None:
        text = json.dumps(as_dict(plan, bill, clusters), indent=1) + "\n"
        put_file(job.plan.out, text.encode())


def _planned(
    asked_for: PlanConfig, config: PipelineConfig, size: ModelSize, device: Device
) -> Plan:
    if config.upsample is not None:
        return plan_upsampled(config, size, device)
    if config.more is not None:
        return plan_addition(config, size, device)
    plan = make_plan(config, size, device, asked_for)
    if asked_for.upsample_tokens is None:
        return plan
    return with_upsampling(plan, config, device, asked_for.predict, asked_for.upsample_tokens)


def _precision(config: PipelineConfig) -> str:
    is_float64 = config.model.dtype == "float64"
    return config.model.dtype if is_float64 else config.model.precision.value


def _rates(job: PlanJob, config: PipelineConfig, precision: str) -> Rates:
    if job.plan.rates == MEASURE:
        size = size_of_checkpoint(config.model)
        device = resolve_device(config.model.device)
        return measure_rates(size, config.tokens.context, precision, device)
    return load_rates(file_of_rates(job.plan.rates))


def file_of_rates(name: str) -> Path:
    shipped = RATES / f"{name}.yaml"
    return shipped if shipped.is_file() else Path(local_path(name, "plan.rates"))


def _clusters(asked_for: PlanConfig, config: PipelineConfig, size: ModelSize) -> ClusterPlan:
    """Clusters of all tokens that the run will then have, or of as many as are asked for."""
    m = measurement_of(config, size)
    sizes = m.shard_sizes if config.more is None else shard_sizes_after(config)
    work = ClusterWork(
        config=config.cluster,
        layout=layout_of(config, rows_of_shards(sizes, m.context), asked_for.cluster_tokens),
        num_columns=asked_for.cluster_columns or m.num_columns,
    )
    machines = Machines(
        rates=load_cluster_rates(file_of_rates(asked_for.cluster_rates)),
        num_nodes=asked_for.nodes,
        num_cores=asked_for.cores or num_cores_here(),
    )
    return plan_clusters(work, machines, num_clusterings(config))


def as_dict(plan: Plan, bill: tuple[BillLine, ...], clusters: ClusterPlan) -> dict[str, Any]:
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


def _tell(
    plan: Plan, bill: tuple[BillLine, ...], clusters: ClusterPlan, warnings: list[str]
) -> None:
    console = Console(soft_wrap=True)
    console.width = max(console.width, LEAST_WIDTH)  # a table that is cut says nothing
    console.print(plan_table(plan))
    if bill:
        console.print(bill_table(bill))
    console.print(clusters_table(clusters))
    for note in (*warnings, *plan.notes, *clusters.notes):
        loud = note.startswith("rates") and "NOT MEASURED" in note
        console.print(f"- {note}", style="bold red" if loud else None, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
