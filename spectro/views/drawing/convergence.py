"""R̂ and effective draws of every component's chains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.chain_diagnosis import MIN_EFFECTIVE_SHARE, RHAT, Diagnosis
from spectro.views.drawing.labels import name_marks
from spectro.views.drawing.parts import block_axis, head, new_figure, nothing
from spectro.views.drawing.theme import WIDE, Theme, themed

HELP = (
    "R̂ (Gelman and Rubin) of ΔL over the chains of each component, which agree where it is below "
    "the line; effective sample size as a share of the draws (filled: chains of steps, hollow: "
    "independent draws, which have no R̂). Orange: the verdict of spectro diagnose asks for a "
    "change."
)
NO_RHAT = "No component of this run has two chains of steps, so there is no R̂."
MOST_NAMED = 8
"""Components above the line that are named, highest first."""


@themed
def figure(diagnoses: Sequence[Diagnosis], theme: Theme) -> Figure:
    """R̂ where any component has one, above effective sample size, components by layer."""
    rhat_H = np.array(
        [math.nan if each.traces.independent else each.rhat for each in diagnoses], np.float64
    )
    share_H = np.array(
        [each.traces.effective_sample_size / max(1, each.traces.num_draws) for each in diagnoses],
        np.float64,
    )
    has_rhat = bool(np.isfinite(rhat_H).any())
    made = new_figure(WIDE, 4.4 if has_rhat else 2.8)
    sentence = HELP if has_rhat else f"{HELP} {NO_RHAT}"
    head(made, theme, "Convergence of the chains: R̂ and effective sample size", sentence)
    panels = made.subplots(1 + has_rhat, 1, squeeze=False)[:, 0].tolist()
    _panel(panels[-1], theme, diagnoses, share_H, MIN_EFFECTIVE_SHARE)
    panels[-1].set_title("Effective sample size, share of the draws")
    if np.isfinite(share_H).any():
        panels[-1].set_ylim(0, max(1.05, 1.05 * float(np.nanmax(share_H))))
    if has_rhat:
        _panel(panels[0], theme, diagnoses, rhat_H, RHAT)
        panels[0].set_title("R̂ of ΔL")
        made.draw_without_rendering()
        _names(panels[0], theme, diagnoses, rhat_H)
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
    names = [each.traces.name for each in diagnoses]
    above = [index for index in order.tolist() if rhat_H[index] > RHAT]
    name_marks(axes, theme, names, np.stack([place_H, rhat_H], axis=1), above)
