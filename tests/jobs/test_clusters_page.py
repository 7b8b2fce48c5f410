"""Every command line of docs/clusters.md, as it stands, composes into a valid configuration."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from jobs.arguments import hydra_arguments
from jobs.assign import AssignJob
from jobs.cluster import ClusterJob
from jobs.compare import CompareJob
from jobs.launch import CONF, register, validated
from jobs.plan import PlanJob
from jobs.report import ReportJob
from spectro.config import PipelineConfig

ROOTS = {
    "cluster": ("cluster_job", ClusterJob),
    "assign": ("assign_job", AssignJob),
    "compare": ("compare_job", CompareJob),
    "report": ("report_job", ReportJob),
    "sample": ("pipeline", PipelineConfig),
    "plan": ("plan_job", PlanJob),
}
PAGE = Path(CONF).parent / "docs" / "clusters.md"
LINES = sorted(set(re.findall(r"^    spectro (.*?)(?: +#.*)?$", PAGE.read_text(), re.MULTILINE)))


def test_the_page_shows_every_job_of_clusters() -> None:
    assert {line.split()[0] for line in LINES} == set(ROOTS)


@pytest.mark.parametrize("line", LINES)
def test_line_composes(line: str) -> None:
    name, *arguments = shlex.split(re.sub(r"<[a-z ]+>", "runs/some", line))
    root, config = ROOTS[name]
    register(root, config)
    with initialize_config_dir(CONF, version_base="1.3"):
        composed = compose(root, hydra_arguments(name, config, arguments))
    assert isinstance(validated(config, composed), config)
