"""`spectro matrix <run> [rows=clusters] [out=matrix.csv]`: the response matrix as numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.matrix_tables import FOR_FILES, as_dict, put_table, table_of
from spectro.analysis.scaling import Scaling
from spectro.storage.credentials import refuse_credentials
from spectro.views.config import MAX_ROWS, MatrixRows
from spectro.views.matrix import matrix
from spectro.views.run_view import RunView

LEAST_WIDTH = 160


class MatrixFormat(Enum):
    """How it is told."""

    TABLE = "table"
    """For people: a line for each component, a column for each row of the matrix."""
    JSON = "json"
    """One object: names, counts, means, standard errors and intervals."""


@dataclass(frozen=True, kw_only=True)
class MatrixJob:
    """Which run, which rows, and how they are told."""

    run: StoredRun
    """Run, a part of one, or a folder of clusters."""
    rows: MatrixRows = MatrixRows.SUBSETS
    """Sets of tokens: `subsets`, `clusters` or `patterns`."""
    scaling: Scaling = Scaling.STANDARDISED
    """Units: `raw` (nats²), `standardised`, or `centred` (less the mean of each row)."""
    max_rows: int = MAX_ROWS
    """Clusters that are rows, largest first."""
    format: MatrixFormat = MatrixFormat.TABLE
    """`table` or `json`."""
    out: str | None = None
    """File for a line per row and component: .parquet or .csv; a file that is there is replaced."""

    def __post_init__(self) -> None:
        refuse_credentials(self.out or "", "out")
        if self.max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, found {self.max_rows}")
        if self.out is not None and not self.out.endswith(FOR_FILES):
            raise ValueError(f"out must end in {' or '.join(FOR_FILES)}, found {self.out}")


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("matrix", "matrix_job", MatrixJob, _matrix)


def _matrix(job: MatrixJob) -> None:
    found = matrix(RunView(job.run.uri), job.rows, scaling=job.scaling, max_rows=job.max_rows)
    if job.out is not None:
        put_table(found, job.out)
    if job.format is MatrixFormat.JSON:
        print(json.dumps(as_dict(found), indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    console.print(table_of(found, job.run.uri))
    if job.out is not None:
        console.print(f"matrix: {job.out}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
