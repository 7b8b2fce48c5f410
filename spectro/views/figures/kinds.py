"""The table of figure kinds: how each is read from a run and drawn, matplotlib imported then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _sae(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.drawing import sae
    from spectro.views.figures.sae import sae_data

    return sae.figure(sae_data(view, config.autoencoder, config.max_rows, known), theme)


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


def _of_chains(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    return chain_figure(config.kind, _chains(view, config), theme, config.max_rows)


def chain_figure(
    kind: Kind, diagnoses: Sequence[Diagnosis], theme: Theme, max_rows: int = 24
) -> Figure:
    """A figure of chains that are diagnosed already: `traces` (worst first), `rhat`, `reliability`.

    Raises KeyError for another kind.
    """
    from spectro.views.drawing import convergence, traces

    if kind is Kind.TRACES:
        drawn = worst_first(diagnoses)[:max_rows]
        return traces.loss_traces(drawn, theme, num_all=len(diagnoses))
    draw = {Kind.RHAT: convergence.figure, Kind.RELIABILITY: traces.reliability_curves}[kind]
    return draw(diagnoses, theme)


def worst_first(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """From the worst verdict to the best; those of one verdict in their order."""
    from spectro.analysis.chain_verdict import Verdict

    order = list(Verdict)
    return sorted(diagnoses, key=lambda diagnosis: order.index(diagnosis.verdict))


def _text(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.text.figure import figure
    from spectro.views.text.from_run import document_of_sequence  # imports torch

    document = document_of_sequence(
        view, config.sequence_id, components=config.components, known=known
    )
    return figure(document, theme)


def _across(view: RunView, config: FigureConfig, theme: Theme, known: Vocabulary) -> Figure:
    from spectro.views.across import across
    from spectro.views.drawing import across as picture

    if not config.token:
        raise ValueError("kind=across needs token=<text of the token>")
    places = (f"{view.uri}/{view.folder}", *config.others)
    return picture.figure(across(places, config.token, seed=config.seed), theme)


def _chains(view: RunView, config: FigureConfig) -> list[Diagnosis]:
    from spectro.views.diagnose import diagnose_run

    return diagnose_run(view, config.components or ("*",))


DRAW: dict[Kind, Callable[[RunView, FigureConfig, Theme, Vocabulary], Figure]] = {
    Kind.MAP: _map,
    Kind.CARD: _card,
    Kind.CLUSTERS: _clusters,
    Kind.SAE: _sae,
    Kind.MATRIX: _matrix,
    Kind.AXES: _axes,
    Kind.SHIFT: _shift,
    Kind.SCATTER: _scatter,
    Kind.SPREAD: _spread,
    Kind.CONTROL: _control,
    Kind.MOVED: _moved,
    Kind.TRACES: _of_chains,
    Kind.RHAT: _of_chains,
    Kind.RELIABILITY: _of_chains,
    Kind.TEXT: _text,
    Kind.ACROSS: _across,
}
"""Every kind."""
