"""χ of two components, token by token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from spectro.analysis.scaling import UNITS, Scaling
from spectro.views.drawing.parts import head, new_figure, nothing, number, reliability_words
from spectro.views.drawing.theme import WIDE, Theme, themed

HELP = (
    "A dot is a token: its χ at one component against its χ at another (below zero: expression), "
    "its colour the subset; r is their correlation over all tokens, noise included."
)
_ORDER_KEY = 0x6F726465
"""Tokens are drawn in a random order, so that no subset hides the others."""
MOST_VECTORS = 20_000
"""More tokens than this are pixels also in SVG and PDF."""


@dataclass(frozen=True, kw_only=True)
class ScatterData:
    """n tokens drawn."""

    components: tuple[str, str]
    """Across, and upwards."""
    scaling: Scaling
    """Units of both."""
    x_n2: NDArray[np.floating]
    """χ of each token at both."""
    subset_n: NDArray[np.integer]
    """Its subset."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""
    reliability_2: NDArray[np.floating]
    """Of both columns, NaN where it is not known."""
    correlation: float
    """Over all tokens; NaN where one does not vary."""
    num_tokens: int
    """Tokens of the run, drawn or not."""


@themed
def figure(data: ScatterData, theme: Theme) -> Figure:
    """The tokens, lines at zero, a legend of subsets beside them."""
    made = new_figure(WIDE * 0.75, WIDE * 0.6 + 0.9)
    drawn = f"Drawn: {len(data.x_n2):,} of {data.num_tokens:,} tokens."
    title = f"{data.components[1]} against {data.components[0]}: r = {number(data.correlation)}"
    head(made, theme, title, f"{HELP} {drawn}")
    axes = made.add_subplot()
    if not np.isfinite(data.x_n2).all(axis=1).any():
        nothing(axes, theme, "no tokens")
        return made
    _tokens(axes, theme, data)
    unit = UNITS[data.scaling].partition(",")[0]
    labels = [
        f"χ at {name}, {unit}{reliability_words(reliability)}"
        for name, reliability in zip(data.components, data.reliability_2.tolist(), strict=True)
    ]
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    _legend(made, theme, data)
    return made


def _tokens(axes: Axes, theme: Theme, data: ScatterData) -> None:
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=theme.strong_line, linewidth=0.6, zorder=0.5)
    size = float(np.clip(15000 / len(data.x_n2), 1.2, 10.0))
    mixed = np.random.default_rng(_ORDER_KEY).permutation(len(data.x_n2))
    marker_n = np.array([theme.marker(subset) for subset in data.subset_n[mixed].tolist()])
    for marker in np.unique(marker_n).tolist():
        own = mixed[marker_n == marker]
        x, y = data.x_n2[own].T
        axes.scatter(
            x, y, s=size, color=[theme.colour(subset) for subset in data.subset_n[own].tolist()],
            marker=marker, alpha=0.6, linewidth=0, rasterized=len(data.x_n2) > MOST_VECTORS,
        )  # fmt: skip


def _legend(made: Figure, theme: Theme, data: ScatterData) -> None:
    handles = [
        Line2D([], [], linestyle="", marker=theme.marker(index), markersize=4, label=name,
               color=theme.colour(index))
        for index, name in enumerate(data.subset_names)
    ]  # fmt: skip
    made.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), handletextpad=0.2,
        columnspacing=1.2,
    )  # fmt: skip
