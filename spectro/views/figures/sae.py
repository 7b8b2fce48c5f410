"""The figure of clusters against features, from a run's place in storage."""

from __future__ import annotations

import numpy as np

from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder.stored import StoredMatch, stored_match
from spectro.views.cluster_tables import array, floats
from spectro.views.drawing.sae import MatchedRow, SaeData
from spectro.views.run_view import RunView

NUM_TOPS = 5
"""Common tokens that name a cluster."""


def sae_data(view: RunView, wanted: str, num_rows: int, known: Vocabulary) -> SaeData:
    """What the figure shows of one match.

    Args:
        view: of the clusters.
        wanted: which match, as `stored_match`.
        num_rows: best matched clusters that are named.
        known: how tokens are shown.

    Raises ValueError, in one line, where clusters were not matched.
    """
    found = stored_match(view, wanted)
    if found is None:
        raise ValueError(
            f"{view.uri}/{view.folder} has not been matched to an autoencoder: spectro sae "
            f"{view.uri} <autoencoder>"
        )
    table, content = found.by_cluster, found.content
    best_C = np.array([row[0] if row else 0.0 for row in table["f1"].to_pylist()])
    max_q = np.float32(content["match"]["max_q"])
    curves = dict(content["curves"])
    thresholds = curves.pop("thresholds")
    return SaeData(
        title=found.title,
        said=(
            f"{content['num_matched']:,} of {content['num_clusters']:,} clusters have a feature "
            f"with F1 ≥ {found.threshold:g}, {content['num_beyond_y']:,} of them beyond their y; "
            f"reconstruction error {content['fvu']:.2f} of the variance, L0 {content['l0']:.0f}."
        ),
        curves=curves,
        thresholds=thresholds,
        threshold=found.threshold,
        best_C=best_C,
        null_C=floats(table["null_f1"]),
        size_C=array(table["size"]),
        is_beyond_C=floats(table["q_value"]) <= max_q,
        rows=_rows(view, found, best_C, num_rows, known),
    )


def _rows(
    view: RunView, found: StoredMatch, best_C: np.ndarray, num_rows: int, known: Vocabulary
) -> tuple[MatchedRow, ...]:
    order = [int(c) for c in np.argsort(-best_C, kind="stable")[:num_rows] if best_C[c] > 0]
    tops = view.clusters.clusters["top_tokens"].take(order).to_pylist()
    best = [found.features_of(cluster, 1)[0] for cluster in order]
    return tuple(
        MatchedRow(
            cluster=cluster,
            tops=" ".join(known.show(token) for token in own[:NUM_TOPS]),
            feature=one.text,
            f1=one.f1,
            precision=one.precision,
            recall=one.recall,
            auc=one.auc,
        )
        for cluster, one, own in zip(order, best, tops, strict=True)
    )
