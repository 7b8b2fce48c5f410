"""Figures of chains: a small picture of ΔL for every component, and reliability against draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from spectro.analysis.chain_diagnosis import Diagnosis
from spectro.views.drawing.parts import head
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

COLUMNS = 4
"""Small pictures in a row."""
ROW_INCHES = 1.25
TITLE_INCHES = 0.75
TRACES_HELP = (
    "ΔL of every draw, nats, a colour for each chain; above each picture the verdict. Chains "
    "(lines) should rise, level off soon and agree; independent draws (dots) have no order."
)
CURVES_HELP = (
    "Correlation over tokens of two estimates of a component's χ from so many draws each: dots are "
    "measured on halves of the chains, lines predicted from them (Spearman and Brown). The least "
    "reliable components are named."
)
FACTORS = np.geomspace(0.25, 8, 41)
"""Multiples of the run's draws for which reliability is predicted."""
LABELLED = 6
"""Components that are named in the picture of reliability, the least reliable ones."""


@themed
def loss_traces(
    diagnoses: Sequence[Diagnosis], chosen: Theme, *, num_all: int | None = None
) -> Figure:
    """ΔL of every draw, a picture per component, its chains one over another; the verdict above.

    Where only some of `num_all` components are given, the picture says so.
    """
    rows = max(1, math.ceil(len(diagnoses) / COLUMNS))
    height = TITLE_INCHES + ROW_INCHES * rows
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    head(figure, chosen, "Loss traces: ΔL of every draw", TRACES_HELP)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).reshape(-1)
    for axes, diagnosis in zip(grid, diagnoses, strict=False):
        _small(axes, diagnosis, chosen)
    for axes in grid[len(diagnoses) :]:
        axes.set_axis_off()
    if len(diagnoses):
        for axes in grid[max(0, len(diagnoses) - COLUMNS) : len(diagnoses)]:
            axes.set_xlabel("draw")
    if num_all is not None and num_all > len(diagnoses):
        few = f"{len(diagnoses)} of {num_all} components, the worst verdicts first"
        figure.supxlabel(few, x=0.01, ha="left", size=SMALL, color=chosen.soft)
    return figure


@themed
def reliability_curves(diagnoses: Sequence[Diagnosis], chosen: Theme) -> Figure:
    """Reliability of columns against draws: dots are measured, lines predicted from them.

    Of columns as clusters see them (row-centred) where that is known, filled dots; else raw, hollow
    ones. Columns whose halves do not agree at all are counted, not drawn.
    """
    known = [d for d in diagnoses if d.traces.known_reliability > 0]
    known.sort(key=lambda diagnosis: diagnosis.traces.known_reliability)
    figure = Figure(figsize=(WIDE, 3.4), layout="constrained")
    sentence = f"{CURVES_HELP} {_kinds(known)}" if known else CURVES_HELP
    head(figure, chosen, "Reliability of χ against the number of draws", sentence)
    axes = figure.subplots()
    axes.set_xlabel("draws")
    axes.set_ylabel("reliability")
    axes.set_ylim(0, 1.02)
    axes.grid(visible=True)
    for rank, diagnosis in reversed(list(enumerate(known))):
        _curve(axes, diagnosis, rank, chosen)
    if known:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        _legend(figure, axes, len(known), chosen)
    else:
        axes.text(0.5, 0.5, "no reliability is known", transform=axes.transAxes, ha="center")
    below = sum(d.traces.known_reliability <= 0 for d in diagnoses)
    if below:
        words = f"not drawn: {below} whose halves do not agree (r ≤ 0)"
        axes.text(
            0.01, 0.02, words, transform=axes.transAxes, fontsize=SMALL, color=chosen.positive
        )
    return figure


def _small(axes: Axes, diagnosis: Diagnosis, chosen: Theme) -> None:
    traces, verdict = diagnosis.traces, diagnosis.verdict
    for index, trace in enumerate(traces.delta_loss):
        form = "." if traces.independent else "-"
        seen = np.where(np.isfinite(trace), trace, np.nan)
        axes.plot(np.arange(len(trace)), seen, form, color=chosen.colour(index), markersize=3)
    axes.axhline(0.0, color=chosen.strong_line, linewidth=0.6, zorder=0)
    axes.set_title(traces.name, pad=11)
    caption = "independent draws" if traces.independent and verdict.is_good else str(verdict)
    colour = chosen.mute if verdict.is_good else chosen.positive
    axes.text(0, 1.03, caption, transform=axes.transAxes, fontsize=SMALL, color=colour)
    axes.margins(y=0.12)
    axes.locator_params(axis="y", nbins=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))


def _kinds(known: Sequence[Diagnosis]) -> str:
    """Which reliability the dots are of."""
    centred = [diagnosis.traces.is_centred for diagnosis in known]
    if all(centred):
        return "All of row-centred χ."
    return "Filled: row-centred χ, hollow: raw χ." if any(centred) else "All of raw χ."


def _legend(figure: Figure, axes: Axes, num_known: int, chosen: Theme) -> None:
    """Beside the panel, the least reliable component last, as its curve is lowest."""
    handles, names = axes.get_legend_handles_labels()
    if num_known > LABELLED:
        grey = Line2D([], [], color=chosen.strong_line, linestyle="--", linewidth=0.8)
        handles, names = [grey, *handles], [f"{num_known - LABELLED} others", *names]
    figure.legend(handles, names, loc="outside right center")


def _curve(axes: Axes, diagnosis: Diagnosis, rank: int, chosen: Theme) -> None:
    """Of a column as clusters see it (row-centred) where known, filled; else raw, hollow."""
    traces = diagnosis.traces
    half, centred = traces.draws_of_token * traces.half_share, traces.is_centred
    colour = chosen.colour(rank) if rank < LABELLED else chosen.strong_line
    predicted = [traces.predicted(traces.known_reliability, factor) for factor in FACTORS]
    label = traces.name if rank < LABELLED else None
    draws = traces.draws_of_token * FACTORS
    axes.plot(draws, predicted, color=colour, linestyle="--", linewidth=0.8, label=label)
    splits = traces.split_reliability or (traces.reliability,)
    measured = (traces.centred_reliability,) if centred else splits
    fill = colour if centred else chosen.raised
    axes.plot(
        [half] * len(measured), measured, "o", color=colour, markersize=3, markerfacecolor=fill
    )
