"""R̂ and effective draws of every component's chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.chain_diagnosis import MIN_EFFECTIVE_SHARE, RHAT, Diagnosis
from spectro.views.drawing.parts import block_axis, head, new_figure, nothing
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "R̂ of ΔL over the chains of each component (below the line they agree), and what share of its "
    "draws independent ones would be worth; filled: stepped chains, hollow: independent draws, "
    "which have nothing to converge; orange: the verdict asks for a change."
)
MOST_NAMED = 8
"""Components above the line that are named, highest first."""


@themed
def figure(diagnoses: Sequence[Diagnosis], theme: Theme) -> Figure:
    """Two rows of dots, components by layer."""
    made = new_figure(WIDE, 4.4)
    head(made, theme, "Agreement of the chains", HELP)
    upper, lower = made.subplots(2, 1)
    rhat_H = np.array([each.rhat for each in diagnoses], np.float64)
    share_H = np.array(
        [each.traces.effective_sample_size / max(1, each.traces.num_draws) for each in diagnoses],
        np.float64,
    )
    _panel(upper, theme, diagnoses, rhat_H, RHAT)
    upper.set_title("R̂ of ΔL")
    _panel(lower, theme, diagnoses, share_H, MIN_EFFECTIVE_SHARE)
    lower.set_title("Effective draws, share of all")
    if np.isfinite(share_H).any():
        lower.set_ylim(0, max(1.05, 1.05 * float(np.nanmax(share_H))))
    if np.isfinite(rhat_H).any():
        _names(upper, theme, diagnoses, rhat_H)
    return made


def _panel(
    axes: Axes,
    theme: Theme,
    diagnoses: Sequence[Diagnosis],
    value_H: NDArray[np.float64],
    line: float,
) -> None:
    if not np.isfinite(value_H).any():
        nothing(axes, theme, "not known")
        return
    place_H = block_axis(axes, [each.traces.name for each in diagnoses])
    axes.axhline(line, color=theme.control, linewidth=0.8, linestyle="--", zorder=0.5)
    good_H = np.array([each.verdict.is_good for each in diagnoses])
    stepped_H = np.array([not each.traces.independent for each in diagnoses])
    for is_good, colour in ((True, theme.real), (False, theme.positive)):
        for is_stepped, fill in ((True, colour), (False, theme.raised)):
            own = (good_H == is_good) & (stepped_H == is_stepped)
            axes.plot(place_H[own], value_H[own], "o", markersize=3.2, markeredgecolor=colour,
                      markerfacecolor=fill, markeredgewidth=0.8)  # fmt: skip
    axes.margins(y=0.15)


def _names(
    axes: Axes, theme: Theme, diagnoses: Sequence[Diagnosis], rhat_H: NDArray[np.float64]
) -> None:
    place_H = block_axis(axes, [each.traces.name for each in diagnoses])
    order = np.argsort(-np.nan_to_num(rhat_H, nan=-np.inf), kind="stable")[:MOST_NAMED]
    for index in order.tolist():
        if rhat_H[index] > RHAT:
            axes.annotate(
                diagnoses[index].traces.name, (place_H[index], rhat_H[index]), (3, 2),
                textcoords="offset points", size=SMALL - 1, family=MONO, color=theme.soft,
            )  # fmt: skip
