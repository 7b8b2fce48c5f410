"""Every command line of docs/clusters.md, as it stands, composes into a valid configuration."""

from __future__ import annotations

import re
import shlex

import pytest
from hydra import compose, initialize_config_dir

from jobs import assign, cluster, compare, plan, report, sample
from jobs.arguments import hydra_arguments, nested, plain_values, sorted_arguments
from jobs.help import CONF
from jobs.hydra_run import register
from jobs.schema import validated

COMMANDS = {
    module.COMMAND.name: module.COMMAND
    for module in (cluster, assign, compare, report, sample, plan)
}
PAGE = CONF.parent / "docs" / "clusters.md"
LINES = sorted(set(re.findall(r"^    spectro (.*?)(?: +#.*)?$", PAGE.read_text(), re.MULTILINE)))


def test_the_page_shows_every_job_of_clusters() -> None:
    assert {line.split()[0] for line in LINES} == set(COMMANDS)


@pytest.mark.parametrize("line", LINES)
def test_line_composes(line: str) -> None:
    name, *arguments = shlex.split(re.sub(r"<[a-z ]+>", "runs/some", line))
    command = COMMANDS[name]
    if command.root:
        register(command.root, command.config)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            raw: object = compose(command.root, hydra_arguments(command, arguments))
    else:
        raw = nested(plain_values(command, sorted_arguments(command, arguments)))
    assert isinstance(validated(command.config, raw), command.config)
