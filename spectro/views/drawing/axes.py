"""Principal axes: explained variance, loadings by layer and head, the tokens at both ends."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.principal_axes import AxesData, End, Principal
from spectro.analysis.scaling import UNITS
from spectro.views.drawing.parts import (
    MOST_BARS,
    bare,
    bars,
    context_line,
    head,
    limits,
    new_figure,
    number,
    tiles,
)
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "Principal components of χ over all tokens: their shares of the variance; the loading of each "
    "component of the model (MLPs fainter); the tokens with the largest and the smallest "
    "scores, y lit, with their pattern types."
)
MOST_SHARES = 12
"""Shares of the variance that are drawn."""


@themed
def figure(data: AxesData, theme: Theme) -> Figure:
    """A strip of shares, then for each axis its loadings and its tokens."""
    num_axes = len(data.principal.loading_AH)
    most = max([len(ends) for ends in (*data.high, *data.low)], default=0)
    made = new_figure(WIDE, 0.85 + 1.15 + num_axes * (0.62 + 0.30 * max(2, most)))
    head(made, theme, "Principal axes of the responses", HELP)
    heights = [1.15, *[0.62 + 0.30 * max(2, most)] * num_axes]
    grid = made.add_gridspec(1 + num_axes, 2, width_ratios=[1, 1.75], height_ratios=heights)
    _shares(made.add_subplot(grid[0, :]), theme, data.principal)
    for index in range(num_axes):
        axes = made.add_subplot(grid[1 + index, 0])
        share = data.principal.share_H[index]
        axes.set_title(f"Axis {index + 1}: {number(share, '.1%')} of the variance")
        _loadings(axes, theme, data.principal, index)
        _ends(made.add_subplot(grid[1 + index, 1]), theme, data.high[index], data.low[index])
    return made


def _shares(axes: Axes, theme: Theme, found: Principal) -> None:
    share = np.nan_to_num(found.share_H[:MOST_SHARES])
    axes.bar(range(1, len(share) + 1), share, 0.7, color=theme.real, linewidth=0)
    running = np.cumsum(share)
    axes.plot(range(1, len(share) + 1), running, color=theme.mute, marker=".", markersize=3)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])
    shown = [number(value, ".1%" if value >= 0.001 else ".2%") for value in share.tolist()]
    axes.set_xticks(
        range(1, len(share) + 1), [f"{axis}\n{value}" for axis, value in enumerate(shown, 1)]
    )
    axes.set_xlim(0.4, max(6, len(share)) + 0.6)
    axes.set_title(f"Explained variance of χ ({UNITS[found.scale.kind]}); line: cumulative")


def _loadings(axes: Axes, theme: Theme, found: Principal, index: int) -> None:
    values_H: NDArray[np.float64] = found.loading_AH[index]
    axes.set_ylabel("loading")
    if len(found.components) <= MOST_BARS:
        bars(axes, theme, found.components, values_H)
    else:
        tiles(axes, theme, found.components, values_H, limits(found.loading_AH))


def _ends(axes: Axes, theme: Theme, high: tuple[End, ...], low: tuple[End, ...]) -> None:
    """Largest scores from above, then the least, each with its types."""
    bare(axes)
    lines = [*high, None, *low] if high or low else []
    for row, end in enumerate(lines):
        if end is None:
            continue
        height = 1 - (row + 0.5) / len(lines)
        score = number(end.score, "+.1f")
        axes.text(
            0.075, height, score, ha="right", va="center", size=SMALL, family=MONO,
            color=theme.sign(end.score),
        )  # fmt: skip
        context_line(axes, theme, end.lit, (0.43, height), (25, 12, 8), SMALL - 0.5)
        axes.text(
            1.0, height, ", ".join(end.types) or "–", ha="right", va="center", size=SMALL - 1,
            color=theme.soft,
        )  # fmt: skip
