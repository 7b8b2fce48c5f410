"""Clusters followed over all checkpoints of a training run (ADR 106).

A lineage is a cluster at one checkpoint and what continues it at the following ones (`kept`).
Shapes: S checkpoints in order of their steps, C clusters of one checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spectro.analysis.cluster_flow import ClusterFlow, Fate, FlowShares, Origin


@dataclass(frozen=True, kw_only=True)
class ClusteredCheckpoint:
    """The clusters of one checkpoint."""

    name: str
    """The measured run, or its folder of clusters."""
    step: int
    """Training step, or tokens seen."""
    num_tokens: int
    """Tokens that were clustered."""
    num_clustered: int
    """Tokens in any cluster."""
    size_C: tuple[int, ...]
    """Members of each cluster."""
    shown_C: tuple[str, ...]
    """Its name, else its most common y, in the display alphabet."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFlow:
    """From one checkpoint to the next, and what it is to be compared with."""

    flow: ClusterFlow
    chance: FlowShares
    """With the later clusters' tokens shuffled: random sets of the same sizes."""
    chance_same_y: FlowShares
    """The same, shuffled among tokens of the same y: what a cluster's tokens y alone give."""
    other_draws: FlowShares | None
    """From one half of the chains to the other, at that of the two checkpoints whose halves share
    fewer clusters: what changes without any training; None where the halves have no clusters."""

    @property
    def measured(self) -> FlowShares:
        """Shares of the clusters by fate and origin."""
        return FlowShares.mean_of([self.flow])


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A cluster and its continuations."""

    start: int
    """Index of its first checkpoint."""
    clusters: tuple[int, ...]
    """Its cluster at that checkpoint and at those that follow."""
    origin: Origin | None
    """How it began; None at the first checkpoint."""
    parents: tuple[int, ...]
    """Clusters of the checkpoint before that it merged or split from."""
    fate: Fate | None
    """How it ended; None at the last checkpoint."""

    @property
    def end(self) -> int:
        """Index of its last checkpoint."""
        return self.start + len(self.clusters) - 1

    def cluster_at(self, checkpoint: int) -> int | None:
        """Its cluster at a checkpoint; None where it has none."""
        return (
            self.clusters[checkpoint - self.start] if self.start <= checkpoint <= self.end else None
        )


@dataclass(frozen=True, kw_only=True)
class ClustersOverTraining:
    """Clusters of all checkpoints, with fates, origins and lineages."""

    checkpoints: tuple[ClusteredCheckpoint, ...]
    """[S], by step."""
    flows: tuple[CheckpointFlow, ...]
    """[S − 1]."""
    lineages: tuple[Lineage, ...]
    """Those of the last checkpoint first, then by their ends; largest last cluster first."""


def lineages(num_clusters_S: Sequence[int], flows: Sequence[ClusterFlow]) -> list[Lineage]:
    """Every cluster of every checkpoint in exactly one lineage, in order of their ends and ids.

    Raises ValueError unless the flows are between checkpoints of so many clusters.
    """
    sizes = [(len(flow.fate_A), len(flow.origin_B)) for flow in flows]
    if sizes != list(pairwise(num_clusters_S)):
        raise ValueError(
            f"expected flows between checkpoints of {list(num_clusters_S)} clusters, found {sizes}"
        )
    next_of = [{link.earlier: link.later for link in flow.links if link.kept} for flow in flows]
    found = []
    for start, count in enumerate(num_clusters_S):
        for cluster in range(count):
            origin = None if start == 0 else flows[start - 1].origin_B[cluster]
            if origin is Origin.KEPT:
                continue
            clusters = [cluster]
            for step in next_of[start:]:
                if clusters[-1] not in step:
                    break
                clusters.append(step[clusters[-1]])
            end = start + len(clusters) - 1
            found.append(
                Lineage(
                    start=start,
                    clusters=tuple(clusters),
                    origin=origin,
                    parents=() if start == 0 else _parents(flows[start - 1], cluster),
                    fate=None if end == len(flows) else flows[end].fate_A[clusters[-1]],
                )
            )
    return sorted(found, key=lambda own: (-own.end, own.clusters[-1]))


def _parents(flow: ClusterFlow, cluster: int) -> tuple[int, ...]:
    if flow.origin_B[cluster] is Origin.BORN:
        return ()
    return tuple(link.earlier for link in flow.links if link.later == cluster)
