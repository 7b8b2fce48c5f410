"""Cluster and place on the map of every token of a run, for tables of tokens.

Shapes: N tokens of the run.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spectro.views.cluster_tables import members, smallest_cluster
from spectro.views.map.columns import GRID
from spectro.views.map.drawn import DrawnMap
from spectro.views.run_view import RunView


def cluster_of_tokens(view: RunView) -> npt.NDArray[np.int32]:
    """The smallest cluster that has each token [N], −1 in none.

    Raises ValueError, in one line, where there are no clusters.
    """
    return smallest_cluster(*members(view), view.num_tokens)


def map_of_tokens(drawn: DrawnMap, num_tokens: int) -> npt.NDArray[np.float32]:
    """Places of the unit square, y upwards, [N, 2]; NaN for tokens that are not drawn."""
    xy_N2 = np.full((num_tokens, 2), np.nan, np.float32)
    token_id_n = drawn.tokens["token_id"].astype(np.int64)
    xy_N2[token_id_n] = np.stack([drawn.tokens[axis] for axis in "xy"], axis=1) / GRID
    return xy_N2
