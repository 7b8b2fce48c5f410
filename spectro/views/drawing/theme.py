"""Light and dark, and what all figures share: colours, fonts, sizes.

The colours are those of the page (`viewer/common/base.css`), read from it so that they are in one
place: eight for subsets, far apart in every kind of colour vision (ADR 032), and blue below
zero, orange above. A function that draws is wrapped by `themed`; nothing touches pyplot or
matplotlib's global state beyond the call, and a user's matplotlibrc changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from importlib.resources import files
from typing import Any, Concatenate, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.colors import Colormap, LinearSegmentedColormap

from spectro.views.config import THEMES

D = TypeVar("D")
R = TypeVar("R")
P = ParamSpec("P")

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"
"""Shipped with matplotlib: the same on every machine."""
NARROW, WIDE = 3.4, 7.0
"""Width of one column and of a page, in inches."""
SMALL, NORMAL, LARGE = 6.5, 7.5, 9.0
"""Sizes of type, in points."""
NUM_SUBSET_COLOURS = 8
SALT = "spectro"
"""SVG ids are hashes with this salt: the same figure has the same ids."""


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours by their names in the page's style."""

    name: str
    """`light` or `dark`."""
    raised: str
    """Background of a figure."""
    sunk: str
    """Background of what is not measured."""
    line: str
    """Grids."""
    strong_line: str
    """Axes."""
    ink: str
    """Titles and what is read first."""
    soft: str
    """Running text."""
    mute: str
    """Numbers at axes."""
    dot: str
    """Tokens in no cluster."""
    accent: str
    """What is pointed at."""
    lit: str
    """Behind the y token."""
    lit_ink: str
    """The y token."""
    real: str
    """The run."""
    control: str
    """Its control."""
    negative: str
    """χ below zero: expression."""
    positive: str
    """χ above zero: suppression."""
    subsets: tuple[str, ...]
    """Eight colours for what has no order."""

    def colour(self, index: int) -> str:
        """Of the subset with this index; from the ninth on they repeat."""
        return self.subsets[index % NUM_SUBSET_COLOURS]

    def marker(self, index: int) -> str:
        """A disc for the first eight, a diamond for the next."""
        return "o" if index < NUM_SUBSET_COLOURS else "D"

    def sign(self, value: float) -> str:
        """Colour of a value by its sign; NaN is mute."""
        return self.mute if value != value else self.negative if value < 0 else self.positive

    @property
    def diverging(self) -> Colormap:
        """From `negative` over the background to `positive`; NaN is `sunk`."""
        made = LinearSegmentedColormap.from_list(
            f"spectro-{self.name}", [self.negative, self.raised, self.positive]
        )
        return made.with_extremes(bad=self.sunk)


@cache
def theme(name: str) -> Theme:
    """The theme of a name; ValueError for one that there is not."""
    if name not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, found {name!r}")
    style = (files("spectro.views") / "viewer" / "common" / "base.css").read_text(encoding="utf-8")
    block = style.split("}")[THEMES.index(name)]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    subsets = tuple(found[f"s{index}"] for index in range(NUM_SUBSET_COLOURS))
    names = [field for field in Theme.__dataclass_fields__ if field not in ("name", "subsets")]
    return Theme(name=name, subsets=subsets, **{f: found[f.replace("_", "-")] for f in names})


@contextmanager
def style(chosen: Theme) -> Iterator[None]:
    """matplotlib's defaults with ours, for the time of the block."""
    with matplotlib.style.context(["default", _settings(chosen)]):
        yield


def themed(
    draw: Callable[Concatenate[D, Theme, P], R],
) -> Callable[Concatenate[D, Theme, P], R]:
    """A drawing function of (data, theme, …) that runs in its theme's style."""

    @wraps(draw)
    def inside(data: D, theme: Theme, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with style(theme):
            return draw(data, theme, *args, **kwargs)

    return inside


def _settings(chosen: Theme) -> dict[str, Any]:
    return {
        "figure.facecolor": chosen.raised,
        "savefig.facecolor": chosen.raised,
        "axes.facecolor": chosen.raised,
        "axes.edgecolor": chosen.strong_line,
        "axes.labelcolor": chosen.soft,
        "axes.titlecolor": chosen.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": NORMAL,
        "axes.titleweight": "bold",
        "axes.labelsize": NORMAL,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "font.family": [SANS],
        "font.monospace": [MONO],
        "font.size": NORMAL,
        "figure.titlesize": LARGE,
        "figure.titleweight": "bold",
        "grid.color": chosen.line,
        "grid.linewidth": 0.5,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "legend.labelcolor": chosen.soft,
        "lines.linewidth": 1.0,
        "patch.linewidth": 0.6,
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
        "svg.fonttype": "path",
        "svg.hashsalt": SALT,
        "text.color": chosen.ink,
        "text.parse_math": False,
        "text.usetex": False,
        "xtick.color": chosen.strong_line,
        "xtick.labelcolor": chosen.mute,
        "xtick.labelsize": SMALL,
        "xtick.major.size": 2.5,
        "xtick.major.width": 0.6,
        "ytick.color": chosen.strong_line,
        "ytick.labelcolor": chosen.mute,
        "ytick.labelsize": SMALL,
        "ytick.major.size": 2.5,
        "ytick.major.width": 0.6,
    }
