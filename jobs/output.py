"""Output of commands: tables and lines for people, JSON for programs (rows of files: rows.py)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MIN_WIDTH = 130
"""Columns of a table that goes to no terminal; some tables ask for more."""
NOT_KNOWN = "–"


def table(
    title: str | Text,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    left: Sequence[str] = (),
    caption: str = "",
    total: Sequence[str | Text] = (),
    simple: bool = False,
) -> Table:
    """A table for people; texts of `rows` are printed as they are, without markup.

    Args:
        title: above it.
        columns: heads; numbers are on the right.
        rows: a cell for each column.
        left: columns of text, which are folded where they are wide.
        caption: below it.
        total: a last row, apart from the others.
        simple: without lines between columns, whose cells stay on one line.
    """
    made = Table(
        title=Text(title) if isinstance(title, str) else title,
        title_justify="left",
        caption=caption or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD if simple else box.HEAVY_HEAD,
    )
    for name in columns:
        is_text = name in left
        made.add_column(
            Text(name), justify="left" if is_text else "right", no_wrap=simple, overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    if total:
        made.add_section()
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in total))
    return made


def show(*tables: Table, min_width: int = MIN_WIDTH) -> None:
    """Print tables; wide enough to be read where the output is no terminal."""
    console = wide_console(min_width)
    for each in tables:
        console.print(each)


def wide_console(min_width: int = MIN_WIDTH) -> Console:
    """A console for tables: where the output is no terminal, of at least this width."""
    console = Console()
    return console if console.is_terminal else Console(width=max(min_width, console.width))


def say(*lines: str) -> None:
    """Print lines as they are; a terminal wraps them."""
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, highlight=False, markup=False)


def print_json(value: Any, indent: int | None = 1) -> None:
    """Print a value as JSON."""
    print(json_text(value, indent), flush=True)


def json_text(value: Any, indent: int | None = 1) -> str:
    """A value as JSON; see `plain`."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, enums, arrays and the like as JSON has them; None for what is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def number(value: float | None, form: str = ".2f") -> str:
    """A number, or a dash where it is not known (None, NaN)."""
    return NOT_KNOWN if value is None or math.isnan(value) else format(value, form)
