"""Tokens against draws: what a pilot measured, and the prediction for each split of the budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectro.calibrate.choose import Split
from spectro.calibrate.law import value
from spectro.calibrate.setting import Setting
from spectro.views.drawing.parts import head, new_figure, plain_logarithms
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

HELP = (
    "Held neighbours are those that a disjoint set of draws finds again, over chance, per list "
    "place and in all tokens. Left: measured by the pilot (points) and the fitted law (lines). "
    "Right: the law along the budget, one standard error of the difference from the best around it."
)


@dataclass(frozen=True, kw_only=True)
class CalibrationData:
    """The chosen γ and nβ."""

    setting: Setting
    """With its cells, law and choice."""
    splits: tuple[Split, ...]
    """What the budget pays."""
    budget: str
    """Label."""


@themed
def figure(data: CalibrationData, theme: Theme) -> Figure:
    """The pilot's cells on the left, the budget's splits on the right."""
    made = new_figure(WIDE, 3.2)
    head(made, theme, "Tokens or draws", HELP)
    left, right = made.subplots(1, 2)
    _cells(left, theme, data.setting)
    _splits(right, theme, data)
    return made


def _cells(axes: Axes, theme: Theme, setting: Setting) -> None:
    assert setting.law is not None
    axes.set_title(f"The pilot at γ = {setting.gamma:g}, nβ = {setting.nbeta:g}")
    for index, num_draws in enumerate(sorted({c.num_draws for c in setting.cells})):
        own = [c for c in setting.cells if c.num_draws == num_draws and value(c) > 0]
        sizes = [c.num_tokens for c in own]
        colour = theme.colour(index)
        axes.plot(sizes, [value(c) for c in own], "o", color=colour, markersize=3.5)
        lawful = [2 ** setting.law.log2_value(n, num_draws) for n in sizes]
        axes.plot(sizes, lawful, color=colour, linewidth=0.9, label=f"{num_draws} draws")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    plain_logarithms(axes)
    axes.set_xlabel("tokens")
    axes.set_ylabel("held neighbours")
    axes.legend(frameon=False, fontsize=SMALL)


def _splits(axes: Axes, theme: Theme, data: CalibrationData) -> None:
    law, choice = data.setting.law, data.setting.choice
    assert law is not None and choice is not None
    best = (choice.best.num_tokens, choice.best.num_draws)
    draws = [split.num_draws for split in data.splits]
    level = np.array([law.log2_value(s.num_tokens, s.num_draws) for s in data.splits])
    error = np.nan_to_num(
        [law.error_of_difference((s.num_tokens, s.num_draws), best) for s in data.splits]
    )
    axes.set_title(f"Splits of {data.budget}")
    axes.fill_between(
        draws, 2 ** (level - error), 2 ** (level + error), color=theme.real, alpha=0.15, linewidth=0
    )
    axes.plot(draws, 2**level, "o-", color=theme.real, markersize=3.5, linewidth=0.9)
    axes.plot([best[1]], [2 ** law.log2_value(*best)], "o", color=theme.positive, markersize=6)
    for split, height in zip(data.splits, level, strict=True):
        axes.annotate(
            f"{split.num_tokens:,}", (split.num_draws, 2**height), (0, 5),
            textcoords="offset points", ha="center", size=SMALL - 1, color=theme.soft,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    plain_logarithms(axes)
    axes.margins(x=0.1, y=0.15)
    axes.set_xlabel("draws per token (tokens at the points)")
