"""How a response matrix is told: a table for people, plain values, rows for files."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from jobs.csv_cells import harmless
from jobs.shown import on_one_line
from spectro.analysis.component_grid import in_order
from spectro.analysis.response_matrix import ResponseMatrix
from spectro.analysis.scaling import UNITS, Scaling
from spectro.formats.out_file import put_file
from spectro.tokens.display.terminal_text import plain_string

FOR_FILES = (".parquet", ".csv")


def table_of(found: ResponseMatrix, place: str) -> Table:
    """A line for each component, a column for each set of tokens: mean ± half width of interval."""
    table = Table(title=Text(f"Responses of {plain_string(place)}"), title_justify="left")
    table.add_column("component")
    for name in found.names:
        table.add_column(Text(on_one_line(name)), justify="right", overflow="fold")
    table.add_row("tokens", *(f"{count:,}" for count in found.num_tokens_R.tolist()))
    table.add_row("sequences", *(f"{count:,}" for count in found.num_sequences_R.tolist()))
    table.add_section()
    width_RH = found.half_width_RH
    for column in in_order(found.components):
        cells = [
            _cell(mean, width, "+.2e" if found.scale.kind is Scaling.RAW else "+.3f")
            for mean, width in zip(
                found.mean_RH[:, column].tolist(), width_RH[:, column].tolist(), strict=True
            )
        ]
        table.add_row(Text(found.components[column]), *cells)
    table.caption = (
        f"Mean over the set less that over all tokens, {UNITS[found.scale.kind]} ± 95 % interval "
        "(Student t, over the sequences that have the set).\nBelow zero: the component expresses "
        "what the set has more of; above: it works against it."
    )
    table.caption_justify = "left"
    return table


def as_dict(found: ResponseMatrix) -> dict[str, Any]:
    """The same as plain values; what has no value is None."""
    return {
        "scaling": found.scale.kind.value,
        "unit": UNITS[found.scale.kind],
        "components": list(found.components),
        "mean": _plain(found.scale.mean_H),
        "standard_deviation": _plain(found.scale.deviation_H),
        "rows": [
            {
                "name": on_one_line(name),
                "num_tokens": int(found.num_tokens_R[row]),
                "num_sequences": int(found.num_sequences_R[row]),
                "shift": _plain(found.mean_RH[row]),
                "standard_error": _plain(found.error_RH[row]),
                "degrees_of_freedom": int(found.degrees_R[row]),
                "half_width_95": _plain(width),
            }
            for row, (name, width) in enumerate(zip(found.names, found.half_width_RH, strict=True))
        ],
    }


def put_table(found: ResponseMatrix, out: str) -> None:
    """Put a line for each row and component: Parquet or CSV, by its ending.

    row · num_tokens · num_sequences · component · shift · standard_error, degrees_of_freedom and
    half_width_95, half the width of the 95 % interval by Student's t (null where they are not
    known) · scaling · standard_deviation of the component over all tokens (nats²). A file that is
    there is replaced; errors as `replaced`.
    """
    num_rows, num_columns = found.mean_RH.shape
    names = [on_one_line(name) for name in found.names]
    table = pa.table(
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
    sink = io.BytesIO()
    if out.endswith(".csv"):
        rows = table["row"].combine_chunks()
        pyarrow.csv.write_csv(table.set_column(0, "row", harmless(rows)), sink)
    else:
        pq.write_table(table, sink, compression="zstd")
    put_file(out, sink.getvalue())


def _cell(mean: float, width: float, form: str) -> str:
    if math.isnan(mean):
        return "–"
    return format(mean, form) + ("" if math.isnan(width) else f" ± {format(width, form[1:])}")


def _or_null(values_RH: Any) -> pa.Array:
    flat = values_RH.reshape(-1)
    return pa.array(flat, mask=~np.isfinite(flat))


def _plain(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
