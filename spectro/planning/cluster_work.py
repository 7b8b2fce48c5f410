"""Work of the cluster stage: units, rows, pairs, entries of the kNN graph, rounds, bytes.

Counts are of one clustering; a run has up to six: all chains and both halves, and the same of its
control. Bytes are of one machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from spectro.cluster_stage.knn import NUM_SAMPLED
from spectro.cluster_stage.seed_places import MIN_TOKENS_TO_SPREAD
from spectro.cluster_stage.units import HALVES, Layout
from spectro.clustering.config import ClusterConfig
from spectro.clustering.knn.search_plan import block_pairs, is_exact
from spectro.clustering.local.rounds import round_size
from spectro.config import PipelineConfig

FLOAT_BYTES = 4
PLACE_BYTES = 8
"""A place of a neighbour list: row and distance."""
SHARD_COPIES = 3
"""χ of a shard as it is read: the table, the array, the result."""
PAIR_COPIES = 4
"""Lists of a pair as they are read, see `ClusterWork.merge_peak`."""
LIST_COPIES = 3.5
"""Lists as they are put: found, put together, serialised, and half of them while digested."""
NODE_BYTES = 24
"""The graph's files per node, beside its entries: offset, degree, its token, its node."""
ENTRY_BYTES = 8
"""An entry of the graph: neighbour and weight."""
GRAPH_NODE_BYTES = 12
"""Held per node while the graph is made (`edges.build_csr`)."""
WORKSPACE_NODE_BYTES = 4
"""Held per node by each who tries seeds."""
WORKSPACE_BYTES = 10 * 2**20
"""What one seed touches: some 6 MB of copied rows at 10 000 pushes, and slots."""
DRIVER_NODE_BYTES = 18
"""Held per node by who drives the rounds: the order of the seeds twice, removed, tried."""


@dataclass(frozen=True, kw_only=True)
class ClusterWork:
    """One clustering."""

    config: ClusterConfig
    """How."""
    layout: Layout
    """Rows, in shards and blocks."""
    num_columns: int
    """Of χ; the vectors are taken to have as many dimensions, whatever is dropped later."""

    def __post_init__(self) -> None:
        k = self.config.num_neighbours
        if self.num_tokens <= k:
            raise ValueError(
                f"clustering with k = {k} needs more than {k} tokens, found {self.num_tokens}: "
                "lower cluster.num_neighbours or measure more tokens"
            )
        if self.num_columns < 1:
            raise ValueError(f"clusters need at least 1 column of χ, found {self.num_columns}")

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.layout.num_rows

    @property
    def is_exact(self) -> bool:
        """Whether all pairs are looked at, on a CPU."""
        return is_exact(self.num_tokens, self.config.neighbour_search)

    @cached_property
    def blocks(self) -> list[int]:
        """Rows of every block: units of lists."""
        return [len(self.layout.block(block)) for block in range(self.layout.num_blocks)]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Rows of both blocks of every pair, (n, 0) of a block with itself: units too."""
        pairs = block_pairs(len(self.blocks), exact=self.is_exact)
        return [(self.blocks[a], self.blocks[b] if a != b else 0) for a, b in pairs]

    @property
    def num_searches(self) -> int:
        """Units that search: of pairs, else of blocks."""
        return len(self.pairs) or len(self.blocks)

    @property
    def recall_pairs(self) -> int:
        """Pairs of the sample whose recall is measured."""
        return min(NUM_SAMPLED, self.num_tokens) * self.num_tokens

    @property
    def num_seeds(self) -> int:
        """Seeds at most: what a cluster takes with it is not tried any more."""
        return max(1, round(self.num_tokens * (1 - self.config.untried_fraction)))

    @property
    def seeds_per_round(self) -> int:
        """Tried against the same state of the graph."""
        return round_size(self.config, self.num_tokens)

    def nodes_with_graph(self, num_nodes: int) -> int:
        """Machines that try seeds: few tokens are not worth a second one."""
        return num_nodes if self.num_tokens >= MIN_TOKENS_TO_SPREAD else 1

    def nodes_with_vectors(self, num_nodes: int) -> int:
        """Machines that make vectors, each all that it needs."""
        return min(num_nodes, self.num_searches)

    @property
    def shard_bytes(self) -> int:
        """Held while χ is read, shard by shard."""
        return SHARD_COPIES * FLOAT_BYTES * self.num_columns * max(self.layout.shard_rows)

    def list_bytes(self, num_rows: int) -> int:
        """Lists of some rows."""
        return PLACE_BYTES * self.config.num_neighbours * num_rows

    def search_peak(self, num_rows: int, bytes_per_row: float) -> int:
        """Held by an approximate search: vectors twice and its lists, or what is put."""
        searching = (2 * FLOAT_BYTES * self.num_columns + bytes_per_row) * num_rows
        return int(max(searching, LIST_COPIES * self.list_bytes(num_rows)))

    def exact_peak(self, num_rows: int) -> int:
        """Held by an exact search of some rows: a copy, both sides of the product, and lists."""
        own = FLOAT_BYTES * 3 * (self.num_columns + 2) * num_rows
        return int(own + LIST_COPIES * self.list_bytes(num_rows))

    @property
    def merge_peak(self) -> int:
        """Held while lists of a block are merged: what is merged so far, one pair's lists, their
        bytes and checksum, and the pair before it."""
        own = max(self.blocks)
        return int(
            PAIR_COPIES * self.list_bytes(2 * own) + (1 + LIST_COPIES) * self.list_bytes(own)
        )

    @property
    def vector_bytes(self) -> int:
        """Mapped vectors of all rows."""
        return FLOAT_BYTES * self.num_columns * self.num_tokens

    def graph_bytes(self, num_entries: float) -> int:
        """Mapped graph."""
        return int(ENTRY_BYTES * num_entries) + NODE_BYTES * self.num_tokens

    def seeds_peak(self, num_cores: int) -> int:
        """Held by all who try seeds on the machine that drives the rounds."""
        each = WORKSPACE_NODE_BYTES * self.num_tokens + WORKSPACE_BYTES
        return num_cores * each + DRIVER_NODE_BYTES * self.num_tokens

    @property
    def stored_bytes(self) -> int:
        """Lists on storage at most: those of pairs go when an invocation has merged them."""
        return self.list_bytes(self.num_tokens) + self.list_bytes(sum(map(sum, self.pairs)))


def num_clusterings(config: PipelineConfig) -> int:
    """All chains, and each half where halves are clustered; all of it for every part of the run."""
    of_one = 1 + len(HALVES) * config.with_stability
    return of_one * len(config.parts)


def layout_of(
    config: PipelineConfig, shard_rows: Sequence[int], num_tokens: int | None = None
) -> Layout:
    """Rows of a run's product, or so many tokens in shards like its own."""
    if num_tokens is not None:
        per_shard = max(shard_rows)
        starts = range(0, num_tokens, per_shard)
        shard_rows = [min(per_shard, num_tokens - start) for start in starts]
    return Layout(shard_rows=tuple(shard_rows), block_rows=config.cluster.neighbour_rows)
