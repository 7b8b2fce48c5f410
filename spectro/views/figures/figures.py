"""Figures of a run, by kind: from its place in storage to SVG, PDF or PNG.

The kinds are in `kinds.py`; matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spectro.analysis.scaling import Scaling
from spectro.formats.out_file import place_of, put_file
from spectro.views.config import MatrixRows
from spectro.views.figures.config import FigureConfig, Kind, ThemeName
from spectro.views.figures.kinds import DRAW
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectro.views.drawing.theme import Theme

__all__ = ["FigureConfig", "Kind", "ThemeName", "drawn", "figure", "put_figure"]


def figure(
    place: RunView | str, kind: Kind | str = Kind.MAP, *, out: str | None = None, **settings: Any
) -> Figure:
    """A figure of a run, and its file if `out` names one.

        from spectro.views.figures.figures import figure
        figure("runs/demo", "matrix", out="matrix.svg", theme="dark", rows="clusters")

    Args:
        place: a run, a part of one (`<run>/control`) or a folder of clusters.
        kind: what it shows.
        out: file or URI ending in .svg, .pdf or .png; a file that is there is replaced.
        settings: as in `FigureConfig`; choices may be given by name.

    Raises ValueError, in one line, for settings that are not possible and what the run does not
    have; TypeError for a setting that there is not.
    """
    config = FigureConfig(kind=Kind(kind), **_chosen(settings))
    view = RunView(place) if isinstance(place, str) else place
    if out is not None:
        from spectro.views.config import suffix_of

        suffix_of(out)  # refused before anything is drawn
        place_of(out)
    made, theme = drawn(view, config)
    if out is not None:
        put_figure(made, out, theme)
    return made


def drawn(view: RunView, config: FigureConfig) -> tuple[Figure, Theme]:
    """The figure, and the theme that it is drawn in."""
    from spectro.views.drawing.theme import theme

    chosen = theme(config.theme.value)
    return DRAW[config.kind](view, config, chosen, vocabulary_of(view)), chosen


def put_figure(made: Figure, out: str, theme: Theme) -> None:
    """Write it where `out` says; a file that is there is replaced, errors as `replaced`."""
    from spectro.views.config import suffix_of
    from spectro.views.drawing.save import to_bytes

    put_file(out, to_bytes(made, suffix_of(out), theme))


def _chosen(settings: dict[str, Any]) -> dict[str, Any]:
    choices = {"theme": ThemeName, "rows": MatrixRows, "scaling": Scaling}
    return {key: choices[key](v) if key in choices else v for key, v in settings.items()}
