"""Heat map of the response matrix: sets of tokens × components."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.component_grid import blocks, in_order, place
from spectro.analysis.response_matrix import ResponseMatrix
from spectro.analysis.scaling import UNITS
from spectro.views.drawing.parts import (
    SHORT_NAMES,
    counted_names,
    dots,
    head,
    limits,
    new_figure,
    nothing,
    require_room,
)
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "Mean χ of each set of tokens (rows, with their number of tokens) at each component (columns), "
    "less the mean of all tokens: below zero, blue, the component expresses the set; above zero, "
    "orange, it suppresses it; a dot where the cell's own 95 % interval excludes 0 (Student t, "
    "over the sequences that have the set)."
)
MOST_ROWS = 60
"""Rows that a figure of one page has room for."""
ROW_INCHES = 0.17
LEAST_ROWS = 5
"""Rows for which there is room at least: the colour bar's label needs it."""
LONGEST_FLAT = 4
"""Letters of the longest name above a column that is not turned."""
LEAST_NAMED = 0.03
"""Share of the columns that a layer must have to be named."""


def require_rows(num_rows: int) -> None:
    """Raise ValueError for more rows than a page has room for: before they are read, too."""
    require_room(
        num_rows, MOST_ROWS, "rows", "ask for fewer (max_rows=) or for numbers (spectro matrix)"
    )


@themed
def figure(data: ResponseMatrix, theme: Theme) -> Figure:
    """The matrix, columns by layer, largest magnitudes in full colour.

    Raises ValueError for more rows than a page has room for.
    """
    num_rows = len(data.names)
    require_rows(num_rows)
    made = new_figure(WIDE, 1.35 + ROW_INCHES * max(LEAST_ROWS, num_rows))
    title = f"Response matrix: {num_rows} sets of tokens × {len(data.components)} components"
    head(made, theme, title, HELP)
    axes = made.add_subplot()
    if not num_rows:
        nothing(axes, theme, "no set of tokens")
        return made
    heat(made, axes, theme, data)
    return made


def heat(made: Figure, axes: Axes, theme: Theme, data: ResponseMatrix) -> None:
    """The heat map alone, with its colour bar."""
    order = in_order(data.components)
    values_RH = data.mean_RH[:, order]
    norm = limits(values_RH)
    image = axes.imshow(
        values_RH, cmap=theme.diverging, norm=norm, aspect="auto", interpolation="none"
    )
    _dots(axes, theme, values_RH, data.half_width_RH[:, order])
    _names(axes, data)
    _layers(axes, theme, data.components)
    bar = made.colorbar(image, ax=axes, pad=0.01, fraction=0.025, aspect=18)
    bar.outline.set_visible(False)
    bar.set_label(f"χ, {UNITS[data.scale.kind]}".replace("s, ", "s,\n"), size=SMALL)


def _dots(
    axes: Axes, theme: Theme, values_RH: NDArray[np.floating], width_RH: NDArray[np.floating]
) -> None:
    """A dot where the interval of a response excludes 0."""
    with np.errstate(invalid="ignore"):
        row, column = np.nonzero(np.abs(values_RH) > width_RH)
    size = min(2.0, 300 / max(1, values_RH.shape[1]) / 4)
    dots(axes, theme, column, row, size)


def _names(axes: Axes, data: ResponseMatrix) -> None:
    names = counted_names(data.names, data.num_tokens_R, 36)
    axes.set_yticks(range(len(names)), names, family=MONO, size=SMALL - 0.5)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _layers(axes: Axes, theme: Theme, components: tuple[str, ...]) -> None:
    """Names of the layers below, a line between them, components above where there is room."""
    at, ticks, names = 0, [], []
    for block in blocks(components):
        if len(block.columns) >= LEAST_NAMED * len(components):
            ticks.append(at + (len(block.columns) - 1) / 2)
            names.append(SHORT_NAMES.get(block.name, block.name))
        at += len(block.columns)
        if at < len(components):
            axes.axvline(at - 0.5, color=theme.raised, linewidth=1.2)
    axes.set_xticks(ticks, names)
    if len(components) <= 48:
        above = axes.secondary_xaxis("top")
        order = in_order(components)
        short = [place(components[column])[1] for column in order]
        turned = 90 if max(map(len, short)) > LONGEST_FLAT else 0
        above.set_xticks(range(len(order)), short, size=SMALL - 1, rotation=turned)
        above.tick_params(length=0)
        above.spines["top"].set_visible(False)
