"""The plan of a run's clusterings: time and memory of every stage (ADR 045).

Units of transform and kNN lists go to the machines one at a time and each takes all cores of its
machine; what only one core can do is counted apart. Every machine makes its vectors and graph.
Seeds go to all cores round by round, and a round ends when its last seed does. Stages come one
after the other, and so do the rounds of several clusterings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from spectro.clustering.config import Preprocess, ToleranceKind
from spectro.clustering.vectors.preprocess import needs_covariances, needs_halves
from spectro.planning.cluster_rates import ClusterRates
from spectro.planning.cluster_work import GRAPH_NODE_BYTES, ClusterWork
from spectro.planning.device_costs import last_end


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What clusters are found on."""

    rates: ClusterRates
    """Of one core."""
    num_nodes: int = 1
    """Machines; at least 1."""
    num_cores: int = 1
    """Cores of each; at least 1."""


class Seconds(NamedTuple):
    """Of the processor, for one unit."""

    alone: float
    """On one core."""
    shared: float = 0.0
    """On all cores of a machine, evenly."""


@dataclass(frozen=True, kw_only=True)
class ClusterStage:
    """One kind of work, for all clusterings."""

    stage: str
    """What is done."""
    num_units: int
    """Pieces that are done one by one; rounds, where seeds are tried."""
    core_seconds: float
    """Of the processor."""
    finish_seconds: float
    """Until the last of them ends."""
    held_bytes: int
    """Peak of a machine's memory that is no file's."""
    mapped_bytes: int = 0
    """Files that are read here and there: slow where they do not fit beside it."""


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """All clusterings of a run."""

    num_tokens: int
    """Of each."""
    num_columns: int
    """Of χ."""
    num_neighbours: int
    """k."""
    num_clusterings: int
    """All chains, the halves, the control."""
    machines: Machines
    """What they are found on."""
    stages: tuple[ClusterStage, ...]
    """In the order of their work."""
    scratch_bytes: int
    """On the disk of each machine: only who drives a clustering's rounds removes its files."""
    stored_bytes: int
    """Neighbour lists, in storage."""
    notes: tuple[str, ...]
    """What is assumed."""

    @property
    def core_seconds(self) -> float:
        """Of the processor."""
        return sum(stage.core_seconds for stage in self.stages)

    @property
    def finish_seconds(self) -> float:
        """Of all stages, one after the other."""
        return sum(stage.finish_seconds for stage in self.stages)

    @property
    def peak_bytes(self) -> int:
        """Of a machine's memory, with what is mapped in it."""
        return max(stage.held_bytes + stage.mapped_bytes for stage in self.stages)


def plan_clusters(work: ClusterWork, machines: Machines, num_clusterings: int = 1) -> ClusterPlan:
    """Plan so many clusterings of one size.

    Raises ValueError for fewer than one machine, core or clustering.
    """
    given = (machines.num_nodes, machines.num_cores, num_clusterings)
    if min(given) < 1:
        raise ValueError(
            f"expected at least 1 machine, core and clustering, found {', '.join(map(str, given))}"
        )
    num_places = work.num_tokens * work.config.num_neighbours
    entries = machines.rates.entries_per_neighbour.value * num_places
    graph_bytes = work.graph_bytes(entries)
    lists_twice = 2 * work.list_bytes(work.num_tokens)  # in near order while the graph is built
    files = work.vector_bytes + lists_twice + graph_bytes
    stages = [
        *_vector_stages(work, machines, num_clusterings),
        *_list_stages(work, machines, num_clusterings),
        _graph_stage(work, machines, num_clusterings, entries),
        _seeds_stage(work, machines, num_clusterings, graph_bytes),
        _tables_stage(work, machines, num_clusterings, graph_bytes),
    ]
    return ClusterPlan(
        num_tokens=work.num_tokens,
        num_columns=work.num_columns,
        num_neighbours=work.config.num_neighbours,
        num_clusterings=num_clusterings,
        machines=machines,
        stages=tuple(stages),
        scratch_bytes=num_clusterings * files,
        stored_bytes=num_clusterings * work.stored_bytes,
        notes=_notes(work, machines),
    )


def _notes(work: ClusterWork, machines: Machines) -> tuple[str, ...]:
    notes = [f"rates of clusters: {machines.rates.provenance}"]
    if work.config.tolerance_kind is not ToleranceKind.REACH:
        kind = work.config.tolerance_kind.value
        notes.append(f"seeds cost what they do with a reach of 1000, not with {kind}: far more")
    if not work.config.overlap:
        notes.append("clusters: counted as if every token were tried; members of clusters are not")
    notes.append("clusters: a unit has all cores of its machine, and no other unit beside it")
    return tuple(notes)


def _stage(
    name: str, machines: Machines, units: Sequence[Seconds], held: float, mapped: int = 0
) -> ClusterStage:
    """Units that are dealt to the machines."""
    times = [unit.alone + unit.shared / machines.num_cores for unit in units]
    return ClusterStage(
        stage=name,
        num_units=len(units),
        core_seconds=sum(unit.alone + unit.shared for unit in units),
        finish_seconds=last_end(times, machines.num_nodes),
        held_bytes=int(held),
        mapped_bytes=mapped,
    )


def _vector_stages(work: ClusterWork, machines: Machines, times: int) -> list[ClusterStage]:
    """One pass for the transform, one on every machine for the vectors."""
    rates, columns = machines.rates, work.num_columns
    read = work.num_tokens * columns * rates.product_cell.value
    covariances = work.num_tokens * columns**2 * rates.covariance_cell.value
    fit = read + covariances * needs_covariances(work.config)
    if needs_halves(work.config):  # both halves side by side: twice the columns
        fit += 2 * read + 4 * covariances
    fit += 2 * read  # how far the halves agree on the vectors
    if work.config.preprocess is Preprocess.STANDARDISE:
        fit += read  # what the mean of the rows took
    copies = work.nodes_with_vectors(machines.num_nodes)
    held = work.shard_bytes
    return [
        _stage("transform", machines, [Seconds(fit)] * times, held),
        _stage("vectors", machines, [Seconds(read)] * copies * times, held),
    ]


def _list_stages(work: ClusterWork, machines: Machines, times: int) -> list[ClusterStage]:
    """Lists of all rows by the search that the settings mean, and their recall."""
    per_pair = machines.rates.exact_seconds(work.num_columns)
    recall = Seconds(0.0, work.recall_pairs * per_pair)
    held = 3 * work.list_bytes(max(work.blocks))
    found = _exact(work, machines, times, per_pair) if work.is_exact else _approximate(
        work, machines, times
    )  # fmt: skip
    return [*found, _stage("recall", machines, [recall] * times, held, work.vector_bytes)]


def _exact(
    work: ClusterWork, machines: Machines, times: int, per_pair: float
) -> list[ClusterStage]:
    """All pairs of rows once: of one block, or of every pair of blocks."""
    pairs = work.pairs or [(work.num_tokens, 0)]
    units = [Seconds(0.0, (a * b if b else a * a / 2) * per_pair) for a, b in pairs]
    rows = max(a + b for a, b in pairs)
    held, mapped = work.exact_peak(rows), work.vector_bytes
    if not work.pairs:
        return [_stage("neighbours: exact", machines, units * times, held, mapped)]
    return [
        _stage("neighbours: exact, pairs of blocks", machines, units * times, held, mapped),
        _merging(work, machines, times),
    ]


def _approximate(work: ClusterWork, machines: Machines, times: int) -> list[ClusterStage]:
    """One search, or one for each pair of blocks and then the merging of lists."""
    rates = machines.rates
    per_row, share = rates.approximate_seconds(work.num_columns), rates.serial_share.value
    searches = [a + b for a, b in work.pairs] or work.blocks
    units = [Seconds(share * rows * per_row, (1 - share) * rows * per_row) for rows in searches]
    held = work.search_peak(max(searches), rates.search_bytes.value)
    if not work.pairs:
        return [_stage("neighbours: one search", machines, units * times, held)]
    return [
        _stage("neighbours: pairs of blocks", machines, units * times, held),
        _merging(work, machines, times),
    ]


def _merging(work: ClusterWork, machines: Machines, times: int) -> ClusterStage:
    lists_each = len(work.blocks) - 1 + work.is_exact
    places = lists_each * work.config.num_neighbours
    merges = [Seconds(rows * places * machines.rates.merged_entry.value) for rows in work.blocks]
    return _stage("neighbours: merging", machines, merges * times, work.merge_peak)


def _graph_stage(
    work: ClusterWork, machines: Machines, times: int, num_entries: float
) -> ClusterStage:
    """On every machine that tries seeds, by all of its cores."""
    copies = work.nodes_with_graph(machines.num_nodes)
    each = Seconds(0.0, num_entries * machines.rates.graph_entry.value)
    mapped = 2 * work.list_bytes(work.num_tokens) + work.graph_bytes(num_entries)
    held = GRAPH_NODE_BYTES * work.num_tokens + 3 * work.list_bytes(max(work.blocks))
    stage = _stage("graph", machines, [each] * copies * times, held, mapped)
    return _in_turn(stage, copies * machines.num_cores)


def _seeds_stage(
    work: ClusterWork, machines: Machines, times: int, graph_bytes: int
) -> ClusterStage:
    """Rounds over all cores."""
    rates, per_round = machines.rates, work.seeds_per_round
    num_hands = machines.num_cores * work.nodes_with_graph(machines.num_nodes)
    num_rounds = math.ceil(work.num_seeds / per_round)
    last = work.num_seeds - (num_rounds - 1) * per_round
    waves = (num_rounds - 1) * math.ceil(per_round / num_hands) + math.ceil(last / num_hands)
    beside = num_rounds * rates.round.value
    return ClusterStage(
        stage="seeds",
        num_units=times * num_rounds,
        core_seconds=times * (work.num_seeds * rates.seed.value + beside),
        finish_seconds=times * (waves * rates.seed.value + beside),
        held_bytes=work.seeds_peak(machines.num_cores),
        mapped_bytes=graph_bytes,
    )


def _tables_stage(
    work: ClusterWork, machines: Machines, times: int, graph_bytes: int
) -> ClusterStage:
    """Sums over all rows, then what describes the clusters."""
    rates = machines.rates
    read = work.num_tokens * work.num_columns * rates.product_cell.value
    each = Seconds(read + work.num_tokens * rates.summed_row.value)
    held = work.num_tokens * rates.table_bytes.value + work.shard_bytes
    return _in_turn(_stage("tables", machines, [each] * times, held, graph_bytes), 1)


def _in_turn(stage: ClusterStage, num_cores: int) -> ClusterStage:
    """Clusterings one after the other, each on so many cores at once."""
    return replace(stage, finish_seconds=stage.core_seconds / num_cores)
