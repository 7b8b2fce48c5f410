"""The induction circuit on one page: what heads do, the axes of their χ, the response matrix."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spectro.analysis.circuit import Circuit, claims
from spectro.analysis.component_grid import blocks
from spectro.analysis.head_scores import HeadKind
from spectro.views.circuit import CircuitData
from spectro.views.drawing import response
from spectro.views.drawing.parts import bare, block_axis, head, new_figure, number
from spectro.views.drawing.theme import SMALL, WIDE, Theme, themed

HELP = (
    "Colours: kinds of heads by their attention on random tokens repeated once, without χ; "
    "ablation is the rise of the loss on the repetition, less that on the first time. Axes: "
    "principal axes of χ of the heads, their loadings, and AUCs: of loadings for induction against "
    "multigram heads, of scores for tokens that complete a repeated pair. Published are a uniform "
    "axis 1 and an axis 2 that separates these heads (Baker et al. 2025)."
)
ROW_INCHES, CLAIMS_INCHES = 1.25, 0.7


@themed
def figure(data: CircuitData, theme: Theme) -> Figure:
    """Head scores, claims, axes, matrix."""
    found, num_axes = data.circuit, len(data.circuit.principal.loading_AH)
    num_rows = len(data.matrix.names)
    response.require_rows(num_rows)
    bottom = 0.75 + response.ROW_INCHES * max(response.LEAST_ROWS, num_rows)
    halves = -(-num_axes // 2)
    panels = ROW_INCHES * (1 + halves)
    made = new_figure(WIDE, 1.25 + CLAIMS_INCHES + panels + bottom)
    head(made, theme, "The induction circuit", HELP)
    rows = made.add_gridspec(3, 1, height_ratios=[CLAIMS_INCHES, panels, bottom])
    grid = rows[1].subgridspec(1 + halves, 2)  # nested: names of rows take no room from panels
    _claims(made.add_subplot(rows[0]), theme, found)
    scores = found.scores
    _bars(made.add_subplot(grid[0, 0]), theme, found, scores.prefix_matching_C,
          "Prefix-matching score")  # fmt: skip
    _bars(made.add_subplot(grid[0, 1]), theme, found, scores.rise_repeated_C - scores.rise_first_C,
          "Ablation: rise of the loss, nats")  # fmt: skip
    for axis in range(num_axes):
        place = grid[1 + axis // 2, axis % 2]
        title = (
            f"Axis {axis + 1} ({number(found.principal.share_H[axis], '.0%')}): AUC of heads "
            f"{number(found.head_auc_A[axis])}, tokens {number(found.token_auc_A[axis])}"
        )
        _bars(made.add_subplot(place), theme, found, found.principal.loading_AH[axis], title)
    response.heat(made, made.add_subplot(rows[2].subgridspec(1, 1)[0]), theme, data.matrix)
    return made


def _colour(theme: Theme, kind: HeadKind) -> str:
    return theme.colour(list(HeadKind).index(kind))


def _claims(axes: Axes, theme: Theme, found: Circuit) -> None:
    """The published findings with figures, and the colours of the kinds."""
    bare(axes)
    for row, claim in enumerate(claims(found)):
        verdict = "holds" if claim.holds else "does not hold"
        axes.text(
            0.0, 0.6 - 0.25 * row, f"{claim.text}: {claim.found} ({verdict})", va="center",
            size=SMALL, color=theme.ink if claim.holds else theme.positive,
        )  # fmt: skip
    kinds = [kind for kind in HeadKind if kind in found.scores.kinds]
    for row, kind in enumerate(kinds):
        axes.text(
            0.2 * row, 0.9, f"■ {kind.value}", va="center", size=SMALL, color=_colour(theme, kind)
        )


def _bars(
    axes: Axes, theme: Theme, found: Circuit, value_H: NDArray[np.float64], title: str
) -> None:
    """A bar for each head, coloured by its kind."""
    names = found.scores.components
    place_H = block_axis(axes, names)
    colours = [_colour(theme, kind) for kind in found.scores.kinds]
    axes.bar(place_H, value_H, 0.84, color=colours, linewidth=0)
    axes.axhline(0.0, color=theme.strong_line, linewidth=0.6, zorder=0.5)
    axes.set_title(title, size=SMALL + 0.5)
    if len(names) <= 32:
        order = [column for block in blocks(names) for column in block.columns]
        axes.set_xticks(place_H[order], [names[i] for i in order], size=SMALL - 1.5, rotation=60)
