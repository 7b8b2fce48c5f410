"""`spectro diagnose <run>`: how the chains of every component went, and what to change."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.launch import launch
from jobs.look import StoredRun
from spectro.analysis.chain_diagnosis import Diagnosis
from spectro.storage.credentials import refuse_credentials
from spectro.storage.out_file import put_file
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.diagnose import diagnose_run
from spectro.views.drawing.save import SUFFIXES, to_bytes
from spectro.views.drawing.theme import theme
from spectro.views.figures.config import Kind
from spectro.views.figures.kinds import chain_figure
from spectro.views.page.diagnostics_page import (
    HEADS,
    HELP,
    as_dict,
    cells,
    page,
    summary_of,
)
from spectro.views.run_view import RunView

LEAST_WIDTH = 170


class DiagnoseFormat(Enum):
    """How it is told."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """A list of objects, one for each component, with its traces."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig:
    """Which components, and how they are told."""

    components: tuple[str, ...] = ("*",)
    """Names or patterns; `full` are the unrestricted chains."""
    format: DiagnoseFormat = DiagnoseFormat.TABLE
    """`table` or `json`."""
    out: str | None = None
    """File: a page (.html), the traces (.svg, .pdf, .png) or everything (.json); replaces
    one that is there. None if null."""
    panels: int = 48
    """Components whose traces are drawn at most, the worst first; ≥ 1."""
    theme: str = "light"
    """Of a figure: `light` or `dark`; a page has both."""

    def __post_init__(self) -> None:
        if not self.components:
            raise ValueError('diagnose.components is empty: give names or patterns, such as "*"')
        if self.panels < 1:
            raise ValueError(f"diagnose.panels must be at least 1, found {self.panels}")
        refuse_credentials(self.out or "", "diagnose.out")
        endings = (".html", ".json", *SUFFIXES)
        if self.out is not None and not self.out.endswith(endings):
            raise ValueError(f"diagnose.out must end in {', '.join(endings)}, found {self.out}")
        try:
            theme(self.theme)
        except ValueError as error:
            raise ValueError(f"diagnose.{error}") from None


@dataclass(frozen=True, kw_only=True)
class DiagnoseJob:
    """Which run, which components."""

    run: StoredRun
    """A run, or its control."""
    diagnose: DiagnoseConfig = field(default_factory=DiagnoseConfig)
    """Which, and how they are told."""


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("diagnose", "diagnose_job", DiagnoseJob, _diagnose)


def _diagnose(job: DiagnoseJob) -> None:
    config, view = job.diagnose, RunView(job.run.uri)
    found = diagnose_run(view, config.components)
    if config.out is not None:
        put_file(config.out, _bytes(found, view.name, config))
    if config.format is DiagnoseFormat.JSON:
        print(_json(found))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    console.print(table_of(found, view.uri))
    if config.out is not None:
        console.print(f"diagnostics: {config.out}", highlight=False, markup=False)


def table_of(diagnoses: Sequence[Diagnosis], uri: str) -> Table:
    """A line per component, in their order."""
    table = Table(title=Text(f"Chains of {plain_string(uri)}"), title_justify="left")
    for name, number in HEADS:
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for diagnosis in diagnoses:
        texts = [Text(cell) for cell in cells(diagnosis)]
        texts[1].stylize("green" if diagnosis.verdict.is_good else "bold yellow")
        table.add_row(*texts)
    table.caption = f"{summary_of(diagnoses)}\n{HELP}"
    table.caption_justify = "left"
    return table


def _bytes(diagnoses: Sequence[Diagnosis], title: str, config: DiagnoseConfig) -> bytes:
    """What the file holds."""
    assert config.out is not None
    if config.out.endswith(".html"):
        return page(plain_string(title), diagnoses, config.panels).encode()
    if config.out.endswith(".json"):
        return _json(diagnoses).encode()
    chosen = theme(config.theme)
    figure = chain_figure(Kind.TRACES, diagnoses, chosen, config.panels)
    return to_bytes(figure, f".{config.out.rpartition('.')[2]}", chosen)


def _json(diagnoses: Sequence[Diagnosis]) -> str:
    return json.dumps([as_dict(each) for each in diagnoses], indent=1, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
