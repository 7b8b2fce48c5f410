"""A line around points that follows where they are dense, not their convex hull.

The points are counted on a grid and blurred; the line is the contour at the density that nine in
ten of them reach. Where that gives islands, the blur grows until one holds most of the points.
Shapes: m points, L corners.
"""

import numpy as np
from numpy.typing import NDArray

MAX_CORNERS = 60
INSIDE = 0.9
"""Share of the points whose density reaches the line's."""
IN_ONE_PIECE = 0.8
"""Share of the points that the outlined piece must hold."""
_CELLS = 96
_BLURS = (2.0, 3.0, 4.5, 7.0, 11.0, 16.0)  # cells
_WIDEST_FIRST = 60.0  # of m points the first blur is at least this over √m, or they fray the line
_MARGIN = 0.4  # of the extent, so that a blurred border is still inside the grid
_HIGHEST_LEVEL = 0.5  # of the peak, so that a line around a pile has some width
_LEAST_EXTENT = 0.01  # points in one place get an outline of about this size

Floats = NDArray[np.floating]


def outline(xy_m2: Floats) -> tuple[Floats, Floats]:
    """Corners [L ≤ MAX_CORNERS, 2] in order, and the densest place [2]; m ≥ 1 points."""
    from contourpy import contour_generator

    low_2, high_2 = xy_m2.min(axis=0), xy_m2.max(axis=0)
    extent = max(float((high_2 - low_2).max()), _LEAST_EXTENT)
    cell = extent * (1 + 2 * _MARGIN) / _CELLS
    origin_2 = (low_2 + high_2) / 2 - cell * _CELLS / 2
    column_m, row_m = np.floor((xy_m2 - origin_2) / cell).astype(int).clip(0, _CELLS - 1).T
    density, level = _main_piece(column_m, row_m)
    lines = contour_generator(z=density).lines(level)
    longest = max((np.asarray(line) for line in lines), key=_area)
    row, column = np.unravel_index(density.argmax(), density.shape)
    densest_2 = np.array([column, row])
    return origin_2 + (_resampled(longest) + 0.5) * cell, origin_2 + (densest_2 + 0.5) * cell


def _main_piece(column_m: NDArray[np.int_], row_m: NDArray[np.int_]) -> tuple[Floats, float]:
    """Density [rows, columns], zero in all pieces but the one with most points, and its level."""
    from scipy.ndimage import gaussian_filter, label

    counts = np.zeros((_CELLS, _CELLS))
    np.add.at(counts, (row_m, column_m), 1.0)
    least = min(_BLURS[-1], _WIDEST_FIRST / len(row_m) ** 0.5)
    for blur in (blur for blur in _BLURS if blur >= least):
        density = gaussian_filter(counts, blur, mode="constant", truncate=6.0)
        density[[0, -1]] = density[:, [0, -1]] = 0.0  # every line is closed
        density /= density.max()
        # A hair below the quantile, so that the points on it are inside.
        level = float(np.quantile(density[row_m, column_m], 1 - INSIDE)) * 0.98
        level = min(max(level, 1e-6), _HIGHEST_LEVEL)
        piece, _ = label(density >= level)
        held = np.bincount(piece[row_m, column_m], minlength=2)[1:]
        if held.max() >= IN_ONE_PIECE * len(row_m):
            break
    main = 1 + int(held.argmax())
    return np.where((piece == main) | (piece == 0), density, 0.0), level


def _area(line_L2: Floats) -> float:
    """Area inside a closed line (the shoelace formula)."""
    x, y = line_L2.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _resampled(line_L2: Floats) -> Floats:
    """At most MAX_CORNERS corners at equal steps along a closed line; without its double end."""
    step = np.hypot(*np.diff(line_L2, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(step)])
    num = min(MAX_CORNERS, len(line_L2) - 1)
    wanted = np.linspace(0.0, along[-1], num, endpoint=False)
    return np.stack([np.interp(wanted, along, line_L2[:, i]) for i in range(2)], axis=1)
