"""The cluster unit: rounds of seeds on the node's graph, evidence, tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spectro.cluster_stage.distributed_seeds import DistributedSeedExecutor
from spectro.cluster_stage.halves_evidence import halves_evidence
from spectro.cluster_stage.seed_places import SeedPlace, seed_places
from spectro.cluster_stage.seed_workers import (
    QUEUED,
    ProcessSeedWorker,
    SeedProcess,
    ThreadSeedWorker,
    Tokens,
)
from spectro.cluster_stage.units import HALVES, ClusterUnit, half_folder
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.cluster_sums import ClusterSummary, ClusterSums
from spectro.clustering.clusters import Clusters, assemble, by_size
from spectro.clustering.config import ClusterConfig
from spectro.clustering.describe import TokenLabels, describe_sums
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.holds import HalvesEvidence
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import find_clusters
from spectro.clustering.local.seed_proposal import SeedParameters
from spectro.clustering.matching import Clustering
from spectro.config import PipelineConfig, to_dict
from spectro.formats import fingerprint, tokens
from spectro.formats.checkpoint_bank import CheckpointBank
from spectro.formats.clusters.clusters import PROVENANCE, write_clusters
from spectro.formats.clusters.knn_lists import RECALL, folder_of
from spectro.formats.derived_objects import TOKENS
from spectro.formats.product import read_labels
from spectro.measure.checkpoint_writer import CheckpointWriter
from spectro.sampling.checkpoint import Checkpoint
from spectro.storage.background import BackgroundWriter
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.work.stage import OnProgress, ShouldStop, WorkerContext
from spectro.work.threads import own_threads

STATE, ROUNDS = "state", "rounds"
STATE_FORMAT = 3
"""Increased with every change of the rounds or their state: older checkpoints are ignored."""


def check_clusters(root: Store, parts: Iterable[str], config: PipelineConfig) -> None:
    """Raise OtherRunError if some part's clusters were found with other settings.

    Clusters of fewer tokens than the run has now are replaced, with any settings.
    """
    if not root.exists(tokens.MARKER):
        return
    probe_sha256 = tokens.read_info(root).probe_sha256
    halves = HALVES if config.with_stability else ()
    folders = [config.run.clusters, *(half_folder(config.run.clusters, half) for half in halves)]
    for store in (root.child(part).child(folder) for part in parts for folder in folders):
        if store.exists(PROVENANCE) and read_sealed(store, PROVENANCE)[TOKENS] == probe_sha256:
            _require_settings(store, config.cluster)


def find_and_write_clusters(
    unit: ClusterUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Find and store clusters of one part of a run, or of a half of its chains.

    Raises HandedBack on preemption, with a checkpoint in storage.
    """
    store, config = context.of(unit)
    bank = CheckpointBank(store.child(unit.folder), STATE, ROUNDS, _digest(unit, config.cluster))
    with ListsOnNode(store, unit.key, unit.half, unit.layout, config.run.scratch) as lists:
        graph = lists.graph()
        with BackgroundWriter() as background:
            keeper = CheckpointWriter(
                bank, background, config.run.checkpoint_seconds, should_stop, resumed=bank.newest()
            )
            state = _rounds(unit, store, graph, config, keeper, on_progress)
        _write(unit, store, lists, graph, state, config.cluster)
        bank.remove()
        lists.scratch.remove()


def _rounds(
    unit: ClusterUnit,
    store: Store,
    graph: Graph,
    config: PipelineConfig,
    keeper: CheckpointWriter,
    on_progress: OnProgress,
) -> SelectionState:
    """All rounds, from the newest checkpoint on."""
    checkpoints = keeper.checkpoints()
    executors: list[DistributedSeedExecutor] = []

    def make_executor(*known: Any) -> DistributedSeedExecutor:
        executors.append(_executor(unit, store, config, *known))
        return executors[-1]

    def on_round(state: SelectionState) -> None:
        on_progress(state.num_tried, state.num_tokens)
        if checkpoints.due():
            checkpoints.save(state.num_rounds, _snapshot(state))

    before = None if checkpoints.resume is None else _state(checkpoints.resume)
    try:
        return find_clusters(graph, config.cluster, make_executor, before, on_round)
    finally:
        for executor in executors:
            executor.close()


def _write(
    unit: ClusterUnit,
    store: Store,
    lists: ListsOnNode,
    graph: Graph,
    state: SelectionState,
    config: ClusterConfig,
) -> None:
    """Describe and put the clusters; existing ones must have the same settings."""
    target, labels = store.child(unit.folder), _labels(store, unit)
    sums = _sums(lists, state, labels)
    found = assemble(state, graph, lists.transform, config, sums)
    folder = folder_of(unit.key)
    try:
        write_clusters(
            target.uri,
            found,
            describe_sums(sums, found.size_C),
            labels,
            components=lists.components,
            halves=_evidence(unit, store, found, labels, config),
            extra={
                "product_fingerprint": lists.fingerprint,
                "lists": folder,
                "recall": read_sealed(store, f"{folder}/{RECALL}"),
                TOKENS: unit.probe_sha256,
            },
        )
    except FileExistsError:  # another writer was first: its clusters must be the same
        _require_settings(target, config)


def _sums(lists: ListsOnNode, state: SelectionState, labels: TokenLabels) -> ClusterSummary:
    """Per-cluster means and counts, shard by shard."""
    clusters = Clustering.of([c.tokens for c in by_size(state)], lists.layout.num_rows)
    sums = ClusterSums(clusters, len(labels.subset_names))
    for first, standardised_nH, x_nD in lists.rows():
        rows = slice(first, first + len(x_nD))
        sums.add(standardised_nH, x_nD, labels.token_N[rows], labels.subset_N[rows])
    return sums.finish()


def _evidence(
    unit: ClusterUnit, store: Store, found: Clusters, labels: TokenLabels, config: ClusterConfig
) -> HalvesEvidence | None:
    """Evidence from the halves; None if they were not clustered.

    Raises OtherRunError if the halves were clustered with other settings.
    """
    if not unit.with_stability:
        return None
    for half in HALVES:
        _require_settings(store.child(half_folder(unit.folder, half)), config)
    return halves_evidence(unit, store, found.members, labels.token_N, config.seed)


def _labels(store: Store, unit: ClusterUnit) -> TokenLabels:
    shards = range(len(unit.layout.shard_rows))
    table = pa.concat_tables(
        [read_labels(store, shard, ("token_id", "token", "subset")) for shard in shards]
    ).unify_dictionaries()  # later shards may know more subsets
    subset = table["subset"].combine_chunks()
    return TokenLabels(
        token_id_N=np.asarray(table["token_id"]).astype(np.int64),
        token_N=np.asarray(table["token"]).astype(np.int32),
        subset_N=np.asarray(subset.indices).astype(np.int16),
        subset_names=tuple(subset.dictionary.to_pylist()),
    )


def _executor(
    unit: ClusterUnit,
    store: Store,
    config: PipelineConfig,
    graph: Graph,
    rule: SeedParameters,
    removed: npt.NDArray[np.uint8],
) -> DistributedSeedExecutor:
    run, actor = config.run, ray.remote(SeedProcess)

    def start(num_present: int, num_starting: int, known: Tokens) -> list[ProcessSeedWorker]:
        places = seed_places(run, graph.num_nodes, num_present, num_starting)
        return [
            ProcessSeedWorker(
                actor.options(**_options(place)).remote(
                    store.uri, unit, config.cluster, run.scratch, known, place.num_cpus
                ),
                place.num_cpus,
            )
            for place in places
        ]

    return DistributedSeedExecutor(
        threads=ThreadSeedWorker(graph, rule, removed, own_threads(run)),
        start_processes=start,
        removed=[np.flatnonzero(removed).astype(np.int32)],
    )


def _options(place: SeedPlace) -> dict[str, Any]:
    """Ray's options of a process; one that its machine has no room for any more fails to start."""
    options = {"num_cpus": place.num_cpus, "max_restarts": 0, "max_concurrency": QUEUED}
    if place.node is None:
        return options
    return options | {
        "scheduling_strategy": NodeAffinitySchedulingStrategy(
            node_id=place.node, soft=False, _fail_on_unavailable=True
        )
    }


def _snapshot(state: SelectionState) -> Checkpoint:
    arrays = state.to_arrays()
    return Checkpoint(tensors={name: torch.from_numpy(a.copy()) for name, a in arrays.items()})


def _state(snapshot: Checkpoint) -> SelectionState:
    return SelectionState.from_arrays({n: t.numpy() for n, t in snapshot.tensors.items()})


def _digest(unit: ClusterUnit, config: ClusterConfig) -> str:
    """Digest of the inputs of the rounds."""
    text = json.dumps([STATE_FORMAT, unit.key, to_dict(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_settings(folder: Store, config: ClusterConfig) -> None:
    """Raise OtherRunError unless existing clusters have these settings."""
    found = read_sealed(folder, PROVENANCE)["config"]
    fingerprint.require_same(
        folder.uri,
        {"cluster": found},
        {"cluster": to_dict(config)},
        "name=<name> puts another clustering beside it, or remove that folder",
    )
