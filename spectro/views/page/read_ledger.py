"""The records of a run as plain JSON: versions, seeds, draws, work by stage, worker hours.

What the records lack is said, never made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.config import PipelineConfig
from spectro.formats.sessions import SESSIONS, Heartbeat, read_heartbeats
from spectro.planning.bill import RecordedWork, recorded_work
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.storage.store import Store
from spectro.views.run_view import RunView

MEASURING = ("pilot", "chains", "tiles", "assembly")
"""Stages of a measurement: sessions that did none of them measured nothing."""
Ledger = Mapping[str, Any]
NOT_THERE = (ValueError, FileNotFoundError, KeyError)
"""What reading records raises where they are gone, damaged, or of another version."""


def read_ledger(view: RunView, config: PipelineConfig) -> Ledger:
    """`facts` (label, value), `stages` (see `_stages`) and `missing` (sentences) of a measured run.

    Args:
        view: of the run, its control aside.
        config: its configuration.
    """
    missing: list[str] = []
    facts = [*_settings(view, config), *_draws(view)]
    work: RecordedWork | None = None
    try:
        work = recorded_work(config, size_of_checkpoint(config.model))
        facts.append(("Forward tokens", f"{work.num_forward_tokens:,}, scored in all draws"))
    except NOT_THERE as error:
        missing.append(f"Work is not known stage by stage: {_line(error)}.")
    try:
        facts += worker_hours(view.root)
    except NOT_THERE as error:
        missing.append(f"Hours of workers are not known: {_line(error)}.")
    return {"facts": facts, "stages": [] if work is None else _stages(work), "missing": missing}


def _settings(view: RunView, config: PipelineConfig) -> list[tuple[str, str]]:
    file = view.file
    seeds = {
        "run": config.seed,
        "tokens": config.tokens.seed,
        "clusters": view.clusters.provenance.get("config", {}).get("seed"),
        "page": config.report.seed,
    }
    known = {
        "Seeds": ", ".join(f"{name} {seed}" for name, seed in seeds.items() if seed is not None),
        "Versions": ", ".join(f"{name} {version}" for name, version in file.versions.items()),
        "Commit": file.git_commit or "not of a checkout",
        "Fingerprint": file.fingerprint,
        "Weights": str(file.facts.get("weights_sha256", "")),
        "Measured on": str(file.facts.get("device", "")),
    }
    return [(name, value) for name, value in known.items() if value]


def _draws(view: RunView) -> list[tuple[str, str]]:
    """Draws of all columns together; those of the unrestricted chains are in no summary."""
    summary: Mapping[str, Any] = view.summary
    if not {"num_draws", "effective_sample_size", "sampling"} <= set(summary):
        return [("Draws", "not recorded")]
    independent = sum(kind == "independent" for kind in summary["sampling"])
    effective = sum(value for value in summary["effective_sample_size"] if value is not None)
    return [
        ("Draws", f"{sum(summary['num_draws']):,} of all columns, worth {effective:,.0f} "
                  "independent ones"),
        ("Columns", f"{independent} by independent draws, "
                    f"{len(summary['sampling']) - independent} by chains"),
    ]  # fmt: skip


def worker_hours(root: Store) -> list[tuple[str, str]]:
    """Time of all workers, idle or not, of sessions that measured, up to their last sign of life.

    Raises ValueError where none left a sign.
    """
    heartbeats = [
        heartbeat
        for heartbeat in read_heartbeats(root, root.list(SESSIONS))
        if _has_measured(heartbeat)
    ]
    if not heartbeats:
        raise ValueError("no session of the measurement left a sign of life")
    on_gpu = sum(
        heartbeat.worker_seconds for heartbeat in heartbeats if heartbeat.device.startswith("cuda")
    )
    number = f"{len(heartbeats)} session{'s' if len(heartbeats) > 1 else ''}"
    return [
        (
            "Worker hours",
            f"{_hours_of(sum(heartbeat.worker_seconds for heartbeat in heartbeats))}, {number}",
        ),
        ("GPU hours", _hours_of(on_gpu) if on_gpu else "0, measured on CPUs"),
    ]


def _has_measured(heartbeat: Heartbeat) -> bool:
    return any(
        count.done for name, count in heartbeat.stages.items() if name.split(": ")[-1] in MEASURING
    )


def _stages(work: RecordedWork) -> list[list[str | int | float | None]]:
    """Part, stage, units, planned and done flop, seconds of all devices; null if not recorded."""
    return [
        [
            s.part,
            s.stage,
            s.done.num_units,
            s.planned.flops,
            s.done.flops,
            None if s.seconds is None else float(f"{s.seconds:.4g}"),
        ]
        for s in work.stages
    ]


def _hours_of(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _line(error: Exception) -> str:
    """One line; a bare key is not enough."""
    text = str(error).rstrip(".")
    return f"no {text} in the records" if isinstance(error, KeyError) else text
