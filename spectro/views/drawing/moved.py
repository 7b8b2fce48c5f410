"""What the posterior moves: χ of a run less that of its nβ = 0 control, with its own error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.tokens.display.context_text import TokenInContext
from spectro.views.drawing.parts import (
    bare,
    block_axis,
    context_line,
    head,
    new_figure,
    nothing,
    number,
)
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "χ at the run's nβ less χ at nβ = 0. Above: how much its tokens differ, as a share of the "
    "spread of χ (disc: what both halves of the chains agree on; dash: the error of the "
    "difference). Below: its reliability; then the tokens of the largest significant differences."
)
ROW = 0.26
"""Inches of a token's line."""


@dataclass(frozen=True, kw_only=True)
class MovedToken:
    """One token of a large difference."""

    lit: TokenInContext
    """The token in its context."""
    component: str
    """Whose χ it is."""
    difference: float
    """About the column's mean, in standard deviations of χ at nβ = 0."""
    error: float
    """In the same unit."""


@dataclass(frozen=True, kw_only=True)
class MovedPicture:
    """H components; NaN where a number is not known."""

    components: tuple[str, ...]
    """Names of the columns."""
    signal_H: NDArray[np.float64]
    """What the halves agree on, as a share of the deviation of χ at nβ = 0."""
    error_H: NDArray[np.float64]
    """Error of the difference, in the same unit."""
    reliability_H: NDArray[np.float64]
    """Of the difference."""
    num_significant_H: NDArray[np.int64]
    """Tokens whose difference is significant."""
    tokens: tuple[MovedToken, ...]
    """Of the largest significant differences, largest first."""
    title: str
    """Which two, and along which draws."""


@themed
def figure(data: MovedPicture, theme: Theme) -> Figure:
    """Shares and reliabilities of all components, then tokens."""
    lines = max(2, len(data.tokens))
    made = new_figure(WIDE, 3.9 + ROW * lines)
    head(made, theme, data.title, HELP)
    grid = made.add_gridspec(3, 1, height_ratios=[1.5, 1.1, 0.3 + ROW * lines])
    upper, middle, lower = (made.add_subplot(grid[row, 0]) for row in range(3))
    upper.set_title("Difference over tokens, share of the deviation of χ")
    middle.set_title("Reliability of the difference")
    _shares(upper, theme, data)
    _reliabilities(middle, theme, data)
    num = int(data.num_significant_H.sum())
    lower.set_title(f"Significant differences: {num:,} of all tokens and components")
    _tokens(lower, theme, data.tokens)
    return made


def _shares(axes: Axes, theme: Theme, data: MovedPicture) -> None:
    if not (np.isfinite(data.signal_H) & np.isfinite(data.error_H)).any():
        nothing(axes, theme, "not known")
        return
    place_H = block_axis(axes, data.components)
    axes.plot(place_H, data.error_H, "_", color=theme.control, markersize=6)
    axes.plot(place_H, data.signal_H, "o", color=theme.real, markersize=3.4, markeredgewidth=0)
    axes.set_ylim(bottom=-0.03 * max(1e-9, axes.get_ylim()[1]))


def _reliabilities(axes: Axes, theme: Theme, data: MovedPicture) -> None:
    if not np.isfinite(data.reliability_H).any():
        nothing(axes, theme, "not known")
        return
    place_H = block_axis(axes, data.components)
    axes.axhline(0, color=theme.control, linewidth=0.8, zorder=0.5)
    axes.plot(place_H, np.clip(data.reliability_H, -1, 1), "o", color=theme.real, markersize=3.4,
              markeredgewidth=0)  # fmt: skip
    axes.set_ylim(-0.3, 1.05)


def _tokens(axes: Axes, theme: Theme, tokens: tuple[MovedToken, ...]) -> None:
    bare(axes)
    if not tokens:
        nothing(axes, theme, "none: the errors are larger than what nβ does")
        return
    for row, token in enumerate(tokens):
        height = 1 - (row + 0.5) / len(tokens)
        axes.text(
            0.1, height, token.component, ha="right", va="center", size=SMALL, family=MONO,
            color=theme.soft,
        )  # fmt: skip
        value = f"{number(token.difference, '+.2f')} ± {number(token.error, '.2f')}"
        axes.text(
            0.27, height, value, ha="right", va="center", size=SMALL, family=MONO,
            color=theme.sign(token.difference),
        )  # fmt: skip
        context_line(axes, theme, token.lit, (0.62, height), (34, 16, 20), SMALL - 0.5)
