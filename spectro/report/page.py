"""From the run's numbers to the page's data, and the page.

Shapes: N measured tokens, n tokens drawn, H components, K clusters, P subsets.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spectro.report.config import ReportConfig
from spectro.report.contexts import contexts, pick
from spectro.report.html import assemble
from spectro.report.inputs import Clusters, Columns, Floats, Ints, Measurement, ReportInputs
from spectro.report.layout import choose_points, cluster_positions, layout
from spectro.report.vocabulary import display

logger = logging.getLogger(__name__)

_GRID = 4095  # positions on the map are whole numbers up to this
_NUM_TOP_TOKENS = 8


def render(inputs: ReportInputs, config: ReportConfig) -> str:
    """The page as one HTML text; the same inputs give the same bytes.

    Raises ValueError if parts of the inputs do not belong together.
    """
    title = config.title or inputs.title
    data = page_data(inputs, config)
    page = assemble(title, data | {"title": title})
    logger.info("page of %d clusters: %.1f MB", len(data["clusters"]), len(page) / 1e6)
    return page


def page_data(inputs: ReportInputs, config: ReportConfig) -> dict[str, Any]:
    """Everything the scripts draw, as plain JSON types."""
    points, centre_K2 = _map(inputs, config)
    real, control = inputs.real, inputs.control
    cards = _cards(inputs, real, config, config.max_cards)
    for card, centre in zip(cards, centre_K2[_order(real.clusters)], strict=True):
        card["at"] = [_number(value, 0) for value in centre * _GRID]
    control_cards = _cards(inputs, control, config, config.max_control_cards) if control else []
    return {
        "facts": [list(fact) for fact in inputs.facts],
        "provenance": inputs.provenance,
        "grid": _GRID,
        "subsets": list(inputs.probe.subset_names),
        "numTokens": len(inputs.token_id_N),
        "points": points,
        "clusters": cards,
        "columns": _columns(real.columns),
        "control": control
        and {
            "clusters": control_cards[: config.max_control_cards],
            "columns": _columns(control.columns),
            "sizes": [card["size"] for card in control_cards],
            "conductances": [card["conductance"] for card in control_cards],
            "purities": [card["purity"] for card in control_cards],
            "tokenPurities": [card["tokenPurity"] for card in control_cards],
        },
        "pieces": _pieces(inputs, [points["token"], *_ids_shown(cards + control_cards)]),
    }


def _map(inputs: ReportInputs, config: ReportConfig) -> tuple[dict[str, list[int]], Floats]:
    """Tokens drawn (positions, cluster index, subset, y) and the place [K, 2] of each cluster."""
    clusters = inputs.real.clusters
    cluster_N = _cluster_of(inputs.token_id_N, clusters)
    rows_n = choose_points(cluster_N >= 0, config)
    xy_n2 = layout(inputs.points_ND[rows_n], config)
    centre_K2 = cluster_positions(xy_n2, cluster_N[rows_n], len(clusters.cluster_id_K))
    sequences_n, positions_n = inputs.probe.locate(inputs.token_id_N[rows_n])
    rank_K = np.argsort(_order(clusters))  # cards are sorted, points refer to cards
    card_n = np.array([rank_K[index] if index >= 0 else -1 for index in cluster_N[rows_n]], int)
    grid_n2 = np.rint(xy_n2 * _GRID).astype(int)
    return {
        "x": grid_n2[:, 0].tolist(),
        "y": grid_n2[:, 1].tolist(),
        "cluster": card_n.tolist(),
        "subset": inputs.probe.subset_S[sequences_n].tolist(),
        "token": inputs.probe.ids_ST1[sequences_n, positions_n + 1].tolist(),
    }, centre_K2


def _cluster_of(token_id_N: Ints, clusters: Clusters) -> Ints:
    """Index of each token's cluster, −1 outside; the smallest one where clusters overlap."""
    index_of = {int(key): index for index, key in enumerate(clusters.cluster_id_K)}
    cluster_N = np.full(len(token_id_N), -1)
    member_M = np.array([index_of[int(key)] for key in clusters.member_cluster_id_M], int)
    row_M = np.searchsorted(token_id_N, clusters.member_token_id_M)
    row_M = np.minimum(row_M, max(len(token_id_N) - 1, 0))
    if len(row_M) and not np.array_equal(token_id_N[row_M], clusters.member_token_id_M):
        raise ValueError(
            "the clusters have members that were not measured: "
            "were they found in another run's susceptibilities?"
        )
    largest_first = np.argsort(-clusters.size_K[member_M], kind="stable")
    cluster_N[row_M[largest_first]] = member_M[largest_first]
    return cluster_N


def _order(clusters: Clusters) -> Ints:
    """Largest first, then by id."""
    return np.lexsort((clusters.cluster_id_K, -clusters.size_K))


def _cards(
    inputs: ReportInputs, side: Measurement, config: ReportConfig, num_with_contexts: int
) -> list[dict[str, Any]]:
    loss_of = inputs.token_id_N, inputs.loss_N
    cards = []
    for rank, index in enumerate(_order(side.clusters).tolist()):
        card = _card(side.clusters, index)
        if rank < num_with_contexts:
            token_ids = pick(side.clusters, card["id"], config)
            rows = np.searchsorted(loss_of[0], token_ids)
            card["contexts"] = [
                [c.subset, _number(loss_of[1][row], 2), c.token_id, c.position, int(c.clipped)]
                + [list(c.before), c.y, list(c.after)]
                for c, row in zip(contexts(inputs.probe, token_ids, config), rows, strict=True)
            ]
        cards.append(card)
    return cards


def _card(clusters: Clusters, index: int) -> dict[str, Any]:
    top = [list(pair) for pair in clusters.top_tokens_K[index][:_NUM_TOP_TOKENS]]
    size = int(clusters.size_K[index])
    return {
        "id": int(clusters.cluster_id_K[index]),
        "size": size,
        "conductance": _number(clusters.conductance_K[index], 4),
        "purity": _number(clusters.purity_K[index], 3),
        "tokenPurity": _number(top[0][1] / size, 3) if top and size else None,
        "near": list(clusters.neighbours_K[index]) if clusters.neighbours_K else [],
        "top": top,
        "subsets": clusters.subset_counts_KP[index].tolist(),
        "chi": _numbers(clusters.mean_chi_KH[index], 3),
    }


def _columns(columns: Columns) -> dict[str, Any]:
    return {
        "components": list(columns.components),
        "reliability": _numbers(columns.reliability_H, 3),
        "centred": _numbers(columns.centred_reliability_H, 3),
        "standardError": _numbers(columns.standard_error_H, None),
        "meanPhi": _numbers(columns.mean_phi_H, None),
    }


def _ids_shown(cards: list[dict[str, Any]]) -> Iterable[Iterable[int]]:
    for card in cards:
        yield (token for token, _ in card["top"])
        for *_, before, y, after in card.get("contexts", ()):
            yield [*before, y, *after]


def _pieces(inputs: ReportInputs, groups: Iterable[Iterable[int]]) -> Mapping[str, str]:
    """How each token id that is shown is written."""
    shown = sorted({token for group in groups for token in group})
    size = len(inputs.vocabulary)
    pieces = ((token, inputs.vocabulary[token] if token < size else None) for token in shown)
    return {str(token): display(piece) for token, piece in pieces}


def _numbers(values: Floats | None, digits: int | None) -> list[float | None] | None:
    return None if values is None else [_number(value, digits) for value in values]


def _number(value: float, digits: int | None) -> float | None:
    """Rounded; to 4 significant digits if `digits` is None; null where it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    return float(f"{value:.4g}") if digits is None else round(value, digits)
