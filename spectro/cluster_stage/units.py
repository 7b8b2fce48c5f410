"""Units of the cluster stage: transform, neighbour lists, recall, clusters (ADR 024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from spectro.clustering.config import ClusterConfig
from spectro.clustering.knn.search_plan import APPROXIMATE_VERSION, block_pairs, is_exact
from spectro.config import to_dict
from spectro.formats.clusters.clusters import CLUSTERS, MEMBERS, PROVENANCE
from spectro.formats.clusters.knn_lists import (
    RECALL,
    TRANSFORM,
    folder_of,
    key_of,
    lists_name,
    pair_name,
)
from spectro.measure.units import SummaryUnit
from spectro.work.stage import RunPlan
from spectro.work.units import Unit

Half = Literal[0, 1]
HALVES: tuple[Half, Half] = (0, 1)
COSTS = {"transform": 0.05, "lists": 1.0, "merges": 0.05, "recall": 0.05}
"""Work of these units relative to each other: all lists together, or all pairs, are 1, and then
merging them into lists is little."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Rows of the product: how they are cut into shards on storage, and into blocks for lists."""

    shard_rows: tuple[int, ...]
    """Rows of every shard, in order."""
    block_rows: int
    """Rows of every block but the last."""

    @property
    def num_rows(self) -> int:
        """Tokens."""
        return sum(self.shard_rows)

    @property
    def num_blocks(self) -> int:
        """Blocks."""
        return -(-self.num_rows // self.block_rows)

    def block(self, block: int) -> range:
        """Rows of a block."""
        start = block * self.block_rows
        return range(start, min(start + self.block_rows, self.num_rows))

    def shards_of(self, rows: range) -> Iterator[tuple[int, slice, slice]]:
        """Shards that have some of these rows: (shard, which of the shard, which of the rows)."""
        first = 0
        for shard, size in enumerate(self.shard_rows):
            low, high = max(first, rows.start), min(first + size, rows.stop)
            if low < high:
                place = slice(low - rows.start, high - rows.start)
                yield shard, slice(low - first, high - first), place
            first += size


@dataclass(frozen=True, kw_only=True)
class ListsUnit(Unit):
    """What all units of one kNN graph know."""

    stage: ClassVar[str] = "neighbours"
    takes_all_cores: ClassVar[bool] = True
    needs_model: ClassVar[bool] = False
    is_intermediate: ClassVar[bool] = True
    key: str
    """Name of the set."""
    layout: Layout
    """Rows of the product."""
    probe_sha256: str
    """Of the tokens; what is of others is stale."""
    half: Half | None = None
    """Half of the chains whose χ it is; None: all chains."""


@dataclass(frozen=True, kw_only=True)
class TransformUnit(ListsUnit):
    """Moments of all rows, and the transform that they give."""

    @property
    def names(self) -> tuple[str, ...]:
        return (f"{folder_of(self.key)}/{TRANSFORM}",)


@dataclass(frozen=True, kw_only=True)
class PairUnit(ListsUnit):
    """Neighbours of the rows of two blocks: approximate in their union, or exact in the other."""

    first: int
    """One block."""
    second: int
    """The other; where search is exact, also the same."""

    @property
    def names(self) -> tuple[str, ...]:
        return (pair_name(self.key, self.first, self.second),)

    def superseded_by(self, name: str) -> tuple[str, ...]:
        """The lists of both blocks."""
        return tuple(self.in_run(lists_name(self.key, b)) for b in (self.first, self.second))


@dataclass(frozen=True, kw_only=True)
class NeighboursUnit(ListsUnit):
    """The nearest neighbours of every row of a block."""

    block: int
    """Which."""

    @property
    def names(self) -> tuple[str, ...]:
        return (lists_name(self.key, self.block),)


@dataclass(frozen=True, kw_only=True)
class RecallUnit(ListsUnit):
    """How many of the true neighbours the lists have."""

    @property
    def names(self) -> tuple[str, ...]:
        return (f"{folder_of(self.key)}/{RECALL}",)


@dataclass(frozen=True, kw_only=True)
class ClusterUnit(Unit):
    """Clusters of the product, or of one half of its chains."""

    stage: ClassVar[str] = "clusters"
    takes_all_cores: ClassVar[bool] = True
    needs_model: ClassVar[bool] = False
    key: str
    """Of the neighbour lists."""
    layout: Layout
    """Rows of the product."""
    half: Half | None = None
    """Half of the chains; None: all."""
    folder: str = "clusters"
    """Where they go, within the part of the run."""
    probe_sha256: str = ""
    """Of the tokens that it is made from; what is of others is stale."""
    with_stability: bool = False
    """Whether the clusters of both halves are there to compare with."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.folder}/{name}" for name in (PROVENANCE, CLUSTERS, MEMBERS))


def clusters_of_run(plan: RunPlan) -> list[Unit]:
    """Clusters of every measurement of a run."""
    info, config = plan.tokens, plan.config
    shard_rows = rows_of_shards(info.splits["probe"].shard_sizes, info.context)
    layout = Layout(shard_rows=shard_rows, block_rows=config.cluster.neighbour_rows)
    return [
        cluster_units(
            measured,
            config.cluster,
            layout,
            info.probe_sha256,
            folder=config.run.clusters,
            with_stability=config.with_stability,
        )
        for measured in plan.of_type(SummaryUnit)
    ]


def half_folder(folder: str, half: int) -> str:
    """Folder of a half's clusters."""
    return f"{folder}/half-{half}"


def cluster_units(
    measured: Unit,
    config: ClusterConfig,
    layout: Layout,
    probe_sha256: str,
    *,
    folder: str,
    with_stability: bool,
) -> ClusterUnit:
    """Clusters of one measurement; returns the last unit, which needs the rest.

    Args:
        measured: what the product is complete with.
        config: how they are found.
        layout: rows of the product.
        probe_sha256: of the tokens.
        folder: where they go.
        with_stability: whether both halves of the chains are clustered too.
    """

    def clusters(half: Half | None, place: str, needs: tuple[Unit, ...] = ()) -> ClusterUnit:
        own: dict[str, Any] = {
            "part": measured.part, "layout": layout, "half": half, "probe_sha256": probe_sha256,
            "key": key_of({
                "lists": lists_inputs(config, layout.num_rows), "tokens": probe_sha256,
                "half": half, "block_rows": layout.block_rows,
            }),
        }  # fmt: skip
        lists = _lists(measured, config, own)
        with_halves = bool(needs)
        return ClusterUnit(**own, folder=place, with_stability=with_halves, needs=(*lists, *needs))

    halves = [clusters(half, half_folder(folder, half)) for half in HALVES if with_stability]
    return clusters(None, folder, tuple(halves))


LISTS_FIELDS = (
    "preprocess",
    "whiten_variance",
    "whiten_reliability",
    "min_reliability",
    "weigh_by_reliability",
    "num_neighbours",
)
"""Settings that exact lists depend on."""


def lists_inputs(config: ClusterConfig, num_rows: int) -> dict[str, Any]:
    """What of the settings neighbour lists depend on: clusterings that agree in it share them."""
    plain = to_dict(config)
    found = {name: plain[name] for name in LISTS_FIELDS}
    if not is_exact(num_rows, config.neighbour_search):
        found["approximate"] = {"seed": config.seed, "version": APPROXIMATE_VERSION}
    return found


def _lists(measured: Unit, config: ClusterConfig, own: dict[str, Any]) -> tuple[Unit, ...]:
    """What clusters are made from: recall, lists, transform; all, for any of them may be lost."""
    layout: Layout = own["layout"]
    blocks = range(layout.num_blocks)
    transform = TransformUnit(**own, cost=COSTS["transform"], needs=(measured,))
    exact = is_exact(layout.num_rows, config.neighbour_search)
    both = block_pairs(layout.num_blocks, exact=exact)
    pairs = [
        PairUnit(**own, first=a, second=b, cost=COSTS["lists"] / len(both), needs=(transform,))
        for a, b in both
    ]
    lists = tuple(
        NeighboursUnit(
            **own,
            block=block,
            cost=COSTS["merges" if pairs else "lists"] / layout.num_blocks,
            needs=tuple(p for p in pairs if block in (p.first, p.second)) or (transform,),
        )
        for block in blocks
    )
    return RecallUnit(**own, cost=COSTS["recall"], needs=lists), *lists, transform


def rows_of_shards(shard_sizes: tuple[int, ...], context: int) -> tuple[int, ...]:
    """Rows of the product's shards, from the sequences of the token shards."""
    return tuple(size * context for size in shard_sizes)
