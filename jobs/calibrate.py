"""`spectro calibrate calibrate.budget_minutes=... [out=<folder>]`: tokens or draws, by a pilot."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from jobs.calibrate_chains import calibrate_chains
from jobs.calibrate_tables import (
    as_dict,
    cells_csv,
    picture,
    settings_table,
    splits_table,
    verdict,
)
from jobs.experiment_file import experiment_text
from jobs.launch import launch
from jobs.plan import file_of_rates
from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats.out_file import place_of, put_file
from spectro.planning.calibration.config import CalibrateConfig
from spectro.planning.calibration.run import Calibration, calibrate
from spectro.planning.rates import load_rates
from spectro.storage.locations import resolve_location
from spectro.views.drawing.calibration import figure
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import theme

LEAST_WIDTH = 170
NAME = "calibrated"
"""Of the experiment."""
EXPERIMENT = f"experiment/{NAME}.yaml"


@dataclass(frozen=True, kw_only=True)
class CalibrateJob(PipelineConfig):
    """A run, the budget for it, and where the result is put."""

    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    """What is asked for."""
    out: str = "runs/calibration"
    """Folder for table, picture and experiment; files that are there are replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve_location(self.out, "out")


def main() -> int:
    """Compose, measure; returns the exit status."""
    return launch("calibrate", "calibrate_job", CalibrateJob, _calibrate)


def _calibrate(job: CalibrateJob) -> None:
    settings, folder = job.calibrate, resolve_location(job.out, "out")
    assert settings.budget_seconds > 0  # raises before anything is measured
    for name in (EXPERIMENT, "calibration.json", "calibration.svg", "cells.csv", "chains.json"):
        place_of(f"{folder}/{name}")  # before anything is measured
    config = PipelineConfig(
        **{name: getattr(job, name) for name in PipelineConfig.__dataclass_fields__}
    )
    config = with_absolute_paths(config)
    hours = settings.budget_gpu_hours
    rates = None if hours is None else load_rates(file_of_rates(settings.rates))
    console = Console(soft_wrap=True)
    console.width = max(console.width, LEAST_WIDTH)
    if settings.step_sizes:
        proposed, data, lines = calibrate_chains(config, settings, rates, console)
        put_file(f"{folder}/chains.json", data)
    else:
        found = calibrate(config, settings, rates, lambda what: console.print(f"measuring: {what}"))
        proposed, lines = found.config, verdict(found)
        _put(found, folder)
        console.print(settings_table(found))
        console.print(splits_table(found))
    put_file(f"{folder}/{EXPERIMENT}", _experiment(proposed, lines))
    for line in lines:
        console.print(line, highlight=False, markup=False)
    command = f"spectro pipeline --config-dir {job.out} experiment={NAME} run.uri=<folder>"
    console.print(f"calibration: {job.out}; the run: {command}", highlight=False, markup=False)


def _experiment(config: PipelineConfig, lines: list[str]) -> bytes:
    chosen = dict(HydraConfig.get().runtime.choices)
    choices = {name: str(chosen[name]) for name in ("model", "tokens", "cluster")}
    return experiment_text(config, choices, "\n".join(lines)).encode()


def _put(found: Calibration, folder: str) -> None:
    """Tables and picture."""
    put_file(f"{folder}/cells.csv", cells_csv(found))
    plain = json.dumps(as_dict(found), indent=1, ensure_ascii=False, allow_nan=False)
    put_file(f"{folder}/calibration.json", plain.encode())
    light = theme("light")
    put_file(f"{folder}/calibration.svg", to_bytes(figure(picture(found), light), ".svg", light))


if __name__ == "__main__":
    sys.exit(main())
