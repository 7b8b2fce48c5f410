"""A stored run as a `Result`.

Shapes: N sequences, T tokens of each, H components.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.result.result import Result
from spectro.susceptibility.columns import STORED_COLUMNS
from spectro.views.map.drawn import stored_map
from spectro.views.run_view import RunView
from spectro.views.token_places import cluster_of_tokens, map_of_tokens


def read_result(uri: str) -> Result:
    """See `Result.of_run`."""
    view = RunView(uri)
    num_sequences, context = view.info.splits["probe"].num_sequences, view.context
    shape = (num_sequences, context)
    labels = view.labels()
    columns = {
        column.name: np.asarray(labels[column.name], np.float32).reshape(shape)
        for column in STORED_COLUMNS
        if not column.by_component
    }
    chi_NH = np.concatenate([chi_nH for _, chi_nH in view.shards()])
    ids, _ = view.sequences(np.arange(num_sequences))
    return Result(
        components=view.components,
        columns=columns | {"chi": chi_NH.reshape(*shape, -1)},
        num_chains=None if view.is_predicted else view.num_chains,
        summary=view.summary,
        probe_ids=ids.astype(np.int64),
        labels={name: values.reshape(shape) for name, values in _labels(view, labels).items()},
    )


def _labels(view: RunView, labels: Any) -> dict[str, npt.NDArray[Any]]:
    subset = labels["subset"].combine_chunks()
    names = np.array(subset.dictionary.to_pylist(), object)
    found: dict[str, npt.NDArray[Any]] = {"subset": names[np.asarray(subset.indices)]}
    if view.has_clusters:
        found["cluster"] = cluster_of_tokens(view)
        drawn = None if view.is_half else stored_map(view)
        if drawn is not None:
            xy_N2 = map_of_tokens(drawn, view.num_tokens)
            found |= {"map_x": xy_N2[:, 0], "map_y": xy_N2[:, 1]}
    return found
