"""The axis of training steps, which several pictures share."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter


def training_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Steps, or tokens where checkpoints are named by these: a logarithmic axis that has 0."""
    axes.set_xscale("symlog", linthresh=min(step for step in steps if step))
    axes.set_xticks(steps)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
    axes.set_xlabel("training steps or tokens")


def short_count(value: float) -> str:
    """Three digits with a letter for thousands and millions, `4M` for 4 001 792."""
    return EngFormatter(sep="")(float(f"{value:.3g}"))
