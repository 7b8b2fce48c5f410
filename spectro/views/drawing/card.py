"""The card of one cluster: what it is made of, its profile, random tokens in their contexts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.tokens.display.context_text import TokenInContext
from spectro.views.drawing.parts import (
    bare,
    context_line,
    head,
    new_figure,
    nothing,
    number,
    profile,
)
from spectro.views.drawing.text import printed, shortened
from spectro.views.drawing.theme import MONO, SMALL, WIDE, Theme, themed

HELP = (
    "One cluster: the mean standardised χ of its tokens at every component (below zero: "
    "expression), its most common tokens and subsets, and random members, y lit."
)
HELP_FEATURES = (
    "its best features: F1 for membership where they are active (top: among their strongest "
    "tokens), AUC of the activation."
)
MOST_TOKENS = 8
MOST_SUBSETS = 8
LINE_INCHES = 0.185


@dataclass(frozen=True, kw_only=True)
class CardData:
    """One cluster."""

    cluster_id: int
    """Its id."""
    name: str
    """In the display alphabet; empty where it has none."""
    source: str
    """Where the name is from: `rule`, `file` or nothing."""
    name_f1: float
    """F1 of the name by a rule on held-out sequences."""
    size: int
    """Members."""
    conductance: float
    """Share of the edge weight that leads out; NaN if unknown."""
    stability: float
    """NaN where it is not known."""
    purity: float
    """Share of the most common subset."""
    top_tokens: tuple[tuple[str, int], ...]
    """Most common y in the display alphabet, and how often."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""
    subset_counts_P: NDArray[np.integer]
    """Members from each."""
    components: tuple[str, ...]
    """Names of the columns."""
    mean_chi_H: NDArray[np.floating]
    """Mean standardised χ of the members."""
    contexts: tuple[TokenInContext, ...]
    """Random members."""
    features: tuple[tuple[str, float, float], ...] = ()
    """Best features of an autoencoder, best first: number and level, F1, AUC."""
    features_of: str = ""
    """Autoencoder and hook; empty where clusters are not matched to features."""


@themed
def figure(data: CardData, theme: Theme) -> Figure:
    """Numbers, tokens, subsets and features beside the profile; contexts below."""
    lines = max(1, len(data.contexts))
    of_features = LINE_INCHES * (max(1, len(data.features)) + 1.5) if data.features_of else 0.0
    made = new_figure(WIDE, 0.75 + 1.75 + of_features + LINE_INCHES * (lines + 0.5))
    facts = (
        f"{data.size:,} tokens · conductance {number(data.conductance, '.3f')} · stability "
        f"{number(data.stability)} · {number(data.purity, '.0%')} of one subset"
    )
    named = shortened(printed(data.features_of), 100)
    more = f" {named}: {HELP_FEATURES}" if named else ""
    head(made, theme, f"Cluster {data.cluster_id}: {facts}", f"{_named(data)}{HELP}{more}")
    rows = [1.75, *([of_features] if data.features_of else []), LINE_INCHES * lines]
    grid = made.add_gridspec(len(rows), 3, width_ratios=[1, 1, 1.9], height_ratios=rows)
    _tokens(made.add_subplot(grid[0, 0]), theme, data)
    _subsets(made.add_subplot(grid[0, 1]), theme, data)
    if data.features_of:
        _features(made.add_subplot(grid[1, :2]), theme, data)
    axes = made.add_subplot(grid[:-1, 2])
    axes.set_title("Mean standardised χ")
    profile(axes, theme, data.components, data.mean_chi_H)
    _contexts(made.add_subplot(grid[-1, :]), theme, data)
    return made


def _named(data: CardData) -> str:
    """The name and where it is from, as a sentence."""
    if not data.name:
        return ""
    by = "from a file" if data.source == "file" else f"F1 {number(data.name_f1)} on held-out text"
    return f"Name: {shortened(printed(data.name), 90)} ({by}). "


def _tokens(axes: Axes, theme: Theme, data: CardData) -> None:
    shown = data.top_tokens[:MOST_TOKENS]
    axes.set_title("Most common y")
    names = [shortened(printed(token), 14) for token, _ in shown]
    _counts(axes, theme, names, [count for _, count in shown], [theme.real] * len(shown), MONO)


def _subsets(axes: Axes, theme: Theme, data: CardData) -> None:
    order = np.argsort(-np.asarray(data.subset_counts_P), kind="stable")[:MOST_SUBSETS]
    order = order[np.asarray(data.subset_counts_P)[order] > 0]
    axes.set_title("Subsets")
    names = [shortened(data.subset_names[index], 18) for index in order]
    counts = [int(data.subset_counts_P[index]) for index in order]
    _counts(axes, theme, names, counts, [theme.colour(int(index)) for index in order], None)


def _features(axes: Axes, theme: Theme, data: CardData) -> None:
    """F1 as bars from 0 to 1, the best on top."""
    axes.set_title("Best features")
    if not data.features:
        nothing(axes, theme, "none is active on its tokens")
        return
    place = range(len(data.features))
    axes.barh(place, [f1 for _, f1, _ in data.features], 0.72, color=theme.real, linewidth=0)
    for at, (_, f1, auc) in zip(place, data.features, strict=True):
        axes.annotate(
            f"F1 {number(f1)}, AUC {number(auc)}", (f1, at), (2, 0), textcoords="offset points",
            va="center", size=SMALL - 1, color=theme.mute,
        )  # fmt: skip
    names = [text for text, _, _ in data.features]
    axes.set_yticks(place, names, size=SMALL, color=theme.ink)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.3)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _counts(
    axes: Axes,
    theme: Theme,
    names: list[str],
    counts: list[int],
    colours: list[str],
    family: str | None,
) -> None:
    """Names and counts as horizontal bars, the first on top."""
    if not names:
        nothing(axes, theme, "none")
        return
    place = range(len(names))
    axes.barh(place, counts, 0.72, color=colours, linewidth=0)
    for at, count in zip(place, counts, strict=True):
        axes.annotate(
            f"{count:,}", (count, at), (2, 0), textcoords="offset points", va="center",
            size=SMALL - 1, color=theme.mute,
        )  # fmt: skip
    axes.set_yticks(place, names, family=family, size=SMALL, color=theme.ink)
    axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axes.set_xlim(0, max(counts) * 1.22 or 1)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _contexts(axes: Axes, theme: Theme, data: CardData) -> None:
    if not data.contexts:
        nothing(axes, theme, "no contexts")
        return
    bare(axes)
    lines = len(data.contexts)
    for row, lit in enumerate(data.contexts):
        height = 1 - (row + 0.5) / lines
        axes.plot(
            0.006, height, theme.marker(lit.subset), color=theme.colour(lit.subset), markersize=3
        )
        context_line(axes, theme, lit, (0.56, height), (66, 20, 32), SMALL - 0.3)
