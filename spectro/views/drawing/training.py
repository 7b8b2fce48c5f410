"""Local learning coefficient and size of χ of each component over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.component_grid import is_mlp
from spectro.analysis.training_curves import TrainingCurves
from spectro.views.drawing.parts import head, new_figure, plain_logarithms
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed
from spectro.views.drawing.training_axis import training_axis

HELP = (
    "Each line is a component, dashed for MLPs; bars are one standard error from two halves of the "
    "chains; named: the components with the largest values at the last checkpoint. Logarithmic "
    "where all values are above 0."
)
MOST_NAMED = 20
"""Components that are named."""
NAME_POINTS, POINTS_PER_INCH = 7.0, 72.0
"""From one name to the next, in points."""


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
    """Names right of the last values, pushed apart; the figure has to be laid out."""
    order = np.argsort(-np.nan_to_num(value_H, nan=-np.inf), kind="stable")[:MOST_NAMED]
    named = [index for index in order.tolist() if np.isfinite(value_H[index])]
    figure = axes.get_figure(root=True)
    assert figure is not None
    points = POINTS_PER_INCH / figure.dpi
    heights = [axes.transData.transform((data.steps[-1], value_H[i]))[1] * points for i in named]
    places = pushed_apart(heights, axes.bbox.y0 * points, axes.bbox.y1 * points)
    for index, height, place in zip(named, heights, places, strict=True):
        axes.annotate(
            data.components[index], (data.steps[-1], value_H[index]), (10, place - height),
            textcoords="offset points", size=SMALL - 1, family=MONO, color=theme.colour(index),
            va="center_baseline", annotation_clip=False, in_layout=False,
            arrowprops={"arrowstyle": "-", "color": theme.colour(index), "linewidth": 0.4,
                        "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def pushed_apart(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Falling heights at least `NAME_POINTS` apart; from `low` to `high` where there is room."""
    places: list[float] = []
    for height in heights:
        places.append(min(height, places[-1] - NAME_POINTS if places else high))
    least = low
    for index in reversed(range(len(places))):
        places[index] = max(places[index], least)
        least = places[index] + NAME_POINTS
    return places
