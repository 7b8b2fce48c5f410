"""Completes kNN lists exactly by comparing all pairs (scan.py).

Shapes: N tokens, D dimensions, k neighbours.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.knn.exact import exact_neighbours, row_blocks
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.packed import (
    BASIS_KEY,
    WIDE,
    Basis,
    best_head,
    pack,
    plain,
    principal_axes,
)
from spectro.clustering.knn.recall import sample_rows
from spectro.clustering.knn.scan import RowBlock, all_pairs

NUM_ASKED, NUM_OTHERS = 64, 4096
"""Sampled rows that choose the columns of the product, and the rows they meet."""
SEARCHED_ROWS = 65_536


def complete_lists(
    x_ND: NDArray[np.float32],
    lists: Neighbours,
    rows: NDArray[np.integer],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make the lists of all rows exact, in place; good entries make it faster.

    Args:
        x_ND: vectors, in the order of the lists; leaf order is faster.
        lists: [N, k], by row number.
        rows: row number of every vector.
        progress: called with (done, total).
    """
    packed = pack(x_ND, basis_of(x_ND, lists.index_Nk.shape[1]))
    all_pairs(RowBlock(packed=packed, lists=lists, rows=np.asarray(rows, np.int64)), progress)


def basis_of(x_ND: NDArray[np.float32], k: int) -> Basis:
    """The cheapest basis on a keyed sample; results do not depend on it."""
    num_rows, num_dimensions = x_ND.shape
    if num_dimensions <= WIDE or num_rows <= k:
        return plain(num_dimensions)
    axes = principal_axes(x_ND)
    turned = Basis(axes_DD=axes, num_head=num_dimensions)
    asked = sample_rows(num_rows, NUM_ASKED, use=BASIS_KEY)
    near = exact_neighbours(x_ND[asked], asked, row_blocks(x_ND, SEARCHED_ROWS), k)
    others = pack(x_ND[sample_rows(num_rows, NUM_OTHERS, use=BASIS_KEY)], turned)
    head = best_head(pack(x_ND[asked], turned), others, near.distance_Nk[:, -1], num_dimensions)
    return Basis(axes_DD=axes, num_head=head)
