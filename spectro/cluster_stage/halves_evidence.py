"""Evidence for clusters from clusterings and kNN lists of the halves of the chains (ADR 069)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import HALVES, ClusterUnit, Layout, half_folder
from spectro.clustering.holds import HalvesEvidence
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.list_agreement import NeighbourAgreement, neighbour_agreement
from spectro.clustering.matching import Clustering, stability
from spectro.clustering.significance import TokenGroups, benjamini_hochberg, p_values, q_of_matches
from spectro.formats.clusters.clusters import members_of, read_clusters
from spectro.formats.clusters.knn_lists import LISTS_OF_BLOCK, read_lists
from spectro.storage.store import Store

NUM_TESTED = 45
"""Largest number of neighbours in the test: bounds memory."""


def halves_evidence(
    unit: ClusterUnit,
    store: Store,
    members: Sequence[npt.NDArray[np.integer]],
    y_N: npt.NDArray[np.integer],
    seed: int,
) -> HalvesEvidence:
    """Stability, shared neighbours and q-values of clusters of all draws.

    Members are rows of the product. Reads the lists of both halves by block and holds 4 · k bytes
    per token and half.
    """
    stored = [read_clusters(store.child(half_folder(unit.folder, h)).uri) for h in HALVES]
    halves = [members_of(half) for half in stored]
    folders = [str(half.provenance["lists"]) for half in stored]
    index, shared = _lists(store, folders, unit.layout)
    groups = TokenGroups.of(y_N)

    def q_of(half: int) -> npt.NDArray[np.float64]:
        other = index[1 - half]
        return benjamini_hochberg(p_values(halves[half], other, groups, seed=seed))

    with ThreadPoolExecutor(len(HALVES)) as pool:
        q_values = list(pool.map(q_of, HALVES))
    num_tokens = unit.layout.num_rows
    sides = [Clustering.of(half, num_tokens) for half in halves]
    return HalvesEvidence(
        stability_C=stability(members, halves, num_tokens),
        shared_neighbours_C=shared.of_clusters(members),
        q_value_C=q_of_matches(Clustering.of(members, num_tokens), sides, q_values),
        shared_of_all=shared.mean,
        shared_by_chance=shared.chance,
    )


def _lists(
    store: Store, folders: Sequence[str], layout: Layout
) -> tuple[list[npt.NDArray[np.int32]], NeighbourAgreement]:
    """Neighbours of both halves, [N, k'] each, and the agreement of their lists."""
    parts: list[list[npt.NDArray[Any]]] = [[], []]
    shares, chance = [], 0.0
    for block in range(layout.num_blocks):
        both: list[Neighbours] = [
            read_lists(store, LISTS_OF_BLOCK.format(folder=folder, block=block))
            for folder in folders
        ]
        found = neighbour_agreement(*both, num_tokens=layout.num_rows)
        shares.append(found.share_N)
        chance = found.chance
        for part, lists in zip(parts, both, strict=True):
            part.append(lists.index_Nk[:, :NUM_TESTED])
    agreement = NeighbourAgreement(share_N=np.concatenate(shares), chance=chance)
    return [np.concatenate(part) for part in parts], agreement
