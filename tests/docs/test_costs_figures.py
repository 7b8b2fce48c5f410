"""GPU-hours that README and docs/costs.md give are those that the plan prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from jobs.hydra_run import register
from jobs.schema import validated
from spectro.config import PipelineConfig
from spectro.planning.job_estimate import estimate_job

ROOT = Path(__file__).parent.parent.parent


def planned_hours(experiment: str, *overrides: str) -> float:
    register("pipeline", PipelineConfig)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        raw = compose("pipeline", [f"experiment={experiment}", *overrides])
    return estimate_job(validated(PipelineConfig, raw), "h200-assumed", 1).gpu_hours


def hours_in_table(words: str) -> float:
    """Last cell of the row of docs/costs.md that has these words."""
    text = (ROOT / "docs" / "costs.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("|") and words in line]
    return float(row.rstrip("| ").rpartition("|")[2])


@pytest.mark.parametrize("experiment", ["pythia_1_4b", "pythia_1_4b_fast"])
def test_the_table_has_the_hours_of_the_plan(experiment: str) -> None:
    assert round(planned_hours(experiment)) == hours_in_table(f"`{experiment}`")


def test_readme_has_the_hours_of_the_table() -> None:
    found = re.search(
        r"`pythia_1_4b_fast` is planned at ([\d,]+)", (ROOT / "README.md").read_text()
    )
    assert found is not None
    assert float(found[1].replace(",", "")) == hours_in_table("`pythia_1_4b_fast`")
