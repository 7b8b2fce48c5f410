"""`spectro across <run> <run> ... token=she [out=she.svg]`: one token's clusters, run by run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum

from rich.console import Console

from jobs.across_tables import as_dict, links_table, run_table
from jobs.launch import launch
from spectro.analysis.token_clusters import Across
from spectro.storage.credentials import refuse_credentials
from spectro.views.across import across
from spectro.views.figures.figures import ThemeName, put_figure

LEAST_WIDTH = 130


class AcrossFormat(Enum):
    """How it is told."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """One object."""


@dataclass(frozen=True, kw_only=True)
class AcrossJob:
    """Which runs, which token, and how it is told."""

    runs: tuple[str, ...] = ()
    """Runs, parts of runs (`<run>/control`) or folders of clusters; one or more."""
    token: str = ""
    """Text of the token; white space around y is ignored unless · ⏎ ⇥ stand for it."""
    max_clusters: int = 6
    """Clusters of each run, most occurrences first."""
    num_contexts: int = 4
    """Random members of each cluster with that y."""
    seed: int = 0
    """Key of the random members."""
    format: AcrossFormat = AcrossFormat.TABLE
    """`table` or `json`."""
    out: str | None = None
    """Picture: .svg, .pdf or .png; a file that is there is replaced."""
    theme: ThemeName = ThemeName.LIGHT
    """Of the picture: `light` or `dark`."""

    def __post_init__(self) -> None:
        for place in (*self.runs, self.out or ""):
            refuse_credentials(place, "across")
        if not self.runs or not self.token:
            raise ValueError("across needs runs and a token: spectro across <run> <run> token=she")
        for name, least in (("max_clusters", 1), ("num_contexts", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if self.out is not None:
            from spectro.views.config import suffix_of

            suffix_of(self.out)


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("across", "across_job", AcrossJob, _across)


def _across(job: AcrossJob) -> None:
    found = across(
        job.runs,
        job.token,
        max_clusters=job.max_clusters,
        num_contexts=job.num_contexts,
        seed=job.seed,
    )
    if job.out is not None:
        _draw(found, job)
    if job.format is AcrossFormat.JSON:
        print(json.dumps(as_dict(found), indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    for run in found.runs:
        console.print(run_table(run))
    if len(found.runs) > 1:
        console.print(links_table(found))
    for note in (*found.notes, *([f"figure: {job.out}"] if job.out is not None else [])):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _draw(found: Across, job: AcrossJob) -> None:
    from spectro.views.drawing import across as picture
    from spectro.views.drawing.theme import theme

    assert job.out is not None
    chosen = theme(job.theme.value)
    put_figure(picture.figure(found, chosen), job.out, chosen)


if __name__ == "__main__":
    sys.exit(main())
