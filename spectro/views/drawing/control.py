"""The columns of a run against those of its nβ = 0 control, component by component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.component_grid import head_of, is_mlp
from spectro.views.drawing.parts import head, new_figure, nothing, plain_logarithms
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "A mark is a component: a disc a head, a square an MLP, a diamond the rest; across as noise "
    "alone gives it (nβ = 0), upwards as the run has it; on the line the two are alike."
)
MOST_NAMED = 6
"""Components that are named, those farthest from the line."""
LABEL_ROOM = np.array([0.13, 0.04])
"""Of the panel: names nearer to another are left out."""
_MARKS = {"head": "o", "mlp": "s", "other": "D"}


@dataclass(frozen=True, kw_only=True)
class ControlData:
    """H components, each twice; NaN where a number is not known."""

    components: tuple[str, ...]
    """Names of the columns."""
    reliability_2H: NDArray[np.floating]
    """Split-half reliability, of the control and of the run."""
    deviation_2H: NDArray[np.floating]
    """Standard deviation of χ over tokens, nats², of the control and of the run."""


@themed
def figure(data: ControlData, theme: Theme) -> Figure:
    """Reliability and deviation of every column, control across, run upwards."""
    made = new_figure(WIDE, 4.1)
    head(made, theme, "The run against its nβ = 0 control", HELP)
    left, right = made.subplots(1, 2)
    left.set_title("Reliability of the column")
    right.set_title("Standard deviation of χ over tokens, nats²")
    _panel(left, theme, data.components, data.reliability_2H, logarithmic=False)
    positive = np.where(data.deviation_2H > 0, data.deviation_2H, np.nan)
    _panel(right, theme, data.components, positive, logarithmic=True)
    return made


def _panel(
    axes: Axes,
    theme: Theme,
    components: tuple[str, ...],
    value_2H: NDArray[np.floating],
    *,
    logarithmic: bool,
) -> None:
    known_H = np.isfinite(value_2H).all(axis=0)
    if not known_H.any():
        nothing(axes, theme, "not known")
        return
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_logarithms(axes, "{x:g}")
    kind_H = np.array([_kind(name) for name in components])
    for kind, mark in _MARKS.items():
        own = known_H & (kind_H == kind)
        axes.plot(*value_2H[:, own], mark, color=theme.real, markersize=3.5, alpha=0.7,
                  markeredgewidth=0)  # fmt: skip
    low, high = float(value_2H[:, known_H].min()), float(value_2H[:, known_H].max())
    axes.plot([low, high], [low, high], color=theme.control, linewidth=0.8, zorder=0.5)
    _names(axes, theme, components, value_2H, logarithmic=logarithmic)
    axes.set_xlabel("nβ = 0")
    axes.set_ylabel("run")


def _names(
    axes: Axes,
    theme: Theme,
    components: tuple[str, ...],
    value_2H: NDArray[np.floating],
    *,
    logarithmic: bool,
) -> None:
    scaled_2H = np.log(value_2H) if logarithmic else value_2H
    extent_2 = np.nanmax(scaled_2H, axis=1) - np.nanmin(scaled_2H, axis=1)
    unit_2 = np.where(extent_2 > 0, extent_2, 1.0)
    named: list[NDArray[np.floating]] = []
    far_H = np.nan_to_num(np.abs(scaled_2H[1] - scaled_2H[0]), nan=-1.0)
    for column in np.argsort(-far_H, kind="stable")[:MOST_NAMED].tolist():
        at_2 = scaled_2H[:, column] / unit_2
        is_free = all((np.abs(at_2 - other) > LABEL_ROOM).any() for other in named)
        if far_H[column] > 0 and is_free:
            named.append(at_2)
            x, y = value_2H[:, column].tolist()
            axes.annotate(
                components[column], (x, y), (3, 2), textcoords="offset points",
                size=SMALL - 1, family=MONO, color=theme.soft,
            )  # fmt: skip


def _kind(component: str) -> str:
    if is_mlp(component):
        return "mlp"
    return "other" if head_of(component) is None else "head"
