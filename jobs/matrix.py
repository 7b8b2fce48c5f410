"""The response matrix: mean χ of each set of tokens less that of all tokens, component by
component, with its 95 % interval (Student t over the sequences that have the set).

Of a subset that is the data-shift susceptibility of a mixture with more of it. Patterns are types
of tokens in context: word start, word part, induction, spacing, delimiter, formatting, numeric.
scaling: raw is nats², standardised divides each column by its deviation, centred takes the mean of
each row away besides. Reads storage alone (patterns, and the names of clusters, need the model's
tokenizer). The picture: spectro figure <run> kind=matrix, or kind=shift.

  spectro matrix runs/demo
  spectro matrix runs/demo rows=patterns scaling=centred
  spectro matrix s3://bucket/run rows=clusters max_rows=200 out=matrix.parquet
  spectro matrix runs/demo/control format=json
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from spectro.analysis.scaling import UNITS, Scaling
from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.terminal_text import plain as on_one_line
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.config import MAX_ROWS, MatrixRows

from .command import Command
from .output import NOT_KNOWN, print_json, say, show, table
from .reading import Format, StoredRun
from .rows import ENDINGS, write_table

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.analysis.response_matrix import ResponseMatrix


@dataclass(frozen=True, kw_only=True)
class MatrixJob:
    """Settings of `spectro matrix`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run, a part of one, or a folder of clusters."""
    rows: MatrixRows = MatrixRows.SUBSETS
    """Sets of tokens: `subsets`, `clusters` or `patterns`."""
    scaling: Scaling = Scaling.STANDARDISED
    """Units: `raw` (nats²), `standardised`, or `centred` (less the mean of each row)."""
    max_rows: int = MAX_ROWS
    """Clusters that are rows, largest first."""
    format: Format = Format.TABLE
    """Output format: a line for each component, or one object."""
    out: str | None = None
    """File for a line per row and component: .parquet or .csv; a file that exists is replaced."""

    def __post_init__(self) -> None:
        refuse_credentials(self.out or "", "out")
        if self.max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, found {self.max_rows}")
        if self.out is not None and not self.out.endswith(ENDINGS):
            raise ValueError(f"out must end in {' or '.join(ENDINGS)}, found {self.out}")


def _matrix(job: MatrixJob) -> None:
    from spectro.views.matrix import matrix  # not for --help
    from spectro.views.run_view import RunView

    found = matrix(RunView(job.run.uri), job.rows, scaling=job.scaling, max_rows=job.max_rows)
    if job.out is not None:
        write_table(_rows(found), job.out)
    if job.format is Format.JSON:
        print_json(_as_dict(found))
        return
    show(_table(found, job.run.uri), min_width=160)
    if job.out is not None:
        say(f"matrix: {job.out}")


COMMAND = Command(
    name="matrix", config=MatrixJob, run=_matrix, positional=("run.uri",),
    usage="<run> [rows=subsets|clusters|patterns] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _table(found: ResponseMatrix, place: str) -> Table:
    """A line for each component, a column for each set of tokens: mean ± half width of interval."""
    from spectro.analysis.component_grid import in_order  # as above

    form = "+.2e" if found.scale.kind is Scaling.RAW else "+.3f"
    names = [on_one_line(name) for name in found.names]
    counts = {"tokens": found.num_tokens_R, "sequences": found.num_sequences_R}
    rows = [[what, *(f"{n:,}" for n in counts_R.tolist())] for what, counts_R in counts.items()]
    for column in in_order(found.components):
        pairs = zip(
            found.mean_RH[:, column].tolist(), found.half_width_RH[:, column].tolist(), strict=True
        )
        rows.append([found.components[column], *(_cell(*pair, form) for pair in pairs)])
    caption = (
        f"Mean over the set less that over all tokens, {UNITS[found.scale.kind]} ± 95 % interval "
        "(Student t, over the sequences that have the set).\nBelow zero: the component expresses "
        "the set; above: it suppresses it."
    )
    title = f"Responses of {plain_string(place)}"
    return table(title, ["component", *names], rows, left=("component",), caption=caption)


def _as_dict(found: ResponseMatrix) -> dict[str, Any]:
    """Names, counts, means, standard errors and intervals; what has no value is None."""
    return {
        "scaling": found.scale.kind,
        "unit": UNITS[found.scale.kind],
        "components": found.components,
        "mean": found.scale.mean_H,
        "standard_deviation": found.scale.deviation_H,
        "rows": [
            {
                "name": on_one_line(name),
                "num_tokens": int(found.num_tokens_R[row]),
                "num_sequences": int(found.num_sequences_R[row]),
                "shift": found.mean_RH[row],
                "standard_error": found.error_RH[row],
                "degrees_of_freedom": int(found.degrees_R[row]),
                "half_width_95": width,
            }
            for row, (name, width) in enumerate(zip(found.names, found.half_width_RH, strict=True))
        ],
    }


def _rows(found: ResponseMatrix) -> pa.Table:
    """A line for each row and component.

    row · num_tokens · num_sequences · component · shift · standard_error, degrees_of_freedom and
    half_width_95, half the width of the 95 % interval by Student's t (null where they are not
    known) · scaling · standard_deviation of the component over all tokens (nats²).
    """
    num_rows, num_columns = found.mean_RH.shape
    names = [on_one_line(name) for name in found.names]
    return pa.table(
        {
            "row": pa.array(np.repeat(np.array(names, object), num_columns), pa.string()),
            "num_tokens": np.repeat(found.num_tokens_R, num_columns),
            "num_sequences": np.repeat(found.num_sequences_R, num_columns),
            "component": pa.array(list(found.components) * num_rows, pa.string()),
            "shift": _or_null(found.mean_RH),
            "standard_error": _or_null(found.error_RH),
            "degrees_of_freedom": np.repeat(found.degrees_R, num_columns),
            "half_width_95": _or_null(found.half_width_RH),
            "scaling": pa.array([found.scale.kind.value] * (num_rows * num_columns), pa.string()),
            "standard_deviation": np.tile(found.scale.deviation_H, num_rows),
        }
    )


def _cell(mean: float, width: float, form: str) -> str:
    if math.isnan(mean):
        return NOT_KNOWN
    return format(mean, form) + ("" if math.isnan(width) else f" ± {format(width, form[1:])}")


def _or_null(values_RH: Any) -> pa.Array:
    flat = values_RH.reshape(-1)
    return pa.array(flat, mask=~np.isfinite(flat))


if __name__ == "__main__":
    raise SystemExit(main())
