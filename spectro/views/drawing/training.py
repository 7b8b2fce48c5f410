"""Local learning coefficient and size of χ of each component over training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.component_grid import is_mlp
from spectro.analysis.training_curves import TrainingCurves
from spectro.views.drawing.labels import name_ends
from spectro.views.drawing.parts import head, new_figure, plain_logarithms
from spectro.views.drawing.theme import WIDE, Theme, themed
from spectro.views.drawing.training_axis import training_axis

HELP = (
    "Each line is a component, dashed for MLPs; bars are one standard error (jackknife over "
    "chains); named: the components with the largest values at the last checkpoint. Logarithmic "
    "where all values are above 0."
)
MOST_NAMED = 20
"""Components that are named."""


@themed
def figure(data: TrainingCurves, theme: Theme) -> Figure:
    """Two panels: λ̂ with its errors, and the standard deviation of χ over tokens."""
    made = new_figure(WIDE, 3.6)
    head(made, theme, f"{len(data.steps)} checkpoints of a training run", HELP)
    left, right = made.subplots(1, 2)
    left.set_title("Local learning coefficient λ̂")
    right.set_title("Standard deviation of χ over tokens, nats²")
    _lines(left, theme, data, data.lambda_hat_SH, data.lambda_error_SH)
    _lines(right, theme, data, data.chi_size_SH, np.full_like(data.chi_size_SH, np.nan))
    made.draw_without_rendering()
    _names(left, theme, data, data.lambda_hat_SH[-1])
    _names(right, theme, data, data.chi_size_SH[-1])
    return made


def _lines(
    axes: Axes,
    theme: Theme,
    data: TrainingCurves,
    value_SH: NDArray[np.floating],
    error_SH: NDArray[np.floating],
) -> None:
    for index, name in enumerate(data.components):
        axes.errorbar(
            data.steps, value_SH[:, index], np.nan_to_num(error_SH[:, index]),
            fmt="--" if is_mlp(name) else "-", marker=".", color=theme.colour(index),
            linewidth=0.9, elinewidth=0.7, capsize=0,
        )  # fmt: skip
    if np.nanmin(value_SH, initial=np.inf) > 0:
        axes.set_yscale("log")
        plain_logarithms(axes, "{x:g}")
    training_axis(axes, data.steps)
    axes.margins(x=0.12)


def _names(axes: Axes, theme: Theme, data: TrainingCurves, value_H: NDArray[np.floating]) -> None:
    order = np.argsort(-np.nan_to_num(value_H, nan=-np.inf), kind="stable")[:MOST_NAMED]
    named = [index for index in order.tolist() if np.isfinite(value_H[index])]
    ends = {data.components[index]: float(value_H[index]) for index in named}
    name_ends(axes, ends, data.steps[-1], [theme.colour(index) for index in named])
