"""Data shift: for each set of tokens, its response at every component with its interval."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectro.analysis.response_matrix import ResponseMatrix
from spectro.analysis.scaling import UNITS
from spectro.views.drawing.parts import (
    MOST_BARS,
    bars,
    head,
    limits,
    new_figure,
    nothing,
    require_room,
    tiles,
)
from spectro.views.drawing.text import printed, shortened
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

HELP = (
    "Susceptibility of every component (MLPs fainter) to more of one set of tokens in the data: "
    "mean χ over the set less that over all tokens, with its 95 % interval (Student t, over the "
    "sequences that have tokens of the set; n: number of tokens; below zero, blue: expression; on "
    "tiles a dot where the interval excludes 0)."
)
MOST_ROWS = 24
"""Panels that a figure of one page has room for."""
PANELS_ACROSS = 2


def require_rows(num_rows: int) -> None:
    """Raise ValueError for more rows than a page has room for: before they are read, too."""
    require_room(
        num_rows,
        MOST_ROWS,
        "sets of tokens",
        "ask for fewer (max_rows=) or for the heat map (kind=matrix)",
    )


@themed
def figure(data: ResponseMatrix, theme: Theme) -> Figure:
    """A panel for each row, all on one scale.

    Raises ValueError for more rows than a page has room for.
    """
    num_rows = len(data.names)
    require_rows(num_rows)
    across = min(PANELS_ACROSS, max(1, num_rows))
    down = max(1, math.ceil(num_rows / across))
    made = new_figure(WIDE, 0.75 + 1.05 * down)
    head(made, theme, "Data shift: susceptibility to more of one set of tokens", HELP)
    panels = made.subplots(down, across, squeeze=False, sharey=len(data.components) <= MOST_BARS)
    for index, axes in enumerate(panels.flat):
        if index < num_rows:
            _panel(axes, theme, data, index)
        elif num_rows:
            axes.set_axis_off()
        else:
            nothing(axes, theme, "no set of tokens")
    if num_rows:
        unit = UNITS[data.scale.kind].replace(", ", ",\n")
        made.supylabel(f"χ, {unit}", size=SMALL, color=theme.soft)
    return made


def _panel(axes: Axes, theme: Theme, data: ResponseMatrix, row: int) -> None:
    name = shortened(printed(data.names[row]), 24)
    counts = f"n = {data.num_tokens_R[row]:,} in {data.num_sequences_R[row]:,} sequences"
    axes.set_title(f"{name}  ({counts})", size=SMALL + 0.5)
    if not np.isfinite(data.mean_RH[row]).any():
        nothing(axes, theme, "no token of this set")
        return
    width_H = data.half_width_RH[row]
    if len(data.components) <= MOST_BARS:
        bars(axes, theme, data.components, data.mean_RH[row], width_H)
    else:
        norm = limits(data.mean_RH)
        tiles(axes, theme, data.components, data.mean_RH[row], norm, width_H)
