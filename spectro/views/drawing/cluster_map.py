"""The cluster map: tokens by their positions in χ-space, clusters as rings above them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from spectro.views.drawing.parts import head, new_figure, nothing
from spectro.views.drawing.text import printed, shortened, width_points
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "Tokens whose susceptibilities are alike lie near each other; a ring is a cluster, larger with "
    "its size, its colour the subset that most of it comes from, below it its name, or its most "
    "common tokens y. Outlines are regions of clusters with the names of their tokens."
)
MOST_NAMES = 60
"""Clusters that are named at most, largest first, where there is room."""
Box = tuple[float, float, float, float]
MOST_VECTORS = 20_000
"""More tokens than this are pixels also in SVG and PDF."""


@dataclass(frozen=True, kw_only=True)
class RegionOutline:
    """An outline with a name."""

    name: str
    """In the display alphabet."""
    outline_P2: NDArray[np.floating]
    """Its corners."""


@dataclass(frozen=True, kw_only=True)
class ClusterMapData:
    """n tokens drawn and K clusters."""

    xy_n2: NDArray[np.floating]
    """Positions in the unit square."""
    subset_n: NDArray[np.integer]
    """Subset of each token."""
    cluster_n: NDArray[np.integer]
    """Index of each token's cluster, −1 outside."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""
    centre_K2: NDArray[np.floating]
    """Place of each cluster; NaN where none of its tokens is drawn."""
    size_K: NDArray[np.integer]
    """Members of each cluster."""
    dominant_K: NDArray[np.integer]
    """Subset that most members come from."""
    names_K: tuple[str, ...]
    """Name of each cluster, in the display alphabet."""
    num_tokens: int
    """Tokens of the run, drawn or not."""
    regions: tuple[RegionOutline, ...] = ()
    """Outlined, where they are known."""


@themed
def figure(data: ClusterMapData, theme: Theme) -> Figure:
    """The map, with a legend of subsets below."""
    low_2, high_2 = _frame(data)
    shape = (high_2 - low_2)[1] / (high_2 - low_2)[0]
    made = new_figure(WIDE, WIDE * float(shape) + 1.15)
    drawn = f"{len(data.xy_n2):,} of {data.num_tokens:,} tokens, {len(data.size_K):,} clusters"
    head(made, theme, "Cluster map", f"{HELP} Drawn: {drawn}.")
    axes = made.add_subplot()
    if not len(data.xy_n2):
        nothing(axes, theme, "no tokens")
        return made
    axes.set_aspect("equal")
    axes.set_xlim(low_2[0], high_2[0])
    axes.set_ylim(low_2[1], high_2[1])
    axes.set_axis_off()
    taken = _regions(axes, theme, data)
    _tokens(axes, theme, data)
    _rings(axes, theme, data)
    _names(axes, theme, data, taken)
    _legend(made, theme, data)
    return made


def _frame(data: ClusterMapData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper corner of what is drawn, with a margin; at least half as high as wide."""
    if not len(data.xy_n2):
        return np.zeros(2), np.array([1.0, 0.5])
    points_m2 = np.concatenate([data.xy_n2, *(region.outline_P2 for region in data.regions)])
    low_2, high_2 = points_m2.min(axis=0) - 0.04, points_m2.max(axis=0) + 0.04
    lacking = (0.5 * (high_2 - low_2).max() - (high_2 - low_2)).clip(0.0) / 2
    return low_2 - lacking, high_2 + lacking


def _tokens(axes: Axes, theme: Theme, data: ClusterMapData) -> None:
    """Unclustered tokens grey and below, the others by subset."""
    outside = data.cluster_n < 0
    size = float(np.clip(9000 / len(data.xy_n2), 0.6, 8.0))
    kinds = [(outside, theme.dot, "o", 0.35)]
    for subset in range(len(data.subset_names)):
        own = ~outside & (data.subset_n == subset)
        kinds.append((own, theme.colour(subset), theme.marker(subset), 0.7))
    for own, colour, marker, alpha in kinds:
        x, y = data.xy_n2[own].T
        axes.scatter(
            x, y, s=size, color=colour, alpha=alpha, linewidth=0, marker=marker,
            rasterized=len(data.xy_n2) > MOST_VECTORS,
        )  # fmt: skip


def _radius(data: ClusterMapData) -> NDArray[np.float64]:
    """Of each ring, in the map's units."""
    largest = max(1, int(data.size_K.max(initial=1)))
    result: NDArray[np.float64] = 0.008 + 0.028 * np.sqrt(data.size_K / largest)
    return result


def _rings(axes: Axes, theme: Theme, data: ClusterMapData) -> None:
    """Largest below; one collection for each shape, however many clusters there are."""
    width_K = 2 * _radius(data) * _points_per_unit(axes)
    order = np.argsort(-data.size_K, kind="stable")
    order = order[np.isfinite(data.centre_K2[order]).all(axis=1)]
    marker_k = np.array([theme.marker(subset) for subset in data.dominant_K[order].tolist()])
    for marker in np.unique(marker_k).tolist():
        own = order[marker_k == marker]
        colours = [theme.colour(subset) for subset in data.dominant_K[own].tolist()]
        x, y = data.centre_K2[own].T
        axes.scatter(
            x, y, s=width_K[own] ** 2, marker=marker,
            facecolors=to_rgba_array(colours, 0.13), edgecolors=colours, linewidths=0.8,
            rasterized=len(order) > MOST_VECTORS,
        )  # fmt: skip


def _names(axes: Axes, theme: Theme, data: ClusterMapData, taken: list[Box]) -> None:
    """Names below the largest rings, where no other name is in the way."""
    per_unit = _points_per_unit(axes)
    size, radius_K = SMALL - 0.5, _radius(data)
    for index in np.argsort(-data.size_K, kind="stable")[:MOST_NAMES].tolist():
        x, y = data.centre_K2[index].tolist()
        if not np.isfinite([x, y]).all():
            continue
        name = shortened(printed(data.names_K[index]), 26)
        half = (width_points(name, size) / 2 + 2) / per_unit
        below = y - radius_K[index] - 0.95 * size / per_unit
        x = min(max(x, axes.get_xlim()[0] + half), axes.get_xlim()[1] - half)
        box = (x - half, below - 0.7 * size / per_unit, x + half, below + 0.7 * size / per_unit)
        if any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        axes.text(
            x, below, name, ha="center", va="center", family=MONO, size=size, color=theme.ink,
            bbox={"facecolor": theme.raised, "edgecolor": "none", "alpha": 0.72, "pad": 0.4},
        )  # fmt: skip


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1]


def _regions(axes: Axes, theme: Theme, data: ClusterMapData) -> list[Box]:
    """Outlines, their names above them where no other's is; the room that names take."""
    per_unit = _points_per_unit(axes)
    taken: list[Box] = []
    for region in data.regions:
        axes.fill(
            *region.outline_P2.T, facecolor=(*to_rgb(theme.sunk), 0.6), edgecolor=theme.strong_line,
            zorder=0,
        )  # fmt: skip
        name = shortened(printed(region.name), 30)
        half = (width_points(name, SMALL) / 2 + 2) / per_unit
        low_2, high_2 = region.outline_P2.min(axis=0), region.outline_P2.max(axis=0)
        low, high = axes.get_xlim()
        x = min(max(float(low_2[0] + high_2[0]) / 2, low + half), high - half)
        y, height = float(high_2[1]), 1.4 * SMALL / per_unit
        box = (x - half, y, x + half, y + height)
        if not name or any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        axes.text(
            x, y + height / 2, name, ha="center", va="center", family=MONO, size=SMALL,
            color=theme.soft, zorder=4,
            bbox={"facecolor": theme.sunk, "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    return taken


def _legend(made: Figure, theme: Theme, data: ClusterMapData) -> None:
    handles = [
        Line2D([], [], linestyle="", marker=theme.marker(index), markersize=4, label=name,
               color=theme.colour(index))
        for index, name in enumerate(data.subset_names)
    ]  # fmt: skip
    grey = Line2D([], [], linestyle="", marker="o", markersize=3, color=theme.dot, label="none")
    made.legend(
        handles=[*handles, grey], loc="outside lower center", ncols=min(7, len(handles) + 1),
        handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip


def _points_per_unit(axes: Axes) -> float:
    """About how many points a unit of the map has: the figure's width less its margins."""
    low, high = axes.get_xlim()
    return WIDE * 72 * 0.97 / (high - low)
