"""The cluster map: tokens by their positions in χ-space, clusters as rings above them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from numpy.typing import NDArray

from spectro.views.drawing.labels import Box, overlap
from spectro.views.drawing.parts import head, new_figure, nothing
from spectro.views.drawing.text import printed, shortened, width_points
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "UMAP of χ: near tokens have similar χ, large distances mean little. A ring is a cluster, "
    "larger with its number of tokens, in the colour of the subset that most of them come from; "
    "below it its name, or its most common tokens y, once in a region. Outlines are regions of "
    "clusters with their names."
)
MOST_NAMES = 60
"""Clusters that are named at most, largest first, where there is room."""
NAME_LETTERS, REGION_LETTERS = 24, 30
"""Letters of a line of a name; it has two at most."""
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
    """Names below the largest rings, where no other name is in the way; one once in a region."""
    size, radius_K, region_K = SMALL - 0.5, _radius(data), _region_of_clusters(data)
    written: set[tuple[int, str]] = set()
    for index in np.argsort(-data.size_K, kind="stable")[:MOST_NAMES].tolist():
        x, y = data.centre_K2[index].tolist()
        key = (int(region_K[index]), data.names_K[index])
        if not np.isfinite([x, y]).all() or key in written:
            continue
        lines = _lines(data.names_K[index], NAME_LETTERS)
        box = _room(axes, (x, y - radius_K[index]), lines, size, -1)
        if any(overlap(box, other) for other in taken):
            continue
        taken.append(box)
        written.add(key)
        axes.text(
            (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, "\n".join(lines), ha="center",
            va="center", family=MONO, size=size, color=theme.ink, linespacing=1.1,
            bbox={"facecolor": theme.raised, "edgecolor": "none", "alpha": 0.72, "pad": 0.4},
        )  # fmt: skip


def _region_of_clusters(data: ClusterMapData) -> NDArray[np.int64]:
    """The last region whose outline has a cluster's centre, −1 outside all, [K]."""
    region_K = np.full(len(data.size_K), -1, np.int64)
    centre_K2 = np.nan_to_num(data.centre_K2, nan=-1.0)
    for index, region in enumerate(data.regions):
        region_K[Path(region.outline_P2).contains_points(centre_K2)] = index
    return region_K


def _lines(name: str, letters: int) -> list[str]:
    """A name in at most two lines of so many letters."""
    lines = textwrap.wrap(printed(name), letters)
    if len(lines) > 2:
        lines = [lines[0], shortened(" ".join(lines[1:]), letters)]
    return lines


def _room(
    axes: Axes, at: tuple[float, float], lines: list[str], size: float, direction: int
) -> Box:
    """What lines of text take above (1) or below (−1) a point, inside the map, in its units."""
    per_unit = _points_per_unit(axes)
    low, high = axes.get_xlim()
    half = (max((width_points(line, size) for line in lines), default=0.0) / 2 + 2) / per_unit
    x = min(max(at[0], low + half), high - half)
    near = at[1] + direction * 0.25 * size / per_unit
    far = near + direction * 1.4 * size * len(lines) / per_unit
    return x - half, min(near, far), x + half, max(near, far)


def _regions(axes: Axes, theme: Theme, data: ClusterMapData) -> list[Box]:
    """Outlines, their names above them where no other's is; the room that names take."""
    taken: list[Box] = []
    for region in data.regions:
        axes.fill(
            *region.outline_P2.T, facecolor=(*to_rgb(theme.sunk), 0.6), edgecolor=theme.strong_line,
            zorder=0,
        )  # fmt: skip
        lines = _lines(region.name, REGION_LETTERS)
        low_2, high_2 = region.outline_P2.min(axis=0), region.outline_P2.max(axis=0)
        middle = float(low_2[0] + high_2[0]) / 2
        box = _room(axes, (middle, float(high_2[1])), lines, SMALL, 1)
        if not lines or any(overlap(box, other) for other in taken):
            continue
        taken.append(box)
        axes.text(
            (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, "\n".join(lines), ha="center",
            va="center", family=MONO, size=SMALL, color=theme.soft, zorder=4, linespacing=1.1,
            bbox={"facecolor": theme.sunk, "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    return taken


def _legend(made: Figure, theme: Theme, data: ClusterMapData) -> None:
    handles = [
        Line2D([], [], linestyle="", marker=theme.marker(index), markersize=4, label=name,
               color=theme.colour(index))
        for index, name in enumerate(data.subset_names)
    ]  # fmt: skip
    grey = Line2D(
        [], [], linestyle="", marker="o", markersize=3, color=theme.dot, label="in no cluster"
    )
    made.legend(
        handles=[*handles, grey], loc="outside lower center", ncols=min(7, len(handles) + 1),
        handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip


def _points_per_unit(axes: Axes) -> float:
    """About how many points a unit of the map has: the figure's width less its margins."""
    low, high = axes.get_xlim()
    return WIDE * 72 * 0.97 / (high - low)
