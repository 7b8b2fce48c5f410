"""The viewer's sections beside the map as plain JSON: what was found, columns, control, records.

Read from a run with clusters; the control is the folder of clusters of the same name in `control/`,
which measured the same tokens. Not known is null. Shapes: K clusters, M members.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.analysis.known_kinds import KnownKinds, find
from spectro.analysis.patterns import Traits
from spectro.clustering.matching import Clustering, best_matches
from spectro.clustering.vectors.vector_reliability import report_lines
from spectro.formats.clusters.clusters import PROVENANCE, StoredClusters
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_parts import CONTROL
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_names import ClusterNames, cluster_names
from spectro.views.cluster_tables import array, floats, how_it_holds, members
from spectro.views.page.known_kinds_sample import found_sample
from spectro.views.page.read_columns import number, read_columns
from spectro.views.page.read_ledger import Ledger
from spectro.views.run_view import RunView


def report_data(
    view: RunView, known: Vocabulary, names: ClusterNames, ledger: Ledger | None = None
) -> dict[str, Any]:
    """The sections of a run.

    Args:
        view: of a run with clusters, all of its tokens measured.
        known: how token ids are shown; without a tokenizer nothing is found of known kinds.
        names: of the clusters.
        ledger: what the run's records say; None: nothing.

    Raises ValueError where parts are missing or belong to different runs.
    """
    control = control_view(view)
    return {
        "columns": _columns(view),
        "summary": _summary(view, names),
        "control": None if control is None else _of_control(control, cluster_names(control, known)),
        "found": _found(view, known),
        "names": names.summary,
        "ledger": ledger or {"facts": [], "stages": [], "missing": []},
    }


def _of_control(control: RunView, names: ClusterNames) -> dict[str, Any]:
    return {
        "columns": _columns(control),
        "summary": _summary(control, names),
        "names": names.summary,
    }


def control_view(view: RunView) -> RunView | None:
    """The control's clusters of the same name; None unless it was measured and clustered."""
    part = view.store.child(CONTROL)
    wanted = (SUMMARY_NAME, f"{view.folder}/{PROVENANCE}")
    if view.is_control or view.is_half or not all(map(part.exists, wanted)):
        return None
    return RunView(part.child(view.folder).uri)


def control_matches(
    view: RunView,
) -> dict[str, npt.NDArray[Any]]:
    """Of each cluster the control's cluster that shares most members, and their Jaccard index.

    Columns [K] of the map's clusters; −1 where no cluster shares any; empty without a control.
    """
    control = control_view(view)
    if control is None:
        return {}
    sides = [(*members(each), each.clusters.clusters.num_rows) for each in (view, control)]
    both_M = np.concatenate([token_id_M for token_id_M, _, _ in sides])
    token_id, row_M = np.unique(both_M, return_inverse=True)
    rows = row_M[: sides[0][0].size], row_M[sides[0][0].size :]
    found = best_matches(
        *(
            Clustering.of_pairs(cluster_M, row, num_clusters, token_id.size)
            for (_, cluster_M, num_clusters), row in zip(sides, rows, strict=True)
        )
    )
    return {
        "control_match": found.match_C.astype(np.int32),
        "control_jaccard": found.jaccard_C.astype(np.float32),
    }


def _columns(view: RunView) -> dict[str, Any]:
    """Column summaries, and what the clusters see of them."""
    stored, components = view.clusters, view.components
    if list(stored.provenance["components"]) != list(components):
        raise ValueError(
            f"{view.uri}/{view.folder} is of {len(stored.provenance['components'])} components, "
            f"expected the {len(components)} of the product, in their order: were the clusters "
            "found in another run?"
        )
    kept = set(stored.transform.kept_K.tolist())
    return {
        **read_columns(view.store, components, view.interval).to_json(),
        "threshold": stored.provenance.get("config", {}).get("min_reliability"),
        "leftOut": [name for index, name in enumerate(components) if index not in kept],
        "vectors": list(report_lines(stored.transform, components)),
    }


def _summary(view: RunView, names: ClusterNames) -> dict[str, float | None]:
    """Medians over all clusters, and how many are recognisable; null without clusters."""
    stored = view.clusters
    table, holds_K = stored.clusters, how_it_holds(stored.clusters)
    size_K = array(table["size"])
    hold_K = holds_K["holds"][np.isfinite(holds_K["holds"])]
    return {
        "clusters": table.num_rows,
        "clustered": _num_clustered(stored, view),
        "largest": int(size_K.max()) if size_K.size else None,
        "size": _median(size_K, 1),
        "conductance": _median(floats(table["conductance"]), 4),
        "stability": _median(holds_K["stability"], 3),
        "repeatability": _median(holds_K["repeatability"], 3),
        "hold": int(np.count_nonzero(hold_K)) if hold_K.size else None,
        "recognisable": None if names.summary is None else names.summary["recognisable"],
        "purity": _median(floats(table["purity"]), 3),
        "tokenPurity": _median(floats(table["token_purity"]), 3),
    }


def _num_clustered(stored: StoredClusters, view: RunView) -> int:
    known = stored.provenance.get("num_clustered_tokens")
    return int(np.unique(members(view)[0]).size if known is None else known)


def _found(view: RunView, known: Vocabulary) -> list[dict[str, Any]]:
    """Kinds of token that a reader knows, and how far the responses know them."""
    if known.pieces is None:
        return []
    return [_kind(kind) for kind in find(found_sample(view), Traits.of(known.pieces))]


def _kind(kind: KnownKinds) -> dict[str, Any]:
    return {
        "name": kind.name,
        "meaning": kind.meaning,
        "tokens": kind.num_tokens,
        "auc": number(kind.auc, 3),
        "aucOfLoss": number(kind.auc_of_loss, 3),
        "components": [[name, number(auc, 3)] for name, auc in kind.components],
        "clusters": [[cluster, number(share, 3)] for cluster, share in kind.clusters],
        "numClusters": kind.num_clusters,
        "held": number(kind.held, 3),
    }


def _median(values: npt.NDArray[Any], digits: int) -> float | None:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return number(float(np.median(known)), digits) if known.size else None
