"""Clusters as the page's plain JSON: rows of its table, by column, and cards.

What is not known is null. Shapes: K clusters, H components.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from spectro.views.page.cluster_examples import contexts
from spectro.views.page.config import ReportConfig
from spectro.views.page.inputs import Floats, Ints, MeasurementSummary, PageClusters, ReportInputs

NUM_ROW_TOKENS = 6
"""Common tokens in a row of the table, which is searched by them."""
NUM_TOP_TOKENS = 10
"""Common tokens on a card."""


def rows(clusters: PageClusters, config: ReportConfig) -> dict[str, list[Any]]:
    """Columns of the table, `max_rows` long at most; the row of a cluster is its id."""
    num = config.max_rows
    return {
        "size": clusters.size_K[:num].tolist(),
        "conductance": numbers(clusters.conductance_K[:num], 4),
        "stability": numbers(clusters.stability_K[:num], 3),
        "repeatability": numbers(clusters.repeatability_K[:num], 3),
        "sharedNeighbours": numbers(clusters.shared_neighbours_K[:num], 3),
        "qValue": numbers(clusters.q_value_K[:num], None),
        "holds": numbers(clusters.holds_K[:num], 0),
        "purity": numbers(clusters.purity_K[:num], 3),
        "tokenPurity": numbers(clusters.token_purity_K[:num], 3),
        "subset": clusters.subset_counts_KP[:num].argmax(axis=1).tolist() if len(clusters) else [],
        "tops": [_known(tops) for tops in clusters.top_tokens_KT[:num, :NUM_ROW_TOKENS]],
    }


def summary(side: MeasurementSummary) -> dict[str, float | None]:
    """What is told of all clusters together, those beyond the table too; null without clusters."""
    clusters = side.clusters
    return {
        "clusters": len(clusters),
        "clustered": clusters.num_clustered,
        "largest": int(clusters.size_K.max()) if len(clusters) else None,
        "size": _median(clusters.size_K, 1),
        "conductance": _median(clusters.conductance_K, 4),
        "stability": _median(clusters.stability_K, 3),
        "repeatability": _median(clusters.repeatability_K, 3),
        "hold": _count(clusters.holds_K),
        "purity": _median(clusters.purity_K, 3),
        "tokenPurity": _median(clusters.token_purity_K, 3),
        "reliability": _median(side.columns.reliability_H, 3),
    }


def cards(
    inputs: ReportInputs, side: MeasurementSummary, config: ReportConfig
) -> list[dict[str, Any]]:
    """A card for every cluster that has examples."""
    clusters = side.clusters
    return [
        {
            "top": _counted(clusters, index),
            "subsets": clusters.subset_counts_KP[index].tolist(),
            "chi": numbers(clusters.mean_chi_KH[index], 3),
            "near": _known(clusters.neighbours_KM[index]),
            "random": _contexts(inputs, shown.random, config),
            "central": _contexts(inputs, shown.central, config),
        }
        for index, shown in enumerate(clusters.examples_E)
    ]


def matched(inputs: ReportInputs) -> list[tuple[int, float] | None] | None:
    """Of each cluster with a card the control's most alike and their Jaccard index."""
    if inputs.matches is None:
        return None
    found = zip(inputs.matches.match_C.tolist(), inputs.matches.jaccard_C.tolist(), strict=True)
    pairs = [(match, round(jaccard, 3)) if match >= 0 else None for match, jaccard in found]
    return pairs[: len(inputs.real.clusters.examples_E)]


def ids_shown(cards: Iterable[dict[str, Any]]) -> Iterable[Iterable[int]]:
    """Token ids that stand on cards."""
    for card in cards:
        yield (token for token, _ in card["top"])
        for *_, before, y, after in (*card["random"], *card["central"]):
            yield [*before, y, *after]


def numbers(values: Floats | None, digits: int | None) -> list[float | None] | None:
    """`number` of each; None for None."""
    return None if values is None else [number(value, digits) for value in values.tolist()]


def number(value: float, digits: int | None) -> float | None:
    """Rounded; to 4 significant digits if `digits` is None; null where it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    return float(f"{value:.4g}") if digits is None else round(value, digits)


def _known(ids: Ints) -> list[int]:
    return [each for each in ids.tolist() if each >= 0]


def _counted(clusters: PageClusters, index: int) -> list[tuple[int, int]]:
    tops = zip(
        clusters.top_tokens_KT[index].tolist(), clusters.top_counts_KT[index].tolist(), strict=True
    )
    return [(token, count) for token, count in tops if token >= 0][:NUM_TOP_TOKENS]


def _contexts(inputs: ReportInputs, token_ids: Ints, config: ReportConfig) -> list[list[Any]]:
    place = np.searchsorted(inputs.shown_token_id_s, token_ids)
    found = contexts(inputs.probe, token_ids, config)
    return [
        [c.subset, number(inputs.shown_loss_s[row], 2), c.token_id, c.position, int(c.clipped)]
        + [list(c.before), c.y, list(c.after)]
        for c, row in zip(found, place, strict=True)
    ]


def _count(holds_K: Floats) -> int | None:
    """Clusters that hold; null where it is known of none."""
    known = np.isfinite(holds_K)
    return int(np.count_nonzero(holds_K[known])) if known.any() else None


def _median(values: Floats | Ints, digits: int) -> float | None:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return number(float(np.median(known)), digits) if known.size else None
