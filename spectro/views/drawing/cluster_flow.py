"""Clusters over training as a flow: boxes for clusters, bands for the tokens that two share.

Shapes: S checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from spectro.analysis.cluster_flow import ClusterFlow, Fate, FlowLink, FlowShares, Origin
from spectro.analysis.cluster_lineages import CheckpointFlow, ClustersOverTraining
from spectro.views.drawing.parts import head, new_figure, require_room
from spectro.views.drawing.text import printed, shortened
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

HELP = (
    "Boxes: clusters, those with a band first, then the largest; their height the number of "
    "members, coloured by where they are from. Bands: members of both, where one cluster has more "
    "than half of its members in the other; a dark right edge: gone at the next checkpoint. Below: "
    "shares of all clusters, measured, with tokens shuffled among those of the same y, and between "
    "two halves of the chains of one of the two checkpoints, that with the larger changes."
)
MOST_CHECKPOINTS, MOST_BOXES, MOST_LINKED = 12, 30, 20
"""Columns that a page has room for, boxes that can be seen in one, and of these those that are
there for their bands."""
BOX_WIDTH = 0.12
GAP = 0.35
"""Room between boxes, all gaps of the fullest column together, in its members."""
LABEL_ROOM = 0.03
"""Room for a name, as a share of the highest column."""
BAR_PLACES, BAR_NAMES = (0.25, 0.5, 0.75), ("run", "y", "draws")
"""Bars between two columns."""
MOST_NAMED_BARS = 6
"""Groups of bars that have room for the names."""
Span = tuple[float, float]
Kind = TypeVar("Kind", Fate, Origin)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """The boxes of one checkpoint."""

    spans: dict[int, Span]
    """Cluster → lower and upper edge."""


@themed
def figure(data: ClustersOverTraining, theme: Theme) -> Figure:
    """The flow, and below it the shares of fates and of origins.

    Raises ValueError, in one line, for more checkpoints than a page has room for.
    """
    num = len(data.checkpoints)
    require_room(num, MOST_CHECKPOINTS, "checkpoints", "draw fewer, or ask for the table")
    made = new_figure(WIDE, 6.6)
    head(made, theme, f"Clusters over {num} checkpoints", HELP)
    grid = made.add_gridspec(3, 1, height_ratios=[4.2, 1, 1])
    flow = made.add_subplot(grid[0])
    _draw_flow(flow, theme, data)
    fates, origins = (made.add_subplot(grid[row], sharex=flow) for row in (1, 2))
    compared = [_compared(own) for own in data.flows]
    of_fates = [[None if each is None else each.fates for each in own] for own in compared]
    of_origins = [[None if each is None else each.origins for each in own] for own in compared]
    _shares(fates, theme, of_fates, list(Fate), "earlier clusters")
    _shares(origins, theme, of_origins, list(Origin), "later clusters")
    handles = [Patch(facecolor=_colour(theme, kind), label=kind) for kind in (*Fate, Origin.BORN)]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return made


def _colour(theme: Theme, kind: str | None) -> str:
    """One colour for each fate and origin; the first checkpoint's clusters as those kept."""
    colours = {
        Fate.MERGED.value: theme.colour(0), Fate.SPLIT.value: theme.colour(1),
        Fate.GONE.value: theme.ink, Origin.BORN.value: theme.colour(2),
    }  # fmt: skip
    return colours.get("" if kind is None else str(kind), theme.dot)


def _draw_flow(axes: Axes, theme: Theme, data: ClustersOverTraining) -> None:
    columns = _columns(data)
    for index, own in enumerate(data.flows):
        _bands(axes, theme, index, own.flow, columns)
    for index, column in enumerate(columns):
        origins = None if index == 0 else data.flows[index - 1].flow.origin_B
        fates = None if index == len(data.flows) else data.flows[index].flow.fate_A
        for cluster, (low, high) in column.spans.items():
            colour = _colour(theme, None if origins is None else origins[cluster])
            box = (index - BOX_WIDTH / 2, low)
            axes.add_patch(Rectangle(box, BOX_WIDTH, high - low, facecolor=colour, linewidth=0))
            if fates is not None and fates[cluster] is Fate.GONE:
                edge = (index + BOX_WIDTH / 2, low)
                axes.add_patch(Rectangle(edge, 0.02, high - low, facecolor=theme.ink, linewidth=0))
    _labels(axes, theme, data, columns)
    margin = 0.35 * (len(columns) - 1)
    axes.set_xlim(-margin, len(columns) - 1 + margin)
    axes.set_xticks(
        range(len(columns)),
        [f"{own.step:,}\n{len(own.size_C):,} clusters" for own in data.checkpoints],
    )
    axes.set_yticks([])
    axes.xaxis.tick_top()
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.autoscale(axis="y")


def _columns(data: ClustersOverTraining) -> list[_Column]:
    """Boxes of every checkpoint, in an order that keeps bands from crossing."""
    shown = _shown(data)
    totals = [
        sum(own.size_C[cluster] for cluster in ids)
        for own, ids in zip(data.checkpoints, shown, strict=True)
    ]
    gap = GAP * max([*totals, 1]) / MOST_BOXES
    columns: list[_Column] = []
    for index, own in enumerate(data.checkpoints):
        order = shown[index]
        if index:
            order = _by_parents(order, data.flows[index - 1].flow.links, columns[-1])
        top, spans = 0.0, {}
        for cluster in order:
            spans[cluster] = (top - own.size_C[cluster], top)
            top -= own.size_C[cluster] + gap
        columns.append(_Column(spans=spans))
    return columns


def _shown(data: ClustersOverTraining) -> list[list[int]]:
    """Clusters of every checkpoint: ends of the widest bands, then the largest others."""
    chosen: list[dict[int, None]] = [{} for _ in data.checkpoints]
    links = [(index, link) for index, own in enumerate(data.flows) for link in own.flow.links]
    for index, link in sorted(links, key=lambda pair: -pair[1].shared):
        ends = ((chosen[index], link.earlier), (chosen[index + 1], link.later))
        if all(cluster in own or len(own) < MOST_LINKED for own, cluster in ends):
            for own, cluster in ends:
                own[cluster] = None
    for own, checkpoint in zip(chosen, data.checkpoints, strict=True):
        size_C = checkpoint.size_C
        largest = sorted(range(len(size_C)), key=lambda c: (-size_C[c], c))
        own.update(dict.fromkeys([c for c in largest if c not in own][: MOST_BOXES - len(own)]))
    return [
        sorted(own, key=lambda c: (-checkpoint.size_C[c], c))
        for own, checkpoint in zip(chosen, data.checkpoints, strict=True)
    ]


def _by_parents(order: list[int], links: Sequence[FlowLink], before: _Column) -> list[int]:
    """Clusters by the height of what they share with the column before; the others last."""
    height: dict[int, tuple[float, int]] = {}
    for link in links:
        if link.earlier in before.spans:
            total, count = height.get(link.later, (0.0, 0))
            middle = sum(before.spans[link.earlier]) / 2
            height[link.later] = (total + link.shared * middle, count + link.shared)
    known = [cluster for cluster in order if cluster in height]
    known.sort(key=lambda cluster: -height[cluster][0] / height[cluster][1])
    return [*known, *(cluster for cluster in order if cluster not in height)]


def _bands(
    axes: Axes, theme: Theme, index: int, flow: ClusterFlow, columns: Sequence[_Column]
) -> None:
    """Bands from a column to the next."""
    left, right = columns[index].spans, columns[index + 1].spans
    drawn = [link for link in flow.links if link.earlier in left and link.later in right]
    by_later = sorted(drawn, key=lambda link: -right[link.later][1])
    by_earlier = sorted(drawn, key=lambda link: -left[link.earlier][1])
    starts = _stacked(left, [(link.earlier, link) for link in by_later])
    ends = _stacked(right, [(link.later, link) for link in by_earlier])
    x = np.linspace(0.0, 1.0, 40)
    bend = x * x * (3 - 2 * x)
    places = index + BOX_WIDTH / 2 + (1 - BOX_WIDTH) * x
    for link in drawn:
        (low_a, high_a), (low_b, high_b) = starts[link], ends[link]
        kind = Fate.KEPT if link.kept else Fate.MERGED if link.goes_to else Fate.SPLIT
        axes.fill_between(
            places, low_a + (low_b - low_a) * bend, high_a + (high_b - high_a) * bend,
            color=_colour(theme, kind), alpha=0.5 if kind is Fate.KEPT else 0.7, linewidth=0,
        )  # fmt: skip


def _stacked(
    spans: Mapping[int, Span], links: Sequence[tuple[int, FlowLink]]
) -> dict[FlowLink, Span]:
    """Ends of bands within their boxes, from above; narrower where overlaps leave no room."""
    total: dict[int, int] = {}
    for cluster, link in links:
        total[cluster] = total.get(cluster, 0) + link.shared
    at = {cluster: high for cluster, (_, high) in spans.items()}
    found = {}
    for cluster, link in links:
        low, high = spans[cluster]
        below = at[cluster] - link.shared * min(1.0, (high - low) / total[cluster])
        found[link] = (below, at[cluster])
        at[cluster] = below
    return found


def _labels(
    axes: Axes, theme: Theme, data: ClustersOverTraining, columns: Sequence[_Column]
) -> None:
    """Names beside the boxes of the first and last checkpoint, from above, where there is room."""
    lowest = min((low for own in columns for low, _ in own.spans.values()), default=-1.0)
    for index, side, align in ((0, -1, "right"), (len(columns) - 1, 1, "left")):
        above = LABEL_ROOM
        for cluster, (low, high) in columns[index].spans.items():
            middle = (low + high) / 2
            if above - middle / -lowest >= LABEL_ROOM:
                above = middle / -lowest
                axes.text(
                    index + side * BOX_WIDTH, middle,
                    shortened(printed(data.checkpoints[index].shown_C[cluster]), 34),
                    size=SMALL - 1.5, ha=align, va="center", color=theme.soft, clip_on=False,
                )  # fmt: skip


def _compared(own: CheckpointFlow) -> list[FlowShares | None]:
    """What the bars of two neighbours show, from the left."""
    return [own.measured, own.chance_same_y, own.other_draws]


def _shares(
    axes: Axes,
    theme: Theme,
    shares: Sequence[Sequence[Mapping[Kind, float] | None]],
    kinds: Sequence[Kind],
    what: str,
) -> None:
    """Between two columns stacked bars: measured, same y by chance, other draws."""
    for index, bars in enumerate(shares):
        for place, name, own in zip(BAR_PLACES, BAR_NAMES, bars, strict=True):
            if own is None:
                continue
            base = 0.0
            for kind in kinds:
                share = float(np.nan_to_num(own[kind]))
                colour = _colour(theme, kind)
                axes.bar(index + place, share, 0.19, bottom=base, color=colour, linewidth=0)
                base += share
            if len(shares) > MOST_NAMED_BARS:
                continue
            axes.text(
                index + place, -0.04, name, ha="center", va="top", size=SMALL - 1.5,
                color=theme.mute,
            )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["0", "100%"])
    axes.set_ylabel(what, size=SMALL)
    axes.tick_params(axis="x", length=0, labelbottom=False, labeltop=False)
    axes.spines["bottom"].set_visible(False)
