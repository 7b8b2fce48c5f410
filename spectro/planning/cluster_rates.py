"""Rates of the cluster stage: processor seconds and bytes per counted thing, with sources.

Seconds are of the processor, of all threads together. Every figure of the file says where it comes
from and whether that was a measurement; a plan names those that were not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from spectro.planning.rates import read_yaml

F = TypeVar("F", bound="Figure")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number and its source."""

    value: float
    """Above 0."""
    source: str
    """Result file and point, command, or why it is assumed."""
    measured: bool = False
    """Whether the source is a measurement of this very thing."""

    def __post_init__(self) -> None:
        value = self.value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and 0 < value < math.inf):
            raise ValueError(f"value must be a number > 0, found {value!r} (1e-7 is text: 1.0e-7)")
        if not isinstance(self.measured, bool):
            raise ValueError(f"measured must be true or false, found {self.measured!r}")
        if not self.source:
            raise ValueError("source is empty: say where the number comes from")


@dataclass(frozen=True, kw_only=True)
class WidthFigure(Figure):
    """A figure that was taken at one number of columns."""

    columns: int
    """At least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.columns, int) and self.columns >= 1):
            raise ValueError(f"columns must be at least 1, found {self.columns!r}")


WIDTHS = ("exact_pair", "approximate_row")
"""Rates that are known at several numbers of columns."""


@dataclass(frozen=True, kw_only=True)
class ClusterRates:
    """One machine."""

    machine: str
    """Its name."""
    date: str
    """When the figures were put together."""
    product_cell: Figure
    """Seconds per row and column: χ is read, and goes into moments or vectors."""
    covariance_cell: Figure
    """Seconds per row and column squared: covariances, which only `whiten` takes."""
    exact_pair: tuple[WidthFigure, ...]
    """Seconds per pair of rows, each looked at once, at one number of columns or more, rising."""
    approximate_row: tuple[WidthFigure, ...]
    """Seconds per row of a search, at one number of columns or more, rising."""
    serial_share: Figure
    """Of an approximate search's seconds, those that one core works while the others wait; < 1."""
    merged_entry: Figure
    """Seconds per place of a list from a pair of blocks: read, checked, merged."""
    graph_entry: Figure
    """Seconds per entry of the graph."""
    seed: Figure
    """Seconds per seed: push, sweep, choice."""
    round: Figure
    """Seconds per round beside its seeds, while all wait."""
    summed_row: Figure
    """Seconds per row of the sums and tables, beside reading and transforming it."""
    entries_per_neighbour: Figure
    """Entries of the graph per token and neighbour, from 1 (all mutual) to 2."""
    search_bytes: Figure
    """Held per row of an approximate search, beside the vectors."""
    table_bytes: Figure
    """Held per row while the tables are made."""

    def __post_init__(self) -> None:
        for name in WIDTHS:
            _check_rising(name, getattr(self, name))
        if self.serial_share.value >= 1:
            raise ValueError(f"serial_share must be below 1, found {self.serial_share.value}")
        if not 1 <= self.entries_per_neighbour.value <= 2:
            found = self.entries_per_neighbour.value
            raise ValueError(f"entries_per_neighbour must be from 1 to 2, found {found}")

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Names of the figures that are assumed."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        figures = [(name, f) for name, f in own.items() if isinstance(f, Figure)]
        figures += [(f"{name} at {f.columns}", f) for name in WIDTHS for f in own[name]]
        return tuple(name for name, figure in figures if not figure.measured)

    @property
    def measured(self) -> bool:
        """Whether all figures were measured."""
        return not self.unmeasured

    @property
    def provenance(self) -> str:
        """Where the numbers come from, on one line."""
        if self.measured:
            return f"measured on {self.machine}, {self.date}"
        return f"ASSUMED, NOT MEASURED ({self.machine}, {self.date}): {', '.join(self.unmeasured)}"

    def exact_seconds(self, num_columns: int) -> float:
        """Seconds per pair of rows; between widths as `approximate_seconds`."""
        return _at_width(self.exact_pair, num_columns)

    def approximate_seconds(self, num_columns: int) -> float:
        """Seconds per row: linear between two widths; outside, never less than a line would give.

        Below the least width its own value, above the greatest in proportion.
        """
        return _at_width(self.approximate_row, num_columns)


def _at_width(figures: tuple[WidthFigure, ...], num_columns: int) -> float:
    least, greatest = figures[0], figures[-1]
    if num_columns <= least.columns:
        return least.value
    for low, high in pairwise(figures):
        if num_columns <= high.columns:
            share = (num_columns - low.columns) / (high.columns - low.columns)
            return low.value + share * (high.value - low.value)
    return greatest.value * num_columns / greatest.columns


def _check_rising(name: str, figures: tuple[WidthFigure, ...]) -> None:
    if not figures:
        raise ValueError(f"{name} has no entry: give one number of columns at least")
    for low, high in pairwise(figures):
        if not (low.columns < high.columns and low.value <= high.value):
            raise ValueError(
                f"{name} must rise with columns, found {low.value} at {low.columns} "
                f"before {high.value} at {high.columns}"
            )


def load_cluster_rates(path: Path) -> ClusterRates:
    """Read a file such as `benchmarks/rates/clusters.yaml`.

    Raises ValueError, in one line, if it is not there or not of this form.
    """
    found = read_yaml(path)
    try:
        known = {field.name for field in dataclasses.fields(ClusterRates)}
        if known != found.keys():
            wrong = ", ".join(sorted(known ^ found.keys()))
            raise ValueError(f"expected the figures of ClusterRates, missing or unknown: {wrong}")
        plain = {name: found[name] for name in ("machine", "date")}
        own: dict[str, Any] = {name: str(text) for name, text in plain.items()}
        for name in known - plain.keys():
            entry = found[name]
            own[name] = (
                tuple(_figure(WidthFigure, name, width) for width in entry)
                if name in WIDTHS
                else _figure(Figure, name, entry)
            )
        return ClusterRates(**own)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of cluster rates: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _figure(kind: type[F], name: str, entry: Mapping[str, Any]) -> F:
    try:
        return kind(**entry)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
