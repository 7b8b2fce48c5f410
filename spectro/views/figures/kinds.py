"""What a figure of each kind is drawn of, and by what; matplotlib is imported when it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spectro.tokens.display.context_text import Vocabulary
from spectro.views.figures.config import FigureConfig, Kind
from spectro.views.matrix import TokenSets, matrix_of, principal_axes, sets_of
from spectro.views.run_view import RunView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectro.analysis.chain_diagnosis import Diagnosis
    from spectro.views.drawing.theme import Theme


def _map(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import cluster_map
    from spectro.views.figures.clusters import map_data

    return cluster_map.figure(map_data(view, config.max_points, config.seed, known), theme)


def _card(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import card
    from spectro.views.figures.clusters import card_data

    data = card_data(view, config.cluster_id, config.num_contexts, config.seed, known)
    return card.figure(data, theme)


def _matrix(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import response

    sets = _sets(view, config, known)
    response.require_rows(len(sets.names))
    return response.figure(matrix_of(view, sets, config.scaling), theme)


def _shift(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import shift

    sets = _sets(view, config, known)
    shift.require_rows(len(sets.names))
    return shift.figure(matrix_of(view, sets, config.scaling), theme)


def _axes(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import axes

    data = principal_axes(
        view, scaling=config.scaling, num_axes=config.num_axes, num_ends=config.num_tokens,
        known=known,
    )  # fmt: skip
    return axes.figure(data, theme)


def _sets(view: RunView, config: FigureConfig, known: Vocabulary) -> TokenSets:
    return sets_of(view, config.rows, config.max_rows, known)


def _clusters(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import sizes
    from spectro.views.figures.columns import sizes_data

    return sizes.figure(sizes_data(view), theme)


def _scatter(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import scatter
    from spectro.views.figures.columns import scatter_data

    data = scatter_data(view, config.components, config.scaling, config.max_points, config.seed)
    return scatter.figure(data, theme)


def _spread(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import spread
    from spectro.views.figures.columns import spread_data

    sets = _sets(view, config, known)
    spread.require_rows(len(sets.names))
    return spread.figure(spread_data(view, sets, config.components, config.scaling), theme)


def _control(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import control
    from spectro.views.figures.columns import control_data

    return control.figure(control_data(view), theme)


def _moved(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import moved
    from spectro.views.figures.moved import moved_picture

    return moved.figure(moved_picture(view, 2 * config.num_tokens, known), theme)


def _traces(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import traces
    from spectro.views.page.diagnostics_page import worst_first

    return traces.loss_traces(worst_first(_chains(view, config))[: config.max_rows], theme)


def _rhat(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import convergence

    return convergence.figure(_chains(view, config), theme)


def _reliability(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import traces

    return traces.reliability_curves(_chains(view, config), theme)


def _chains(view: RunView, config: FigureConfig) -> list[Diagnosis]:
    from spectro.views.diagnose import diagnose_run

    return diagnose_run(view, config.components or ("*",))


DRAW: dict[Kind, Callable[[RunView, FigureConfig, Theme, Vocabulary], Figure]] = {
    Kind.MAP: _map,
    Kind.CARD: _card,
    Kind.CLUSTERS: _clusters,
    Kind.MATRIX: _matrix,
    Kind.AXES: _axes,
    Kind.SHIFT: _shift,
    Kind.SCATTER: _scatter,
    Kind.SPREAD: _spread,
    Kind.CONTROL: _control,
    Kind.MOVED: _moved,
    Kind.TRACES: _traces,
    Kind.RHAT: _rhat,
    Kind.RELIABILITY: _reliability,
}
"""Every kind."""
