"""How χ is spread over the tokens of each set, component by component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.scaling import UNITS, Scaling
from spectro.views.drawing.parts import (
    counted_names,
    head,
    new_figure,
    nothing,
    reliability_words,
    require_room,
)
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "χ of the tokens of each set (with their number) at each component, less the mean of all "
    "tokens: a dot is the median, the thick line the middle half of the tokens, the thin one from "
    "5 to 95 % of them (below zero: expression)."
)
MOST_ROWS, MOST_COMPONENTS = 40, 6
"""Sets and components that a figure of one page has room for."""
ROW_INCHES = 0.17
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are drawn."""


@dataclass(frozen=True, kw_only=True)
class SpreadData:
    """R sets of tokens, C components; a set without tokens is NaN."""

    names: tuple[str, ...]
    """Of the sets, in the display alphabet."""
    components: tuple[str, ...]
    """Of the columns."""
    scaling: Scaling
    """Units."""
    reliability_C: NDArray[np.floating]
    """Of the columns, NaN where it is not known."""
    num_tokens_R: NDArray[np.integer]
    """Tokens of each set."""
    quantile_RC5: NDArray[np.floating]
    """At `LEVELS`."""


def require_rows(num_rows: int) -> None:
    """Raise ValueError for more rows than a page has room for: before they are read, too."""
    require_room(num_rows, MOST_ROWS, "sets of tokens", "ask for fewer (max_rows=)")


@themed
def figure(data: SpreadData, theme: Theme) -> Figure:
    """A panel for each component, a line for each set.

    Raises ValueError for more of either than a page has room for.
    """
    num_rows, num_panels = len(data.names), max(1, len(data.components))
    require_rows(num_rows)
    require_room(num_panels, MOST_COMPONENTS, "components", "ask for fewer (components=)")
    made = new_figure(WIDE, 1.35 + ROW_INCHES * max(4, num_rows))
    head(made, theme, "Distribution of χ over the tokens of each set", HELP)
    comparable = data.scaling is not Scaling.RAW
    panels = made.subplots(1, num_panels, squeeze=False, sharey=True, sharex=comparable)[0]
    if not (num_rows and data.components):
        nothing(panels[0], theme, "no set of tokens")
        return made
    for column, axes in enumerate(panels):
        words = reliability_words(float(data.reliability_C[column]))
        axes.set_title(data.components[column] + words)
        _lines(axes, theme, data.quantile_RC5[:, column])
        axes.set_ylim(num_rows - 0.4, -0.6)
    names = counted_names(data.names, data.num_tokens_R, 26)
    panels[0].set_yticks(range(num_rows), names, family=MONO, size=SMALL - 0.5)
    made.supxlabel(f"χ, {UNITS[data.scaling]}", size=SMALL, color=theme.soft)
    return made


def _lines(axes: Axes, theme: Theme, quantile_R5: NDArray[np.floating]) -> None:
    axes.axvline(0.0, color=theme.strong_line, linewidth=0.6, zorder=0.5)
    for row, (least, low, middle, high, most) in enumerate(quantile_R5.tolist()):
        if not np.isfinite(middle):
            continue
        axes.plot([least, most], [row, row], color=theme.soft, linewidth=0.6)
        axes.plot([low, high], [row, row], color=theme.soft, linewidth=2.4, alpha=0.55,
                  solid_capstyle="butt")  # fmt: skip
        axes.plot([middle], [row], "o", color=theme.ink, markersize=3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
