"""k nearest neighbours, exact and approximate, in memory and in blocks (design.md §6.2, ADR 025).

nearest_neighbours(x_ND, k, search=, seed=, progress=) -> Neighbours
exact_neighbours(query_ND, query_rows, blocks, k, device=, progress=) -> Neighbours
pair_neighbours((first_a, x_a), (first_b, x_b), k, exact=, …) -> lists of a, then of b
merge([Neighbours of the same rows, …]) -> Neighbours sample_rows(num_tokens, num_sampled, seed=);
measured_recall(sample, found, exact) -> Recall
"""
