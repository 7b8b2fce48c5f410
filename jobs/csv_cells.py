"""Text in CSV files that no spreadsheet takes for a formula.

Tokens and names can be anything, and a cell that begins with = + - @ or a tab is run as a formula
by the programs that open CSV files. Such a cell gets an apostrophe before it; numbers, and columns
of other types, are written as they are. JSON and Parquet files are exact.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

FORMULA = r"^[=+\-@\t\r]"
"""How a formula begins."""


def is_text(kind: pa.DataType) -> bool:
    """Whether cells of a type are text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def harmless(column: pa.Array) -> pa.Array:
    """A column of text, as strings, whose cells are no formulas; null stays null."""
    text = column.cast(pa.string())
    quoted = pc.binary_join_element_wise("'", text, "")
    return pc.if_else(pc.match_substring_regex(text, FORMULA), quoted, text)


def harmless_name(name: str) -> str:
    """The same of a column's name."""
    (cell,) = harmless(pa.array([name], pa.string())).to_pylist()
    return str(cell)
