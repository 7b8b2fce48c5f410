"""Which kNN search is run, exact or approximate, and on which pairs of blocks of rows (ADR 024)."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement

from spectro.clustering.config import NeighbourSearch

APPROXIMATE_VERSION = 1
"""Goes up with every change of what is found: lists of two versions are never mixed."""
EXACT_BELOW = 1_000_000
"""Tokens up to which `auto` is exact: there both cost about the same (ADR 025), and more above."""


def is_exact(num_tokens: int, search: NeighbourSearch) -> bool:
    """Whether `search` means exact for so many tokens; never a matter of the machine."""
    if search is NeighbourSearch.AUTO:
        return num_tokens <= EXACT_BELOW
    return search is NeighbourSearch.EXACT


def block_pairs(num_blocks: int, *, exact: bool) -> list[tuple[int, int]]:
    """Blocks that are searched together, the lower first; none where there is one block."""
    if num_blocks == 1:
        return []
    pairs = combinations_with_replacement if exact else combinations
    return list(pairs(range(num_blocks), 2))
