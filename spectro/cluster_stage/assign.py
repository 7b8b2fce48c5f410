"""Assigns tokens measured after the clustering to its clusters (ADR 029)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.cluster_stage.clustered import ClusteredTokens
from spectro.clustering.assign import Assignment, assign, neighbours_among
from spectro.clustering.config import AssignConfig
from spectro.clustering.matching import Clustering
from spectro.config import to_dict
from spectro.formats import tokens
from spectro.formats.clusters.assigned import is_assigned, names, put_assigned, read_assigned
from spectro.formats.clusters.clusterings import StoredClustering, find_clustering, read_clustering
from spectro.formats.clusters.clusters import clusters_sha256
from spectro.formats.product import read_head
from spectro.formats.run_dir import require
from spectro.storage.store import Store

OnProgress = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """Result of `assign_tokens`."""

    name: str
    """URI of the table."""
    clusters: str
    """URI of the clusters."""
    num_clusters: int
    cluster_M: NDArray[np.int32]
    """Cluster of every token, −1 for none."""
    share_M: NDArray[np.float32]
    """Largest share of the weight of any cluster."""
    was_there: bool
    """Whether it existed already."""


def assign_tokens(
    uri: str,
    source: str | None,
    config: AssignConfig,
    on_progress: OnProgress = lambda done, total: None,
    *,
    scratch: str | None = None,
) -> Assigned:
    """Assign a run's unclustered tokens, or all tokens of another run.

    Args:
        uri: run, part or folder of clusters (`find_clustering`).
        source: run or part with the tokens; None: the tokens added to the same run.
        config: settings.
        on_progress: called with tokens done and tokens in all.
        scratch: folder for a copy of the clustered vectors; None: the system's.

    Raises ValueError, in one line, without clusters, without tokens to assign, or for tokens
    measured along other draws; DamagedObjectError.
    """
    stored = read_clustering(find_clustering(uri))
    rows, sequences, first = _source(stored, source)
    clustered = ClusteredTokens(stored, scratch)
    inputs = _inputs(stored, rows, sequences, first, config)
    inputs |= clustered.width_inputs(_num_neighbours(stored, config))
    num_new = _num_tokens(sequences) - first
    if num_new < 1:
        raise ValueError(
            f"{stored.place.part.uri} has no tokens that its clusters do not know: add some "
            "(spectro sample run.uri=... tokens=more), or give the run of others (from=...)"
        )
    folder = stored.place.clusters
    was_there = is_assigned(folder, inputs)
    if not was_there:
        with clustered:
            work = (stored, rows, first, num_new, config, on_progress)
            token_id_M, found = _assign(clustered, *work)
        facts = {
            "from": rows.uri,
            "num_tokens": int(token_id_M.size),
            "num_assigned": int((found.cluster_M >= 0).sum()),
        }
        put_assigned(folder, inputs, token_id_M, found, facts)
    table, _ = read_assigned(folder, inputs)
    return Assigned(
        name=f"{folder.uri}/{names(inputs)[0]}",
        clusters=folder.uri,
        num_clusters=stored.size_C.size,
        cluster_M=np.asarray(table["cluster_id"].combine_chunks()),
        share_M=np.asarray(table["share"].combine_chunks()),
        was_there=was_there,
    )


def _source(stored: StoredClustering, source: str | None) -> tuple[Store, Store, int]:
    """Store of the rows, store of their sequences, and the first token id."""
    place = stored.place
    if source is None:
        return place.part, place.root, stored.num_tokens
    rows = Store(source)
    require(rows)
    root = rows if rows.exists(tokens.MARKER) else rows.above()
    return rows, root, 0


def _inputs(
    stored: StoredClustering, rows: Store, sequences: Store, first: int, config: AssignConfig
) -> dict[str, Any]:
    """Inputs of the assignment; ValueError unless both were measured along the same draws."""
    own, theirs = (read_head(each, 0).fingerprint for each in (stored.place.part, rows))
    known = stored.provenance.get("product_fingerprint", own)
    if theirs != known:
        raise ValueError(
            f"the rows of {rows.uri} have fingerprint {theirs[:16]}, the clusters of "
            f"{stored.place.name} {known[:16]}: they were measured along other draws, so their "
            "columns are not comparable; measure the tokens with tokens=more in the same run"
        )
    return {
        "clusters": clusters_sha256(stored.place.clusters),
        "fingerprint": theirs,
        "tokens": tokens.read_info(sequences).probe_sha256,
        "first_token_id": first,
        "config": to_dict(config),
    }


def _num_tokens(sequences: Store) -> int:
    info = tokens.read_info(sequences)
    return info.splits["probe"].num_sequences * info.context


def _assign(
    clustered: ClusteredTokens,
    stored: StoredClustering,
    rows: Store,
    first: int,
    num_new: int,
    config: AssignConfig,
    on_progress: OnProgress,
) -> tuple[NDArray[np.int64], Assignment]:
    """Shard by shard, with the clustered vectors memory-mapped."""
    k, num_old = _num_neighbours(stored, config), stored.num_tokens
    on_progress(0, num_new)
    x_ND, widths = clustered.vectors(), clustered.local_scales(k)
    clusters = Clustering.of_pairs(stored.cluster_M, stored.token_id_M, stored.size_C.size, num_old)
    ids, clusters_found, shares, done = [], [], [], 0
    for shard in clustered.rows(rows):
        new = shard.token_id_M >= first
        if not new.any():
            continue
        around = neighbours_among(clustered.place(shard, new), x_ND, k)
        found = assign(around, widths, clusters, min_share=config.min_share)
        ids.append(shard.token_id_M[new])
        clusters_found.append(found.cluster_M)
        shares.append(found.share_M)
        done += ids[-1].size
        on_progress(done, num_new)
    if done != num_new:
        raise ValueError(
            f"{rows.uri} has rows of {done} of {num_new} tokens to assign: is it measured to the "
            "end? spectro sample goes on"
        )
    return np.concatenate(ids), Assignment(
        cluster_M=np.concatenate(clusters_found), share_M=np.concatenate(shares)
    )


def _num_neighbours(stored: StoredClustering, config: AssignConfig) -> int:
    return config.num_neighbours or int(stored.provenance["config"]["num_neighbours"])
