"""Clusters against features of an autoencoder: shares over thresholds, null, best matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.views.drawing.parts import bare, head, new_figure, nothing, number
from spectro.views.drawing.text import printed, shortened
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "Left: share of clusters with a feature of at least so much F1; dashed: random sets of the "
    "same size and with the same y (null). Right: a circle is a cluster, larger with its tokens: "
    "its best F1 against that of its random sets; filled where it is matched better than they are."
)
LINES = {
    "clusters": ("clusters", "-"),
    "null": ("their random sets", "--"),
    "control": ("clusters at nβ = 0", "-"),
    "control_null": ("random sets at nβ = 0", "--"),
    "y": ("clusters by y alone", ":"),
    "cells": ("clusters by k-means of activations", "-."),
}
"""Curves in their order, with their dashes."""
COLUMNS = (0.0, 0.09, 0.43, 0.60, 0.69, 0.81, 0.91)
ROW_INCHES = 0.155


@dataclass(frozen=True, kw_only=True)
class MatchedRow:
    """One cluster with its best feature."""

    cluster: int
    tops: str
    """Its most common y."""
    feature: str
    """With its level."""
    f1: float
    precision: float
    recall: float
    auc: float


@dataclass(frozen=True, kw_only=True)
class SaeData:
    """The C clusters of a run."""

    title: str
    """Autoencoder and hook."""
    said: str
    """Numbers of the match in words."""
    curves: Mapping[str, Sequence[float | None]]
    """Shares at the thresholds, by the keys of `LINES`."""
    thresholds: Sequence[float]
    threshold: float
    """Least F1 of a match."""
    best_C: NDArray[np.floating]
    """Best F1."""
    null_C: NDArray[np.floating]
    """Mean best F1 of its random sets."""
    size_C: NDArray[np.integer]
    is_beyond_C: NDArray[np.bool_]
    """Whether it is matched better than sets of its y."""
    rows: tuple[MatchedRow, ...]
    """The best matched clusters."""


@themed
def figure(data: SaeData, theme: Theme) -> Figure:
    """Curves, clusters against their null, and the best matches."""
    bottom = ROW_INCHES * (len(data.rows) + 1.5)
    made = new_figure(WIDE, 4.0 + bottom)
    head(made, theme, f"Clusters against features: {data.title}", f"{data.said} {HELP}")
    grid = made.add_gridspec(2, 2, height_ratios=[2.7, bottom])
    _curves(made.add_subplot(grid[0, 0]), theme, data)
    _clusters(made.add_subplot(grid[0, 1]), theme, data)
    _table(made.add_subplot(grid[1, :]), theme, data.rows)
    return made


def _curves(axes: Axes, theme: Theme, data: SaeData) -> None:
    colours = {
        "clusters": theme.real, "null": theme.real, "control": theme.control,
        "control_null": theme.control, "y": theme.colour(1), "cells": theme.colour(2),
    }  # fmt: skip
    for key, (name, dash) in LINES.items():
        if key in data.curves:
            share = [np.nan if value is None else value for value in data.curves[key]]
            axes.plot(data.thresholds, share, dash, color=colours[key], linewidth=1.1, label=name)
    axes.axvline(data.threshold, color=theme.line, linewidth=0.8, zorder=0.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("F1 of the best feature")
    axes.set_ylabel("share of clusters")
    axes.legend(
        loc="upper right", fontsize=SMALL - 0.5, handlelength=2.2, frameon=True, framealpha=1,
        facecolor=theme.raised, edgecolor="none",
    )  # fmt: skip


def _clusters(axes: Axes, theme: Theme, data: SaeData) -> None:
    if not data.best_C.size:
        nothing(axes, theme, "no clusters")
        return
    area_C = 6 + 60 * np.sqrt(data.size_C / max(1, int(data.size_C.max())))
    for beyond, face in ((True, theme.real), (False, "none")):
        own = data.is_beyond_C == beyond
        axes.scatter(
            data.null_C[own], data.best_C[own], area_C[own], facecolors=face, alpha=0.55,
            edgecolors=theme.real, linewidths=0.6,
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=theme.control, linewidth=0.8, zorder=0.5)
    axes.axhline(data.threshold, color=theme.line, linewidth=0.8, zorder=0.5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("best F1 of random sets, same size and y (mean)")
    axes.set_ylabel("best F1 of the cluster")


def _table(axes: Axes, theme: Theme, rows: Sequence[MatchedRow]) -> None:
    """The best matches, one line each."""
    bare(axes)
    height = 1.0 / (len(rows) + 1.5)

    def line(place: int, texts: Sequence[str], colour: str) -> None:
        for index, (at, text) in enumerate(zip(COLUMNS, texts, strict=True)):
            axes.text(
                at, 1.0 - height * (place + 0.5), text, va="center", size=SMALL, color=colour,
                family=MONO if index in (1, 2) and place else None,
            )  # fmt: skip

    line(0, ("cluster", "most common y", "feature", "F1", "precision", "recall", "AUC"), theme.soft)
    for place, row in enumerate(rows, 1):
        numbers = [number(each) for each in (row.f1, row.precision, row.recall, row.auc)]
        words = (f"#{row.cluster}", shortened(printed(row.tops), 42), row.feature, *numbers)
        line(place, words, theme.ink)
