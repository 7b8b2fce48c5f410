"""Mean χ of sets of tokens over training, a panel for each component."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from spectro.analysis.training_curves import SetsOverTraining
from spectro.views.drawing.parts import head, new_figure, require_room
from spectro.views.drawing.text import printed, shortened
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed
from spectro.views.drawing.training_axis import training_axis

HELP = (
    "Mean χ of each set of tokens less that of all tokens, with 95 % intervals (Student t, over "
    "the sequences that have the set); below zero the component expresses the set, above it "
    "suppresses it. Each checkpoint in its own units."
)
MOST_SETS, MOST_PANELS = 16, 12
"""Lines that a reader can distinguish, and panels that a page has room for."""
PANELS_ACROSS = 3


@themed
def figure(data: SetsOverTraining, theme: Theme) -> Figure:
    """Lines over training steps; from the ninth set on dashed.

    Raises ValueError, in one line, for more sets or components than a page has room for.
    """
    require_room(len(data.sets), MOST_SETS, "sets of tokens", "ask for fewer (max_rows=)")
    require_room(len(data.components), MOST_PANELS, "components", "ask for fewer (components=)")
    down = max(1, math.ceil(len(data.components) / PANELS_ACROSS))
    across = min(PANELS_ACROSS, max(1, len(data.components)))
    made = new_figure(WIDE, 1.5 + 1.7 * down)
    head(made, theme, f"Sets of tokens over {len(data.steps)} checkpoints", HELP)
    panels = made.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    lines = []
    for index, axes in enumerate(panels.flat):
        if index >= len(data.components):
            axes.set_axis_off()
            continue
        axes.set_title(data.components[index])
        axes.axhline(0.0, color=theme.line, linewidth=0.6, zorder=0.5)
        lines = [
            axes.errorbar(
                data.steps, data.mean_SRH[:, row, index],
                np.nan_to_num(data.half_width_SRH[:, row, index]), marker=".",
                fmt="-" if row < MOST_SETS // 2 else "--", color=theme.colour(row),
                linewidth=0.9, elinewidth=0.7, capsize=0,
            )
            for row in range(len(data.sets))
        ]  # fmt: skip
        training_axis(axes, data.steps)
        axes.tick_params(axis="x", labelrotation=90)
        if index + across < len(data.components):
            axes.set_xlabel("")
    made.supylabel(f"mean χ, {data.unit}", size=SMALL, color=theme.soft)
    names = [
        f"{shortened(printed(name), 30)} ({count:,})"
        for name, count in zip(data.sets, data.num_tokens_R, strict=True)
    ]
    made.legend(lines, names, loc="outside lower center", ncols=3)
    return made
