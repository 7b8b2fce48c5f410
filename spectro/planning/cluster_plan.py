"""What the clusterings of a run will cost, before anything is spent (ADR 045)."""

from __future__ import annotations

from dataclasses import dataclass

from spectro.clustering.config import ToleranceKind
from spectro.planning.cluster_costs import (
    ClusterStage,
    Machines,
    graph_stage,
    list_stages,
    seeds_stage,
    tables_stage,
    vector_stages,
)
from spectro.planning.cluster_work import ClusterWork


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
        *vector_stages(work, machines, num_clusterings),
        *list_stages(work, machines, num_clusterings),
        graph_stage(work, machines, num_clusterings, entries),
        seeds_stage(work, machines, num_clusterings, graph_bytes),
        tables_stage(work, machines, num_clusterings, graph_bytes),
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
    if work.is_exact:
        notes.append("clusters: exact search on the CPU; a worker with a GPU searches there")
    return tuple(notes)
