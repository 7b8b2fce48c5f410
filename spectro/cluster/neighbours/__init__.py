"""k nearest neighbours, exact and approximate, in memory and in blocks (design.md §6.2, ADR 025).

nearest_neighbours(x_ND, k, search=, seed=, device=, progress=) -> Neighbours
exact_neighbours(query_ND, query_rows, blocks, k, device=, progress=) -> Neighbours
pair_neighbours((first_a, x_a), (first_b, x_b), k, exact=, …) -> lists of a, then of b
merge([Neighbours of the same rows, …]) -> Neighbours
sample_rows(num_tokens, num_sampled, seed=); measured_recall(sample, found, exact) -> Recall
"""

from spectro.cluster.neighbours.exact import exact_neighbours, row_blocks
from spectro.cluster.neighbours.lists import Neighbours, merge
from spectro.cluster.neighbours.pairs import block_pairs, pair_neighbours
from spectro.cluster.neighbours.recall import Recall, measured_recall, sample_rows
from spectro.cluster.neighbours.search import (
    is_exact,
    nearest_neighbours,
    require_enough,
)

__all__ = [
    "Neighbours",
    "Recall",
    "block_pairs",
    "exact_neighbours",
    "is_exact",
    "measured_recall",
    "merge",
    "nearest_neighbours",
    "pair_neighbours",
    "require_enough",
    "row_blocks",
    "sample_rows",
]
