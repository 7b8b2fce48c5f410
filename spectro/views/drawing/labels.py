"""Names beside marks, none of them over another name or a mark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spectro.views.drawing.text import width_points
from spectro.views.drawing.theme import MONO, SMALL, Theme

Box = tuple[float, float, float, float]
"""Left, lower, right and upper edge."""
SIZE = SMALL - 1
"""Of names, in points."""
HALF_HEIGHT = 0.55 * SIZE
"""Of a name, in points."""
MARK = 2.0
"""Half the width of a mark that no name may cover, in points."""
CLEAR = 3.5
"""From a mark to its name, in points."""
LINE = 1.27 * SIZE
"""From one name at the end of a line to the next, in points."""
AWAY = 10.0
"""From the end of a line to its name, in points."""
_POINTS_PER_INCH = 72.0


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes have more than an edge in common."""
    return a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1]


def name_marks(
    axes: Axes,
    theme: Theme,
    names: Sequence[str],
    xy_n2: NDArray[np.floating],
    wanted: Iterable[int],
    line_m2: NDArray[np.floating] | None = None,
) -> None:
    """Name some marks, each at the first side (right, left, above, below) that is free.

    A name that has no room is left out. The figure has to be laid out (`draw_without_rendering`),
    since its layout decides where marks are; names do not change it.

    Args:
        axes: with all marks, its limits final.
        theme: colours.
        names: of the n marks.
        xy_n2: their places, in the data's coordinates; rows of NaN are no marks.
        wanted: indices of the marks to name, most important first.
        line_m2: points of a line that names should not cover either.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = _POINTS_PER_INCH / figure.dpi
    at_n2 = axes.transData.transform(xy_n2) * scale
    solid_m2 = (
        at_n2 if line_m2 is None else np.vstack([at_n2, axes.transData.transform(line_m2) * scale])
    )
    solid_m2 = solid_m2[np.isfinite(solid_m2).all(axis=1)]
    x0, y0, x1, y1 = (edge * scale for edge in axes.bbox.extents)
    taken: list[Box] = []
    for index in wanted:
        for dx, dy, align in _sides():
            box = _box(at_n2[index] + (dx, dy), names[index], align)
            inside = box[0] >= x0 and box[2] <= x1 and box[1] >= y0 and box[3] <= y1
            if inside and not _covers(box, solid_m2) and not any(overlap(box, t) for t in taken):
                taken.append(box)
                axes.annotate(
                    names[index], xy_n2[index], (dx, dy), textcoords="offset points", ha=align,
                    va="center_baseline", size=SIZE, family=MONO, color=theme.soft, in_layout=False,
                )  # fmt: skip
                break


def name_ends(axes: Axes, ends: Mapping[str, float], x: float, colours: Sequence[str]) -> None:
    """Names right of the ends of lines, each joined to its end, pushed apart.

    The figure has to be laid out, as for `name_marks`.

    Args:
        axes: with all lines, its limits final.
        ends: name → last value, from the highest down.
        x: where the lines end.
        colours: of the names.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = _POINTS_PER_INCH / figure.dpi
    heights = [axes.transData.transform((x, value))[1] * scale for value in ends.values()]
    places = _pushed_apart(heights, axes.bbox.y0 * scale, axes.bbox.y1 * scale)
    for (name, value), colour, height, place in zip(
        ends.items(), colours, heights, places, strict=True
    ):
        axes.annotate(
            name, (x, value), (AWAY, place - height), textcoords="offset points", size=SIZE,
            family=MONO, color=colour, va="center_baseline", annotation_clip=False, in_layout=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 1.5,
                        "shrinkB": MARK, "relpos": (0, 0.5)},
        )  # fmt: skip


def _pushed_apart(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Falling heights at least a line apart; from `low` to `high` where there is room."""
    places: list[float] = []
    for height in heights:
        places.append(min(height, places[-1] - LINE if places else high))
    least = low
    for index in reversed(range(len(places))):
        places[index] = max(places[index], least)
        least = places[index] + LINE
    return places


def _sides() -> tuple[tuple[float, float, str], ...]:
    """Offsets from the mark, with the alignment of the name."""
    above = CLEAR + HALF_HEIGHT
    return (
        (CLEAR, 0.0, "left"), (-CLEAR, 0.0, "right"), (0.0, above, "center"),
        (0.0, -above, "center"), (CLEAR, above, "left"), (-CLEAR, above, "right"),
        (CLEAR, -above, "left"), (-CLEAR, -above, "right"),
    )  # fmt: skip


def _box(at_2: NDArray[np.floating], name: str, align: str) -> Box:
    """What a name covers, in points."""
    width = width_points(name, SIZE)
    left = float(at_2[0]) - {"left": 0.0, "right": 1.0, "center": 0.5}[align] * width
    y = float(at_2[1])
    return left, y - HALF_HEIGHT, left + width, y + HALF_HEIGHT


def _covers(box: Box, solid_m2: NDArray[np.floating]) -> bool:
    """Whether a mark is under the box; that of the name itself is beside it."""
    low, high = np.array(box[:2]) - MARK, np.array(box[2:]) + MARK
    return bool(((solid_m2 > low) & (solid_m2 < high)).all(axis=1).any())
