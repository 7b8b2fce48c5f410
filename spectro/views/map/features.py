"""Best features of an autoencoder for every cluster, for cards and search (ADR 102).

Shapes: K clusters, m features that are shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.views.autoencoder.stored import StoredMatch, stored_match
from spectro.views.cluster_tables import ragged
from spectro.views.run_view import RunView

NUM_SHOWN = 5
"""Features on a card."""
SCORES = ("level", "f1", "precision", "recall", "auc")


def read_features(view: RunView) -> StoredMatch | None:
    """The match that is shown: the best of those in storage; None where there is none."""
    return stored_match(view) if view.has_clusters else None


def features_shown(found: StoredMatch | None) -> dict[str, npt.NDArray[Any]]:
    """Columns of the clusters: `features` [K, m], −1 beyond the last, and their scores [K, m]."""
    if found is None:
        return {}
    table = found.by_cluster
    scores = {
        f"feature_{name}": ragged(table[name], NUM_SHOWN, np.float32, 0).astype(np.float32)
        for name in SCORES
    }
    return {"features": ragged(table["features"], NUM_SHOWN, np.int32, -1), **scores}


def features_json(found: StoredMatch | None) -> dict[str, Any] | None:
    """For map.json: what the features are of, and how many clusters they match."""
    if found is None:
        return None
    names = ("num_matched", "num_beyond_y", "num_clusters", "fvu", "l0")
    return {
        "title": found.title,
        "threshold": found.threshold,
        **{name: found.content[name] for name in names},
    }
