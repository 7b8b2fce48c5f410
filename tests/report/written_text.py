"""The texts of a figure: whether they are drawn, cover each other, or leave the figure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import Theme

SAVED_DPI = 200
"""As files have it: at fewer dots letters are rounded to be wider."""
TOLERANCE = 2.0
"""Pixels: boxes of letters have a margin for accents and descenders that most text does not use."""


def require_drawn(made: Figure, theme: Theme) -> None:
    """By Agg, which has no mercy with glyphs; letters are never formulas."""
    written = [text for text in made.findobj(Text) if text.get_text()]
    assert written and not any(t.get_parse_math() or t.get_usetex() for t in written)
    assert to_bytes(made, ".png", theme).startswith(b"\x89PNG")


def boxes(made: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, with its box in pixels, less `TOLERANCE` at each side."""
    made.set_dpi(SAVED_DPI)
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden = {id(text) for axes in made.axes for text in _not_drawn(axes)}
    found = []
    for text in made.findobj(Text):
        words = text.get_text()
        if words.strip() and text.get_visible() and id(text) not in hidden:
            box = _inked(text.get_window_extent(renderer), words)
            if min(box.width, box.height) > 2 * TOLERANCE:
                found.append((words.rstrip(), box.padded(-TOLERANCE)))
    return found


def covered(made: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that are over each other."""
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes(made), 2)
        if Bbox.intersection(a, b) is not None
    ]


def outside(made: Figure) -> list[str]:
    """Texts that the edge of the figure cuts."""
    width, height = made.canvas.get_width_height()
    return [
        words
        for words, box in boxes(made)
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height
    ]


def _inked(box: Bbox, words: str) -> Bbox:
    """Without the empty lines at the end, by which a title keeps room for what is below it."""
    share = len(words.rstrip("\n").split("\n")) / len(words.split("\n"))
    return Bbox.from_extents(box.x0, box.y1 - share * box.height, box.x1, box.y1)


def _not_drawn(axes: Axes) -> Iterator[Text]:
    """Labels of ticks outside the limits, and all of them where the axes are off."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not axes.axison or not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)
        if not axes.axison:
            yield from (axis.label, axis.get_offset_text())
