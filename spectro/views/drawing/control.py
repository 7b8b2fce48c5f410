"""The columns of a run against those of its nβ = 0 control, component by component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.component_grid import head_of, is_mlp
from spectro.views.drawing.labels import name_marks
from spectro.views.drawing.parts import Floats, head, new_figure, nothing, plain_logarithms
from spectro.views.drawing.theme import WIDE, Theme, themed

HELP = (
    "A mark is a component: a disc a head, a square an MLP, a diamond any other; horizontal: its "
    "value at nβ = 0, Gaussian noise alone; vertical: in the run; on the line both are equal. The "
    "components farthest from the line are named."
)
MOST_NAMED = 8
"""Components that are named, those farthest from the line, where there is room."""
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
    made.draw_without_rendering()
    _names(left, theme, data.components, data.reliability_2H)
    _names(right, theme, data.components, positive)
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
    kind_H = np.array([_kind(name) for name in components])
    for kind, mark in _MARKS.items():
        own = known_H & (kind_H == kind)
        axes.plot(*value_2H[:, own], mark, color=theme.real, markersize=3.5, alpha=0.7,
                  markeredgewidth=0)  # fmt: skip
    low, high = float(value_2H[:, known_H].min()), float(value_2H[:, known_H].max())
    axes.plot([low, high], [low, high], color=theme.control, linewidth=0.8, zorder=0.5)
    axes.set_xlabel("at nβ = 0")
    axes.set_ylabel("in the run")
    if logarithmic:
        plain_logarithms(axes, "{x:g}")


def _names(axes: Axes, theme: Theme, components: tuple[str, ...], value_2H: Floats) -> None:
    """Of the components farthest from the line."""
    is_log = axes.get_xscale() == "log"
    scaled_2H = np.log(value_2H) if is_log else value_2H
    far_H = np.nan_to_num(np.abs(scaled_2H[1] - scaled_2H[0]))
    wanted = [c for c in np.argsort(-far_H, kind="stable")[:MOST_NAMED].tolist() if far_H[c] > 0]
    if not wanted:
        return
    ends = float(np.nanmin(value_2H)), float(np.nanmax(value_2H))
    along = np.geomspace(*ends, 200) if is_log else np.linspace(*ends, 200)
    name_marks(axes, theme, components, value_2H.T, wanted, np.stack([along, along], axis=1))


def _kind(component: str) -> str:
    if is_mlp(component):
        return "mlp"
    return "other" if head_of(component) is None else "head"
