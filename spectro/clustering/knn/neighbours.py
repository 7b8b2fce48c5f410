"""kNN lists: the k nearest others of every token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The k nearest others of some tokens, nearest first, ties by row number."""

    index_Nk: NDArray[np.int32]
    """Their row numbers; never the token itself, none twice."""
    distance_Nk: NDArray[np.float32]
    """Euclidean distance; 0 between duplicates."""

    @property
    def num_rows(self) -> int:
        """N, the tokens that these lists belong to."""
        return int(self.index_Nk.shape[0])
