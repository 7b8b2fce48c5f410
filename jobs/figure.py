"""`spectro figure <run> kind=matrix out=matrix.svg [theme=dark ...]`: a picture for a paper."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from spectro.formats.out_file import place_of
from spectro.storage.credentials import refuse_credentials
from spectro.views.figures.figures import FigureConfig, drawn, put_figure
from spectro.views.run_view import RunView


@dataclass(frozen=True, kw_only=True)
class FigureJob(FigureConfig):
    """Which run, what is drawn of it, and where the picture goes."""

    run: StoredRun
    """Run, a part of one, or a folder of clusters."""
    out: str | None = None
    """File or URI ending in .svg, .pdf or .png; one that is there is replaced. None: <kind>.svg."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from spectro.views.config import suffix_of

        refuse_credentials(self.out or "", "out")
        suffix_of(self.file)

    @property
    def file(self) -> str:
        """Where the picture goes."""
        return f"{self.kind.value}.svg" if self.out is None else self.out


def main() -> int:
    """Compose, draw; returns the exit status."""
    return launch("figure", "figure_job", FigureJob, _figure)


def _figure(job: FigureJob) -> None:
    place_of(job.file)  # refused before anything is drawn
    made, theme = drawn(RunView(job.run.uri), job)
    put_figure(made, job.file, theme)
    Console(soft_wrap=True).print(f"figure: {job.file}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
