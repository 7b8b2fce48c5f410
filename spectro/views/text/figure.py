"""The coloured text as a figure: lines of a font of one width, a band per component under each.

Shapes as in document.py; B bands.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from spectro.views.config import ColourScale
from spectro.views.drawing.theme import MONO, NARROW, SMALL, WIDE, Theme, style
from spectro.views.text.colours import PAIRS, WORDS, Colours
from spectro.views.text.document import Document
from spectro.views.text.lines import TextPiece, lay_out
from spectro.views.text.scales import limits, values

POINTS_PER_INCH = 72.0
CELL = 0.602
"""Width of a character of the font, as a share of its size."""
PROPORTIONAL = 0.54
"""About the width of a letter of running text, as a share of its size."""
BAND, GAP, TEXT, BETWEEN = 3.2, 0.8, 8.0, 4.5
"""Heights in points: a band, what is between two, a line of text, what is below a line."""
MARGIN, HEAD, KEY = 10.0, 15.0, 11.0
"""Points: around all, of the title, of a line of the key or of help."""
MAX_LINES = 150
"""Lines of text that a figure holds; what is left out is said."""
NUM_SHADES = 33
_NAMES = {
    ColourScale.STANDARDISED: "standardised χ",
    ColourScale.CENTRED: "row-centred χ",
    ColourScale.RAW: "χ",
}


def figure(
    document: Document,
    theme: Theme,
    *,
    scale: ColourScale = ColourScale.STANDARDISED,
    colours: Colours = Colours.GREEN_RED,
    width_inches: float = WIDE,
) -> Figure:
    """The text with the bands that are shown first.

    Args:
        document: what is shown.
        theme: light or dark.
        scale: what is coloured.
        colours: in which pair of colours.
        width_inches: of the figure; its height follows from the text.

    Raises ValueError for a scale that the text does not have.
    """
    with style(theme):
        return _drawn(document, theme, scale, colours, max(NARROW / 2, width_inches))


def _drawn(
    document: Document, theme: Theme, scale: ColourScale, colours: Colours, width_inches: float
) -> Figure:
    width = width_inches * POINTS_PER_INCH
    pieces = _pieces(document, int((width - 2 * MARGIN) / (CELL * SMALL)))
    num_lines = 1 + max(piece.line for piece in pieces)
    pieces = [piece for piece in pieces if piece.line < MAX_LINES]
    num_bands = len(document.shown)
    help_lines = _help(colours, int((width - 2 * MARGIN) / (PROPORTIONAL * SMALL)))
    top = MARGIN + HEAD + KEY * (len(help_lines) + num_bands) + BETWEEN
    height = top + (1 + max(piece.line for piece in pieces)) * _pitch(num_bands) + MARGIN
    made = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
    axes = made.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0.0, width), ylim=(height, 0.0))
    axes.set_axis_off()
    shades = _shades(theme, colours)
    _head(axes, document, theme, scale, colours, help_lines, left_out=num_lines - MAX_LINES)
    _text(axes, document, theme, pieces, top)
    share_NC = values(document, scale) / limits(document, scale)
    for band, column in enumerate(document.shown):
        below = top + TEXT + band * (BAND + GAP)
        _band(axes, pieces, share_NC[:, column], shades, below, _pitch(num_bands))
    return made


def _pieces(document: Document, width: int) -> list[TextPiece]:
    """Tokens in lines."""
    return lay_out(document.shown_N, max(1, width))


def _pitch(num_bands: int) -> float:
    """From line to line."""
    return TEXT + num_bands * (BAND + GAP) + BETWEEN


def _help(colours: Colours, letters: int) -> list[str]:
    """What bands and colours are, in lines of so many letters."""
    above, below = WORDS[colours]
    return textwrap.wrap(
        "Bands under each token, in the order of the key: its χ at a component. Below zero "
        f"({below}) the component expresses the token, above zero ({above}) it suppresses it.",
        max(20, letters),
    )


def _shades(theme: Theme, colours: Colours) -> Colormap:
    """From below zero (0) to above (1); what is not known is not painted."""
    pair = PAIRS[colours][theme.name]
    name = f"spectro-{colours.value}-{theme.name}"
    made = LinearSegmentedColormap.from_list(name, [pair.negative, theme.sunk, pair.positive])
    return made.with_extremes(bad=(0.0, 0.0, 0.0, 0.0))


def _head(
    axes: Axes,
    document: Document,
    theme: Theme,
    scale: ColourScale,
    colours: Colours,
    help_lines: Sequence[str],
    *,
    left_out: int,
) -> None:
    """Title, a line of help, and for each band its component, colours and reliability."""
    note = f" (the first {MAX_LINES} lines; {left_out} more are left out)" if left_out > 0 else ""
    axes.text(MARGIN, MARGIN, document.title + note, va="top", weight="bold", parse_math=False)
    shades = _shades(theme, colours)
    for row, line in enumerate(help_lines):
        _words(axes, MARGIN, MARGIN + HEAD + KEY * row, line, theme.soft)
    for band, column in enumerate(document.shown):
        y = MARGIN + HEAD + KEY * (len(help_lines) + band)
        bound = f"{limits(document, scale)[column]:.3g}"
        reliability = document.columns.reliability_C[column]
        known = f", reliability {reliability:.2f}" if np.isfinite(reliability) else ""
        _words(axes, MARGIN, y, document.components[column], theme.ink, family=MONO)
        _words(axes, 105.0, y, f"−{bound}", theme.soft, ha="right")
        _ramp(axes, 110.0, y - 1.0, 90.0, shades)
        words = f"+{bound}   {_NAMES[scale]}{known}"
        _words(axes, 205.0, y, words, theme.soft)


def _words(axes: Axes, x: float, y: float, text: str, colour: str, **kwargs: Any) -> None:
    axes.text(x, y + 3.5, text, fontsize=SMALL, color=colour, va="baseline", parse_math=False,
              **kwargs)  # fmt: skip


def _ramp(axes: Axes, x: float, y: float, width: float, shades: Colormap) -> None:
    """All shades from the strongest below zero to the strongest above."""
    edges = x + np.linspace(0.0, width, NUM_SHADES + 1)
    boxes = [_box(left, y, right - left, 4.5) for left, right in pairwise(edges.tolist())]
    colours = shades(np.linspace(0.0, 1.0, NUM_SHADES))
    axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="none"))


def _text(
    axes: Axes, document: Document, theme: Theme, pieces: Sequence[TextPiece], top: float
) -> None:
    """The tokens, and a stroke after the last one that a context predicts, and the next begins."""
    pitch = _pitch(len(document.shown))
    known_N = np.isfinite(document.loss_N)
    ends = {piece.token: piece for piece in pieces}  # the last part of each
    for token in document.starts[1:]:
        if token in ends:
            end = ends[token]
            x = MARGIN + (end.cell + end.width) * CELL * SMALL - 0.5
            y = top + end.line * pitch
            axes.plot([x, x], [y, y + TEXT], color=theme.accent, linewidth=0.8)
    for piece in pieces:
        axes.text(
            MARGIN + piece.cell * CELL * SMALL, top + piece.line * pitch + TEXT - 2.0, piece.text,
            fontsize=SMALL, family=MONO, va="baseline", parse_math=False,
            color=theme.ink if known_N[piece.token] else theme.mute,
        )  # fmt: skip


def _band(
    axes: Axes,
    pieces: Sequence[TextPiece],
    share_N: npt.NDArray[np.floating],
    shades: Colormap,
    top: float,
    pitch: float,
) -> None:
    """A component's colours under all lines; tokens of unknown value have none.

    `share_N` is the value as a share of the limit: −1 and 1 are the strongest colours.
    """
    known = [piece for piece in pieces if np.isfinite(share_N[piece.token])]
    boxes = [
        _box(MARGIN + piece.cell * CELL * SMALL, top + piece.line * pitch,
             max(0.5, piece.width * CELL * SMALL - 0.5), BAND)
        for piece in known
    ]  # fmt: skip
    colours = shades(0.5 + share_N[[piece.token for piece in known]] / 2)
    axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="none"))


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
