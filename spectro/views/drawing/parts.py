"""Pieces that several figures are made of: profiles, contexts, colour bars, sentences of help.

Shapes: H components.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from spectro.analysis.component_grid import blocks, grid, is_mlp
from spectro.tokens.display.context_text import TokenInContext
from spectro.views.drawing.text import (
    joined,
    printed,
    shortened,
    shortened_before,
    width_points,
)
from spectro.views.drawing.theme import MONO, SMALL, Theme

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
MOST_BARS = 64
"""More components than this are drawn as tiles, layers × heads."""
MOST_ROW_NAMES = 7
"""Layers that are named beside tiles."""
MOST_BLOCK_NAMES = 16
"""Layers that are named below bars or dots."""
SHORT_NAMES = {"embed": "emb", "unembed": "un", "final_norm": "norm"}
"""Components outside all layers, as axes name them."""
MOST_SUBDIVIDED = 500
"""Largest over smallest number of a logarithmic axis that has numbers between powers of ten."""
BLOCK_GAP = 0.8
"""Room between layers, in bars."""
_LETTERS_PER_INCH = 21
"""Of running text at `SMALL`; for breaking lines."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, its parts laid out without overlap."""
    return Figure(figsize=(width, height), layout="constrained")


def require_room(found: int, most: int, what: str, instead: str) -> None:
    """Raise ValueError, in one line, for more than a page has room for."""
    if found > most:
        raise ValueError(f"a figure has room for {most} {what}, found {found}: {instead}")


def head(figure: Figure, theme: Theme, title: str, sentence: str) -> None:
    """Title and one sentence of help above all else."""
    width, height = figure.get_size_inches().tolist()
    lines = textwrap.wrap(sentence, int(width * _LETTERS_PER_INCH))
    left = 0.08 / width
    placed = {} if figure.get_layout_engine() is not None else {"y": 1 - 0.07 / height}
    blank = "\n" * len(lines)  # the layout keeps room for the sentence
    figure.suptitle(title + blank, x=left, ha="left", color=theme.ink, linespacing=1.5, **placed)
    figure.text(
        left, 1 - 0.30 / height, "\n".join(lines), ha="left", va="top", size=SMALL,
        color=theme.soft, linespacing=1.35,
    )  # fmt: skip


def limits(values: Floats, least: float = 1e-12) -> TwoSlopeNorm:
    """Symmetric limits about zero of the finite values."""
    finite = np.abs(values[np.isfinite(values)])
    largest = max(float(finite.max(initial=0.0)), least)
    return TwoSlopeNorm(vcenter=0.0, vmin=-largest, vmax=largest)


def block_axis(axes: Axes, components: Sequence[str], *, labels: bool = True) -> Floats:
    """Layers along the x axis, named where there is room; the place of every component, [H]."""
    at = 0.0
    ticks, names, place_H = [], [], np.zeros(len(components))
    for block in blocks(components):
        places = at + np.arange(len(block.columns))
        place_H[list(block.columns)] = places
        ticks.append(float(places.mean()))
        names.append(SHORT_NAMES.get(block.name, block.name))
        at = float(places[-1]) + 1.0 + BLOCK_GAP
    named = range(0, len(names), math.ceil(len(names) / MOST_BLOCK_NAMES) or 1)
    axes.set_xlim(-0.8, max(at - BLOCK_GAP, 0.9))
    axes.set_xticks([ticks[i] for i in named], [names[i] if labels else "" for i in named])
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    return place_H


def bars(
    axes: Axes,
    theme: Theme,
    components: Sequence[str],
    value_H: Floats,
    half_width_H: Floats | None = None,
    *,
    labels: bool = True,
) -> None:
    """A bar for each component, block by block, with its interval; MLPs paler; NaN leaves a gap."""
    place_H = block_axis(axes, components, labels=labels)
    heights = np.nan_to_num(value_H)
    colours = [
        to_rgba(theme.sign(float(value)), 0.55 if is_mlp(name) else 1.0)
        for name, value in zip(components, value_H, strict=True)
    ]
    axes.bar(place_H, heights, 0.84, color=colours, linewidth=0)
    if half_width_H is not None:
        known = np.isfinite(half_width_H)
        axes.errorbar(
            place_H[known], heights[known], yerr=half_width_H[known], ecolor=theme.ink,
            elinewidth=0.7, capsize=0, fmt="none",
        )  # fmt: skip
    axes.axhline(0.0, color=theme.strong_line, linewidth=0.6, zorder=0.5)


def tiles(
    axes: Axes,
    theme: Theme,
    components: Sequence[str],
    value_H: Floats,
    norm: TwoSlopeNorm,
    half_width_H: Floats | None = None,
) -> None:
    """Layers from above, heads from the left, then MLPs; a dot where the interval excludes 0."""
    laid = grid(components)
    axes.imshow(
        laid.table(value_H), cmap=theme.diverging, norm=norm, aspect="auto", interpolation="none"
    )
    if half_width_H is not None:
        with np.errstate(invalid="ignore"):
            beyond = np.abs(value_H) > half_width_H
        dots(axes, theme, laid.column_H[beyond], laid.row_H[beyond], 1.5)
    down = range(0, len(laid.rows), math.ceil(len(laid.rows) / MOST_ROW_NAMES))
    axes.set_yticks(down, [laid.rows[i] for i in down])
    step = max(1, len(laid.columns) // 8)
    shown = [i for i, name in enumerate(laid.columns) if i % step == 0 or name == "mlp"]
    axes.set_xticks(shown, [laid.columns[i] for i in shown])
    axes.set_xlabel(f"full colour at ±{norm.vmax:.2g}", size=SMALL - 1)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def dots(axes: Axes, theme: Theme, x: Ints, y: Ints, size: float) -> None:
    """Marks on cells whose interval excludes 0."""
    axes.plot(x, y, ".", color=theme.ink, markersize=size, markeredgewidth=0, alpha=0.75, zorder=3)


def profile(axes: Axes, theme: Theme, components: Sequence[str], value_H: Floats) -> None:
    """Bars where there is room for them, else tiles."""
    if len(components) <= MOST_BARS:
        bars(axes, theme, components, value_H)
    else:
        tiles(axes, theme, components, value_H, limits(np.asarray(value_H)))


def context_line(
    axes: Axes,
    theme: Theme,
    lit: TokenInContext,
    at: tuple[float, float],
    room: tuple[int, int, int],
    size: float = SMALL,
) -> None:
    """One token in its context: y lit, what is before it to the left, what follows to the right.

    Args:
        axes: where; `at` is in its coordinates, the left edge and the middle height of y.
        theme: colours.
        lit: the token.
        at: where.
        room: letters before y, of y, and after it.
        size: of type, in points.
    """
    before = shortened_before(joined(lit.before), room[0])
    y = shortened(printed(lit.y), room[1])
    after = shortened(joined(lit.after), room[2])
    common: dict[str, Any] = {
        "family": MONO, "size": size, "va": "center", "annotation_clip": False,
        "textcoords": "offset points", "in_layout": False,
    }  # fmt: skip
    box = {"facecolor": theme.lit, "edgecolor": "none", "pad": 1.0}
    axes.annotate(before, at, (-1.5, 0), ha="right", color=theme.soft, **common)
    axes.annotate(y, at, (0, 0), ha="left", color=theme.lit_ink, bbox=box, **common)
    move = width_points(y, size) + 1.5
    axes.annotate(after, at, (move, 0), ha="left", color=theme.mute, **common)


def plain_logarithms(axes: Axes, form: str = "{x:,.0f}") -> None:
    """Numbers at logarithmic axes as plain text: powers would be formulas, which are off.

    Called once the data are drawn: an axis to the base 10 with few powers has 2 and 5 times them
    too, so that it is never without two numbers.
    """
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if getattr(axis.get_transform(), "base", None) == 10 and high < MOST_SUBDIVIDED * low:
            axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter(form))
        axis.set_minor_formatter(NullFormatter())


def counted_names(names: Sequence[str], count_R: Ints, most: int) -> list[str]:
    """Names of sets, each with its number of tokens, the numbers below each other."""
    counts = [f"{count:,}" for count in count_R.tolist()]
    wide = max(map(len, counts), default=0)
    return [
        f"{shortened(printed(name), most)}  {count:>{wide}}"
        for name, count in zip(names, counts, strict=True)
    ]


def reliability_words(reliability: float) -> str:
    """The reliability of a column, as it follows the column's name; nothing where not known."""
    return f" (reliability {number(reliability)})" if np.isfinite(reliability) else ""


def bare(axes: Axes) -> None:
    """No axis, no frame: a place for words."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def nothing(axes: Axes, theme: Theme, sentence: str) -> None:
    """What is said where there is nothing to draw."""
    bare(axes)
    axes.text(0.5, 0.5, sentence, ha="center", va="center", color=theme.mute)


def number(value: float, form: str = ".2f") -> str:
    """A number with a real minus sign; a dash where there is none."""
    return "–" if not np.isfinite(value) else format(value, form).replace("-", "−")
