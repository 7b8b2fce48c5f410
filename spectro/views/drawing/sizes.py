"""How large, how closed and how stable the clusters are, those of the control beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.views.drawing.parts import head, new_figure, nothing, number, plain_logarithms
from spectro.views.drawing.theme import WIDE, Theme, themed

HELP = (
    "Number of tokens of each cluster, largest first; cumulative distributions over clusters of "
    "conductance (share of edges that leave the cluster) and of stability (the lesser of its best "
    "Jaccard indices with clusters of two halves of the chains)."
)
NO_CONTROL = "No nβ = 0 control is there to show beside them."
MOST_MARKS = 40
"""So few clusters are marked one by one."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The K clusters of one measurement."""

    size_K: NDArray[np.integer]
    """Members."""
    conductance_K: NDArray[np.floating]
    """In the whole graph."""
    stability_K: NDArray[np.floating]
    """NaN where it is not known."""
    num_tokens: int
    """Tokens that were clustered."""
    num_clustered: int
    """Those of them that are in any cluster."""


@dataclass(frozen=True, kw_only=True)
class SizesData:
    """A run's clusters, and its control's."""

    real: Spread
    """The run's."""
    control: Spread | None
    """Those at nβ = 0; None where there are none."""


@themed
def figure(data: SizesData, theme: Theme) -> Figure:
    """Sizes by rank, then the distributions of conductance and stability."""
    made = new_figure(WIDE, 3.3)
    head(
        made,
        theme,
        "Size, conductance and stability of the clusters",
        HELP if data.control is not None else f"{HELP} {NO_CONTROL}",
    )
    panels = made.subplots(1, 3, width_ratios=[1.35, 1, 1])
    lines = [("run", data.real, theme.real, "-")]
    if data.control is not None:
        lines.append(("nβ = 0", data.control, theme.control, "--"))
    _sizes(panels[0], theme, lines)
    handles, names = panels[0].get_legend_handles_labels()
    if handles:
        made.legend(handles, names, loc="outside lower left", ncols=2, handlelength=1.8)
    _shares(panels[1], theme, "Conductance", [(s.conductance_K, c, d) for _, s, c, d in lines])
    _shares(panels[2], theme, "Stability", [(s.stability_K, c, d) for _, s, c, d in lines])
    return made


def _sizes(axes: Axes, theme: Theme, lines: list[tuple[str, Spread, str, str]]) -> None:
    axes.set_title("Size by rank")
    if not any(spread.size_K.size for _, spread, _, _ in lines):
        nothing(axes, theme, "no clusters")
        return
    for name, spread, colour, dash in lines:
        size_K = np.sort(spread.size_K)[::-1]
        share = number(spread.num_clustered / max(1, spread.num_tokens), ".0%")
        label = f"{name}: {size_K.size:,} clusters with {share} of {spread.num_tokens:,} tokens"
        mark = "." if size_K.size <= MOST_MARKS else None
        rank_K = np.arange(1, size_K.size + 1)
        axes.plot(rank_K, size_K, dash, color=colour, marker=mark, markersize=3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_logarithms(axes)
    axes.set_xlabel("rank")
    axes.set_ylabel("tokens")


def _shares(
    axes: Axes, theme: Theme, title: str, lines: list[tuple[NDArray[np.floating], str, str]]
) -> None:
    """The share of the clusters with at most so much; those of which it is not known left out."""
    axes.set_title(title)
    known = [(np.sort(v[np.isfinite(v)]), colour, dash) for v, colour, dash in lines]
    if not any(values.size for values, _, _ in known):
        nothing(axes, theme, "not known")
        return
    for values, colour, dash in known:
        if values.size:
            share = np.arange(values.size + 1) / values.size
            axes.step([values[0], *values], share, dash, color=colour, where="post")
            middle = float(np.median(values))
            axes.plot([middle], [0.5], "o", color=colour, markersize=3.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"{title.lower()} (dot: median)")
    axes.set_ylabel("share of clusters")
