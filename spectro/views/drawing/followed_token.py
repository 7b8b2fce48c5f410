"""One token followed through runs: its χ by component, its cluster, in each."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectro.analysis.followed_token import FollowedToken, TokenOfRun
from spectro.views.drawing.parts import (
    MOST_BARS,
    bare,
    bars,
    context_line,
    head,
    limits,
    new_figure,
    number,
    require_room,
    tiles,
)
from spectro.views.drawing.text import printed, shortened, shortened_before
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

HELP = (
    "χ of this one token at every component (MLPs fainter), run by run, with its 95 % "
    "interval; below zero the component expresses it, above zero it suppresses it; in each title "
    "its loss, the smallest cluster that has it, the Jaccard index of that with the cluster in the "
    "run before, and the correlation of χ with the run before."
)
MOST_RUNS = 12
"""Panels that a page has room for."""


@themed
def figure(data: FollowedToken, theme: Theme) -> Figure:
    """The token in its context, then a panel for each run.

    Raises ValueError, in one line, for more runs than a page has room for.
    """
    require_room(len(data.runs), MOST_RUNS, "runs", "draw fewer, or ask for the table")
    made = new_figure(WIDE, 1.25 + 1.15 * len(data.runs))
    head(made, theme, f"Token {data.token.token_id} in {len(data.runs)} runs", HELP)
    grid = made.add_gridspec(1 + len(data.runs), 1, height_ratios=[0.3, *[1.15] * len(data.runs)])
    line = made.add_subplot(grid[0])
    bare(line)
    context_line(line, theme, data.token, (0.5, 0.5), (60, 20, 40))
    first: Axes | None = None
    for index, run in enumerate(data.runs):
        axes = made.add_subplot(grid[1 + index], sharey=first)
        if len(run.components) <= MOST_BARS:
            first = first or axes
        axes.set_title(_title(run, index), size=SMALL + 0.5)
        _profile(axes, theme, run)
    made.supylabel(f"χ, {data.unit}", size=SMALL, color=theme.soft)
    return made


def _profile(axes: Axes, theme: Theme, run: TokenOfRun) -> None:
    if len(run.components) <= MOST_BARS:
        bars(axes, theme, run.components, run.x_H, run.half_width_H)
    else:
        tiles(axes, theme, run.components, run.x_H, limits(run.x_H), run.half_width_H)


def _title(run: TokenOfRun, index: int) -> str:
    place = shortened_before(run.name, 34) if run.step is None else f"step {run.step:,}"
    cluster = "not clustered" if not run.has_clusters else "in no cluster"
    if run.cluster is not None:
        name = shortened(printed(run.cluster.shown), 40)
        cluster = f"#{run.cluster.cluster_id} {name} ({run.cluster.size:,} tokens)"
    words = [place, f"loss {number(run.loss)}", cluster]
    if index:
        words.append(f"J {number(run.jaccard_before)}, r {number(run.correlation_before)}")
    return " · ".join(words)
