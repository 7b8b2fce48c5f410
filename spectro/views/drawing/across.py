"""One token across runs: its clusters in each run, side by side, linked where they are the same."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from spectro.analysis.token_clusters import Across, TokenCluster, TokenInRun
from spectro.views.drawing.parts import bare, context_line, head, number, require_room
from spectro.views.drawing.text import printed, shortened, shortened_before
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "The clusters that have this token among their most common ones, most occurrences first; a "
    "line joins clusters of neighbouring runs that share tokens, its number their Jaccard index, "
    "drawn strong where each is the other's best and the index at least 0.5."
)
LINE_INCHES = 0.165
COLUMN_INCHES, BETWEEN_INCHES, MARGIN_INCHES = 3.3, 0.65, 0.15
NUMBER_AT = 0.24
"""Where a line's number is on it, as a share of its length from the right."""
GAP = 0.9
"""Room between cards, in lines."""
MOST_RUNS = 4
"""Columns that a page has room for."""
ROOM = (32, 9, 15)
"""Letters before y, of y, and after it."""
Edges = dict[int, float]


@themed
def figure(data: Across, theme: Theme) -> Figure:
    """A column for each run.

    Raises ValueError, in one line, for more runs than a page has room for.
    """
    require_room(len(data.runs), MOST_RUNS, "runs side by side", "draw fewer, or ask for the table")
    num_lines = max([_height(run) for run in data.runs], default=4.0)
    columns = max(1, len(data.runs))
    width = 2 * MARGIN_INCHES + columns * (COLUMN_INCHES + BETWEEN_INCHES) - BETWEEN_INCHES
    width = max(width, WIDE * 0.7)
    height = 1.0 + LINE_INCHES * num_lines
    made = Figure(figsize=(width, height))
    number_of = "1 run" if len(data.runs) == 1 else f"{len(data.runs)} runs"
    title = f"Clusters of the token “{shortened(printed(data.token.strip()), 30)}” in {number_of}"
    head(made, theme, title, " ".join([HELP, *data.notes]))
    panels = []
    for index in range(columns):
        left = MARGIN_INCHES + index * (COLUMN_INCHES + BETWEEN_INCHES)
        box = (left / width, 0.1 / height, COLUMN_INCHES / width, LINE_INCHES * num_lines / height)
        panels.append(made.add_axes(box))
    heads = [
        _column(axes, theme, run, num_lines) for axes, run in zip(panels, data.runs, strict=False)
    ]
    _links(made, theme, data, panels, heads)
    return made


def _height(run: TokenInRun) -> float:
    """Lines that a column takes."""
    return 2.6 + sum(_card_lines(cluster) + GAP for cluster in run.clusters or [None])


def _card_lines(cluster: TokenCluster | None) -> float:
    return 1.2 if cluster is None else 2.6 + len(cluster.contexts)


def _column(axes: Axes, theme: Theme, run: TokenInRun, num_lines: float) -> Edges:
    """Draw a run; the height of each card's first line, by cluster id."""
    bare(axes)
    axes.set_ylim(0, num_lines)
    axes.text(0, num_lines - 0.6, shortened_before(run.name, 42), weight="bold", color=theme.ink)
    share = run.num_clustered / run.num_occurrences if run.num_occurrences else float("nan")
    line = (
        f"{run.num_occurrences:,} of {run.num_tokens:,} tokens, {number(share, '.0%')} of them "
        f"clustered; {run.num_clusters} clusters"
    )
    axes.text(0, num_lines - 1.6, line, size=SMALL, color=theme.soft)
    top, heads = num_lines - 2.4, {}
    for cluster in run.clusters:
        lower = top - _card_lines(cluster)
        _card(axes, theme, cluster, (lower, top))
        heads[cluster.cluster_id] = top - 0.75
        top = lower - GAP
    if not run.clusters:
        axes.text(0, top - 0.8, "no cluster has it among its most common tokens", color=theme.mute)
    return heads


def _card(axes: Axes, theme: Theme, cluster: TokenCluster, edge: tuple[float, float]) -> None:
    lower, top = edge
    frame = Rectangle((0, lower), 1, top - lower, facecolor="none", edgecolor=theme.strong_line)
    axes.add_patch(frame)
    frame.set_clip_on(False)
    line = (
        f"#{cluster.cluster_id}  {cluster.count:,} of {cluster.size:,}  "
        f"({number(cluster.share, '.0%')} of it)  stability {number(cluster.stability)}"
    )
    axes.text(0.02, top - 0.75, line, size=SMALL, color=theme.ink, weight="bold", va="center")
    tops = shortened("  ".join(printed(token) for token in cluster.top_tokens), 58)
    axes.text(0.02, top - 1.75, tops, size=SMALL - 0.5, color=theme.soft, family=MONO, va="center")
    for row, lit in enumerate(cluster.contexts):
        context_line(axes, theme, lit, (0.56, top - 2.8 - row), ROOM, SMALL - 0.5)


def _links(
    made: Figure, theme: Theme, data: Across, panels: list[Axes], heads: list[Edges]
) -> None:
    """Between the first lines of cards of neighbouring columns, each with its number on it."""
    for link in data.links:
        left, right = link.runs
        if right != left + 1:
            continue
        start, end = (
            heads[run][cluster] for run, cluster in zip(link.runs, link.clusters, strict=True)
        )
        colour = theme.accent if link.matched else theme.mute
        line = ConnectionPatch(
            (1, start), (0, end), "data", "data", axesA=panels[left], axesB=panels[right],
            color=colour, linewidth=0.5 + 2.5 * link.jaccard,
            alpha=0.9 if link.matched else 0.5,
        )  # fmt: skip
        made.add_artist(line)
        at = (-NUMBER_AT * BETWEEN_INCHES / COLUMN_INCHES, end + NUMBER_AT * (start - end))
        panels[right].annotate(
            number(link.jaccard), at, ha="center", va="center", size=SMALL - 1, color=colour,
            annotation_clip=False,
            bbox={"facecolor": theme.raised, "edgecolor": "none", "alpha": 0.8, "pad": 0.3},
        )  # fmt: skip
