"""How to spend a budget, from a pilot of some minutes: gamma, nbeta, draws per token and number of
tokens, by how many neighbours disjoint sets of draws share; every nbeta from the same draws by
their weights.

Writes into <folder> a table (cells.csv, calibration.json), a picture (calibration.svg) and an
experiment that runs.

  spectro calibrate calibrate.budget_minutes=40
  spectro pipeline --config-dir runs/calibration experiment=calibrated run.uri=runs/first
  spectro calibrate model=pythia_1_4b tokens=pile calibrate.budget_gpu_hours=100
  spectro calibrate calibrate.budget_minutes=3 'calibrate.gammas=[300]' 'calibrate.nbetas=[0]'
  spectro calibrate sampler=psgld calibrate.budget_gpu_hours=100 'calibrate.step_sizes=[1e-5,3e-5]'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console

from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats.out_file import place_of, put_file
from spectro.planning.calibration.config import CalibrateConfig
from spectro.storage.locations import path_or_url

from .command import Command
from .experiment_file import experiment_text
from .output import json_text

if TYPE_CHECKING:  # loads torch
    from spectro.planning.calibration.run import Calibration

MIN_WIDTH = 170
NAME = "calibrated"
"""Of the experiment."""
EXPERIMENT = f"experiment/{NAME}.yaml"


@dataclass(frozen=True, kw_only=True)
class CalibrateJob(PipelineConfig):
    """Settings of `spectro calibrate`: those of a run, and of its calibration."""

    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    """The budget, and what is tried."""
    out: str = "runs/calibration"
    """Folder for table, picture and experiment; files that are there are replaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        path_or_url(self.out, "out")


def _calibrate(job: CalibrateJob) -> None:
    from spectro.planning.calibration.run import calibrate  # torch: not for --help
    from spectro.planning.rates import file_of_rates, load_rates

    from .calibrate_chains import calibrate_chains
    from .calibrate_tables import settings_table, splits_table, verdict

    settings, folder = job.calibrate, path_or_url(job.out, "out")
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
    console.width = max(console.width, MIN_WIDTH)
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


COMMAND = Command(
    name="calibrate", config=CalibrateJob, run=_calibrate, root="calibrate_job",
    usage="calibrate.budget_minutes=<minutes> [out=<folder>] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _experiment(config: PipelineConfig, lines: list[str]) -> bytes:
    from hydra.core.hydra_config import HydraConfig  # not for --help

    chosen = dict(HydraConfig.get().runtime.choices)
    choices = {name: str(chosen[name]) for name in ("model", "tokens", "cluster")}
    return experiment_text(config, choices, "\n".join(lines)).encode()


def _put(found: Calibration, folder: str) -> None:
    """Tables and picture."""
    from spectro.views.drawing.calibration import figure  # matplotlib
    from spectro.views.drawing.save import to_bytes
    from spectro.views.drawing.theme import theme

    from .calibrate_tables import as_dict, cells_csv, picture

    put_file(f"{folder}/cells.csv", cells_csv(found))
    put_file(f"{folder}/calibration.json", json_text(as_dict(found)).encode())
    light = theme("light")
    put_file(f"{folder}/calibration.svg", to_bytes(figure(picture(found), light), ".svg", light))


if __name__ == "__main__":
    raise SystemExit(main())
