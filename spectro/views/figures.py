"""Figures of a run, by kind: from its place in storage to SVG, PDF or PNG.

What each kind shows stands in `report/figures/`; matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from spectro.report.lit import Vocabulary
from spectro.report.scaling import Scaling
from spectro.storage.out_file import put_file
from spectro.storage.run_view import RunView
from spectro.views.contexts import vocabulary_of
from spectro.views.matrix import Rows, matrix, principal_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectro.report.figures.theme import Theme


class Kind(Enum):
    """What a figure shows; each has one sentence of help in it."""

    MAP = "map"
    """The cluster map: tokens in χ-space, clusters as rings above them."""
    CARD = "card"
    """One cluster: profile, tokens, subsets, random members."""
    MATRIX = "matrix"
    """The response matrix as a heat map."""
    AXES = "axes"
    """Principal axes: explained variance, loadings, tokens at both ends."""
    SHIFT = "shift"
    """Data shift: the response of every component to more of each subset, with errors."""


class ThemeName(Enum):
    """Light or dark."""

    LIGHT = "light"
    """On white."""
    DARK = "dark"
    """On black."""


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """What a figure shows of a run. Nothing here changes a number.

    Raises ValueError if a number is below its least useful value.
    """

    kind: Kind = Kind.MAP
    """`map`, `card`, `matrix`, `axes` or `shift`."""
    theme: ThemeName = ThemeName.LIGHT
    """`light` or `dark`."""
    cluster: int = 0
    """Which cluster (card); 0 is the largest."""
    rows: Rows = Rows.SUBSETS
    """Sets of tokens (matrix, shift): `subsets`, `clusters` or `patterns`."""
    scaling: Scaling = Scaling.STANDARDISED
    """Units (matrix, axes, shift): `raw` (nats²), `standardised`, or `centred`: standardised, less
    the mean of each row, which takes the uniform mode away."""
    max_rows: int = 24
    """Clusters that are rows, largest first."""
    num_axes: int = 3
    """Principal axes that are drawn."""
    num_tokens: int = 5
    """Tokens at either end of an axis."""
    num_contexts: int = 14
    """Random members on a card."""
    max_points: int = 12000
    """Tokens drawn on the map: of clusters first, the rest is background."""
    seed: int = 0
    """Key of what is drawn by chance: members, points, the layout."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no figure."""
        least = {"cluster": 0, "seed": 0, "num_contexts": 0}
        for name in ("cluster", "max_rows", "num_axes", "num_tokens", "num_contexts", "max_points",
                     "seed"):  # fmt: skip
            value, low = getattr(self, name), least.get(name, 1)
            if value < low:
                raise ValueError(f"{name} must be at least {low}, found {value}")


def figure(
    place: RunView | str, kind: Kind | str = Kind.MAP, *, out: str | None = None, **settings: Any
) -> Figure:
    """A figure of a run, and its file if `out` names one.

        from spectro.views import figure
        figure("runs/demo", "matrix", out="matrix.svg", theme="dark", rows="clusters")

    Args:
        place: a run, a part of one (`<run>/control`) or a folder of clusters.
        kind: what it shows.
        out: file or URI ending in .svg, .pdf or .png; what is there is replaced.
        settings: as in `FigureConfig`; choices may be given by name.

    Raises ValueError, in one line, for settings that are not possible and what the run does not
    have; TypeError for a setting that there is not.
    """
    config = FigureConfig(kind=Kind(kind), **_chosen(settings))
    view = RunView(place) if isinstance(place, str) else place
    if out is not None:
        from spectro.report.figures.save import suffix_of

        suffix_of(out)  # refused before anything is drawn
    made, theme = drawn(view, config)
    if out is not None:
        put_figure(made, out, theme)
    return made


def drawn(view: RunView, config: FigureConfig) -> tuple[Figure, Theme]:
    """The figure, and the theme that it is drawn in."""
    from spectro.report.figures.theme import theme

    chosen = theme(config.theme.value)
    return _DRAW[config.kind](view, config, chosen, vocabulary_of(view)), chosen


def put_figure(made: Figure, out: str, theme: Theme) -> None:
    """Write it where `out` says; what is there is replaced."""
    from spectro.report.figures.save import suffix_of, to_bytes

    put_file(out, to_bytes(made, suffix_of(out), theme))


def _chosen(settings: dict[str, Any]) -> dict[str, Any]:
    choices = {"theme": ThemeName, "rows": Rows, "scaling": Scaling}
    return {key: choices[key](v) if key in choices else v for key, v in settings.items()}


def _map(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.report.figures import cluster_map
    from spectro.views.cluster_pictures import map_data

    return cluster_map.figure(map_data(view, config.max_points, config.seed, known), theme)


def _card(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.report.figures import card
    from spectro.views.cluster_pictures import card_data

    data = card_data(view, config.cluster, config.num_contexts, config.seed, known)
    return card.figure(data, theme)


def _matrix(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.report.figures import response

    return response.figure(_rows(view, config, known), theme)


def _shift(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.report.figures import shift

    return shift.figure(_rows(view, config, known), theme)


def _axes(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.report.figures import axes

    data = principal_axes(
        view, scaling=config.scaling, num_axes=config.num_axes, num_ends=config.num_tokens,
        known=known,
    )  # fmt: skip
    return axes.figure(data, theme)


def _rows(view: RunView, config: FigureConfig, known: Vocabulary) -> Any:
    return matrix(view, config.rows, scaling=config.scaling, max_rows=config.max_rows, known=known)


_DRAW: dict[Kind, Callable[[RunView, FigureConfig, Theme, Vocabulary], Figure]] = {
    Kind.MAP: _map,
    Kind.CARD: _card,
    Kind.MATRIX: _matrix,
    Kind.AXES: _axes,
    Kind.SHIFT: _shift,
}
