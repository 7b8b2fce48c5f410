"""Whether the chains of every component can be trusted: traces of ΔL, R̂, effective sample size,
autocorrelation, sampler bias against the exact posterior, reliability against the number of draws;
a verdict in a few words (rises and levels, drifts, spikes, chains disagree, too little signal,
independent draws, ...) and the setting to change.

A run, or its control (<run>/control), local or on S3, finished or not. Reads no rows and no draws.

  spectro diagnose runs/demo
  spectro diagnose runs/demo components=embed,"l0*" out=diagnostics.html    a page
  spectro diagnose runs/demo components=full out=traces.svg                 or .pdf, .png
  spectro diagnose runs/demo out=diagnostics.json                           with all traces
  spectro diagnose s3://bucket/run/control format=json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from spectro.formats.out_file import put_file
from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.config import SUFFIXES
from spectro.views.figures.config import ThemeName

from .command import Command
from .output import json_text, say, show, table
from .reading import Format, StoredRun

if TYPE_CHECKING:  # loads scipy
    from spectro.analysis.chain_diagnosis import Diagnosis

ENDINGS = (".html", ".json", *SUFFIXES)


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig:
    """Which components, and how they are printed."""

    components: tuple[str, ...] = ("*",)
    """Names or patterns; `full` are the unrestricted chains."""
    format: Format = Format.TABLE
    """Output format; JSON is a list of objects, one for each component, with its traces."""
    out: str | None = None
    """File: a page (.html), the traces (.svg, .pdf, .png) or everything (.json); replaces one that
    exists."""
    panels: int = 48
    """Components whose traces are drawn at most, the worst first; ≥ 1."""
    theme: ThemeName = ThemeName.LIGHT
    """Theme of a figure; a page has both."""

    def __post_init__(self) -> None:
        if not self.components:
            raise ValueError('diagnose.components is empty: give names or patterns, such as "*"')
        if self.panels < 1:
            raise ValueError(f"diagnose.panels must be at least 1, found {self.panels}")
        refuse_credentials(self.out or "", "diagnose.out")
        if self.out is not None and not self.out.endswith(ENDINGS):
            raise ValueError(f"diagnose.out must end in {', '.join(ENDINGS)}, found {self.out}")


@dataclass(frozen=True, kw_only=True)
class DiagnoseJob:
    """Settings of `spectro diagnose`."""

    run: StoredRun = field(default_factory=StoredRun)
    """A run, or its control."""
    diagnose: DiagnoseConfig = field(default_factory=DiagnoseConfig)
    """Which components."""


def _diagnose(job: DiagnoseJob) -> None:
    from spectro.views.diagnose import diagnose_run  # not for --help
    from spectro.views.run_view import RunView

    config, view = job.diagnose, RunView(job.run.uri)
    found = diagnose_run(view, config.components)
    if config.out is not None:
        put_file(config.out, _bytes(found, view.name, config, config.out))
    if config.format is Format.JSON:
        print(_json(found))
        return
    show(_table(found, view.uri), min_width=170)
    if config.out is not None:
        say(f"diagnostics: {config.out}")


COMMAND = Command(
    name="diagnose", config=DiagnoseJob, run=_diagnose, positional=("run.uri",),
    lists=("diagnose.components",),
    short={n: f"diagnose.{n}" for n in ("components", "format", "out", "panels", "theme")},
    usage="<run> [components=<pattern>,...] [out=<file>] [diagnose.key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _table(diagnoses: Sequence[Diagnosis], uri: str) -> Table:
    """A line per component, in their order."""
    from spectro.views.page.diagnostics_page import HEADS, HELP, cells, summary_of  # matplotlib

    rows = []
    for diagnosis in diagnoses:
        texts = [Text(cell) for cell in cells(diagnosis)]
        texts[1].stylize("green" if diagnosis.verdict.is_good else "bold yellow")
        rows.append(texts)
    left = [name for name, is_number in HEADS if not is_number]
    caption = f"{summary_of(diagnoses)}\n{HELP}"
    title = f"Chains of {plain_string(uri)}"
    return table(title, [name for name, _ in HEADS], rows, left=left, caption=caption)


def _bytes(diagnoses: Sequence[Diagnosis], title: str, config: DiagnoseConfig, out: str) -> bytes:
    """A page, everything as JSON, or a figure, by the file's ending."""
    from spectro.views.drawing.save import to_bytes  # matplotlib
    from spectro.views.drawing.theme import theme
    from spectro.views.figures.config import Kind
    from spectro.views.figures.kinds import chain_figure
    from spectro.views.page.diagnostics_page import page

    if out.endswith(".html"):
        return page(plain_string(title), diagnoses, config.panels).encode()
    if out.endswith(".json"):
        return _json(diagnoses).encode()
    chosen = theme(config.theme.value)
    figure = chain_figure(Kind.TRACES, diagnoses, chosen, config.panels)
    return to_bytes(figure, f".{out.rpartition('.')[2]}", chosen)


def _json(diagnoses: Sequence[Diagnosis]) -> str:
    from spectro.views.page.diagnostics_page import as_dict  # matplotlib

    return json_text([as_dict(each) for each in diagnoses])


if __name__ == "__main__":
    raise SystemExit(main())
