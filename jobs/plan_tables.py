"""Plans and bills as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from spectro.formats.gpu_time import GpuTime
from spectro.planning.bill import BillLine
from spectro.planning.cluster_plan import ClusterPlan
from spectro.planning.plan import Plan, StagePlan
from spectro.planning.unit_work import Work

STEPS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def plan_table(plan: Plan) -> Table:
    """Stages, and all of them together."""
    size, device = plan.size, plan.device
    warning = "" if device.rates.measured else "  ·  RATES ASSUMED, NOT MEASURED"
    title = (
        f"{plan.model}: {size.num_layers} layers, d {size.hidden_size}, "
        f"{si(size.num_weights)} weights  ·  {plan.num_columns} components, "
        f"{si(plan.num_tokens)} tokens  ·  {device.num_devices} × {device.rates.device}, "
        f"{device.precision}{warning}"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("part", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    for name in (
        "units", "scoring flops", "stepping flops", "device hours", "to finish", "device memory",
        "host memory", "read", "written",
    ):  # fmt: skip
        table.add_column(name, justify="right", min_width=7)
    for stage in plan.stages:
        table.add_row(stage.part, stage.stage, *_cells(stage))
    table.add_section()
    table.add_row(
        "all", "", *_work(plan.work), hours(plan.device_seconds), duration(plan.finish_seconds),
        size_of(max(s.device_bytes for s in plan.stages)),
        size_of(max(s.host_bytes for s in plan.stages)),
        size_of(plan.work.read_bytes), size_of(plan.work.written_bytes),
    )  # fmt: skip
    table.caption = f"draws in storage when all chains are done: {size_of(plan.stored_bytes)}"
    table.caption_justify = "left"
    return table


def bill_table(lines: Sequence[BillLine]) -> Table:
    """What was planned and what was done."""
    table = Table(title="The bill: planned and done", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("part", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    for name in ("flops planned", "done", "device-hours planned", "recorded", "written planned"):
        table.add_column(name, justify="right", min_width=7)
    table.add_column("done", justify="right")
    for line in lines:
        planned, recorded = (
            "–" if seconds is None else hours(seconds)
            for seconds in (line.planned_seconds, line.seconds)
        )
        table.add_row(
            line.part, line.stage, si(line.planned.flops), si(line.done.flops),
            planned, recorded,
            size_of(line.planned.written_bytes), size_of(line.done.written_bytes),
        )  # fmt: skip
    return table


def gpu_time_line(planned_seconds: float, spent: GpuTime) -> str:
    """GPU time over all invocations, beside the plan's."""
    share = spent.worked_seconds / spent.held_seconds
    cost = "" if spent.cost is None else f"; cost {spent.cost:,.2f}"
    return (
        f"GPU-hours: planned {hours(planned_seconds)}, held {hours(spent.held_seconds)}, worked "
        f"{hours(spent.worked_seconds)} ({share:.0%}), waited {hours(spent.waited_seconds)}{cost}"
    )


def clusters_table(plan: ClusterPlan) -> Table:
    """Stages of all clusterings, and all of them together."""
    machines, number = plan.machines, plan.num_clusterings
    times = "once" if number == 1 else f"{number} times (halves of the chains, parts)"
    warning = "" if machines.rates.measured else "  ·  RATES ASSUMED, NOT MEASURED"
    title = (
        f"clusters: {si(plan.num_tokens)} tokens, {plan.num_columns} columns, "
        f"k {plan.num_neighbours}, {times}  ·  {machines.num_nodes} × a machine of "
        f"{machines.num_cores} cores, no GPU{warning}"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    for name in ("units", "core hours", "to finish", "memory", "mapped"):
        table.add_column(name, justify="right", min_width=7)
    for stage in plan.stages:
        table.add_row(
            stage.stage, str(stage.num_units), hours(stage.core_seconds),
            duration(stage.finish_seconds), size_of(stage.held_bytes), size_of(stage.mapped_bytes),
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "all", "", hours(plan.core_seconds), duration(plan.finish_seconds),
        size_of(max(s.held_bytes for s in plan.stages)),
        size_of(max(s.mapped_bytes for s in plan.stages)),
    )  # fmt: skip
    table.caption = (
        f"on each machine: memory {size_of(plan.peak_bytes)} with what is mapped, "
        f"scratch {size_of(plan.scratch_bytes)}; neighbour lists in storage: "
        f"{size_of(plan.stored_bytes)}"
    )
    table.caption_justify = "left"
    return table


def si(value: float) -> str:
    """`1.23 E`, `45.0 M`, `32`."""
    step = 0
    while abs(value) >= 999.5 and step < len(STEPS) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.3g} {STEPS[step]}".strip()


def size_of(num_bytes: float) -> str:
    """`1.2 GB`; a dash for nothing."""
    if not num_bytes:
        return "–"
    amount = si(num_bytes)
    return f"{amount}B" if amount[-1].isalpha() else f"{amount} B"


def hours(seconds: float) -> str:
    """Device-hours, with the digits that count."""
    value = seconds / 3600
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """`34 s`, `12 min`, `5.1 h`, `3.2 days`."""
    for least, unit, name in ((172800, 86400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.2g} s"


def _cells(stage: StagePlan) -> list[str]:
    return [
        *_work(stage.work),
        hours(stage.device_seconds),
        duration(stage.finish_seconds),
        size_of(stage.device_bytes),
        size_of(stage.host_bytes),
        size_of(stage.work.read_bytes),
        size_of(stage.work.written_bytes),
    ]


def _work(work: Work) -> list[str]:
    stepping = si(work.stepping_flops) if work.stepping_flops else "–"
    scoring = si(work.scoring_flops) if work.scoring_flops else "–"
    return [str(work.num_units), scoring, stepping]
