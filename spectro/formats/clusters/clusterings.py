"""Locates clusterings, and finds the tokens that two of them share.

A URI names a run (its `clusters/`), a part of a run (`<run>/control`) or a folder of clusters
(`<run>/clusters-k30`, `<run>/clusters/half-0`); rows and sequences are in that folder or above it.
Within a run token_id = sequence_id · T + position, and added tokens follow; tokens of two runs are
the same if their whole sequences are.

Shapes: N tokens, M members, S sequences, T context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.clustering.matching import Clustering
from spectro.formats import run_dir, tokens
from spectro.formats.clusters.clusters import CLUSTERS, MEMBERS, PROVENANCE, read_table
from spectro.formats.product import moments_name, refuse_earlier_layout
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store

FOLDER = "clusters"
MAX_PARENTS = 4
"""Levels between a folder of clusters and its run (`<run>/control/clusters/half-0`)."""


@dataclass(frozen=True, kw_only=True)
class ClusteringFolders:
    """Folders of a clustering and of what it was made from."""

    name: str
    """As given by the user."""
    clusters: Store
    """Holds cluster.json and its tables."""
    part: Store
    """Holds the rows (susceptibilities/)."""
    root: Store
    """Holds the sequences (tokens/)."""


@dataclass(frozen=True, kw_only=True)
class StoredClustering:
    """A clustering by token ids of its run."""

    place: ClusteringFolders
    provenance: dict[str, Any]
    """cluster.json."""
    size_C: npt.NDArray[np.int64]
    """Members of every cluster."""
    token_id_M: npt.NDArray[np.int64]
    """Members' ids, in the order of storage."""
    cluster_M: npt.NDArray[np.int32]
    """Their clusters."""
    num_tokens: int
    """Tokens that were clustered: ids 0 … N−1."""

    def among(self, row_N: npt.NDArray[np.int64], num_rows: int) -> Clustering:
        """Only tokens with a row: row_N is the row of each token id, −1 for none."""
        row_M = row_N[self.token_id_M]
        kept = row_M >= 0
        return Clustering.of_pairs(self.cluster_M[kept], row_M[kept], self.size_C.size, num_rows)


def find_clustering(uri: str) -> ClusteringFolders:
    """Location of the clusters of a URI; raises ValueError, in one line, if there are none."""
    store = Store(uri)
    inside = store.child(FOLDER)
    folder = next((each for each in (inside, store) if each.exists(PROVENANCE)), None)
    if folder is None:
        if store.exists(run_dir.NAME) or store.exists(moments_name(0)):
            raise ValueError(
                f"{store.uri} has no clusters yet: expected {FOLDER}/{PROVENANCE}; make them with "
                f"spectro cluster run.uri={store.uri}"
            )
        raise ValueError(
            f"{store.uri} is neither a run nor a folder of clusters: it has no {run_dir.NAME} and "
            f"no {PROVENANCE}"
        )
    above = list(_above(folder))
    part = next((each for each in above if each.exists(moments_name(0))), None)
    root = next((each for each in above if each.exists(tokens.MARKER)), None)
    if part is None or root is None:
        for each in above:
            refuse_earlier_layout(each)
        raise ValueError(
            f"{folder.uri} is not in a run: expected susceptibilities/ and {tokens.MARKER} in a "
            "folder above it; was it copied out of its run?"
        )
    return ClusteringFolders(name=uri, clusters=folder, part=part, root=root)


def read_clustering(place: ClusteringFolders) -> StoredClustering:
    """Members and sizes, checked against cluster.json; raises DamagedObjectError."""
    provenance = read_sealed(place.clusters, PROVENANCE)
    members = read_table(place.clusters, MEMBERS, provenance, ["token_id", "cluster_id"])
    sizes = read_table(place.clusters, CLUSTERS, provenance, ["size"])
    return StoredClustering(
        place=place,
        provenance=provenance,
        size_C=np.asarray(sizes["size"].combine_chunks()).astype(np.int64),
        token_id_M=np.asarray(members["token_id"].combine_chunks()),
        cluster_M=np.asarray(members["cluster_id"].combine_chunks()),
        num_tokens=int(provenance["statistics"]["num_tokens"]),
    )


def shared_rows(
    a: StoredClustering, b: StoredClustering
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Rows of the shared tokens by token id of `a` and of `b` (−1: not shared), and their number.

    Raises ValueError, in one line, if they share none.
    """
    infos = [tokens.read_info(each.place.root) for each in (a, b)]
    contexts = [info.context for info in infos]
    if contexts[0] != contexts[1]:
        raise ValueError(
            f"{a.place.name} and {b.place.name} are of different tokens: contexts of "
            f"{contexts[0]} and {contexts[1]}; only the same sequences can be compared"
        )
    num_a, num_b = (each.num_tokens // contexts[0] for each in (a, b))
    same = infos[0].probe_sha256 == infos[1].probe_sha256
    pairs_P2 = _in_order(min(num_a, num_b)) if same else _joined(a, b, num_a, num_b)
    if not len(pairs_P2):
        raise ValueError(
            f"{a.place.name} and {b.place.name} are of different tokens: none of {num_a} and "
            f"{num_b} sequences (contexts of {contexts[0]} tokens) is in both; measure both on "
            "the same text"
        )
    rows = [_rows(pairs_P2[:, side], num, contexts[0]) for side, num in enumerate((num_a, num_b))]
    return rows[0], rows[1], len(pairs_P2) * contexts[0]


def _in_order(num: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(num, dtype=np.int64)[:, None], 2, axis=1)


def _joined(
    a: StoredClustering, b: StoredClustering, num_a: int, num_b: int
) -> npt.NDArray[np.int64]:
    """Pairs of sequences with equal ids; duplicates pair in order."""
    of_b = {key: s for s, key in enumerate(_keys(b.place.root, num_b))}
    pairs = [(s, of_b[key]) for s, key in enumerate(_keys(a.place.root, num_a)) if key in of_b]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _keys(root: Store, num: int) -> Iterator[tuple[bytes, int]]:
    """Digest of the ids and index among its duplicates, of the first sequences."""
    info, seen, left = tokens.read_info(root), {}, num  # type: ignore[var-annotated]
    for shard in range(info.splits["probe"].num_shards):
        ids_ST1 = tokens.read_shard(root, "probe", shard, info)[1].ids_ST1[:left]
        left -= len(ids_ST1)
        for ids in np.ascontiguousarray(ids_ST1, np.int32):
            key = hashlib.sha256(ids.tobytes()).digest()[:16]
            seen[key] = seen.get(key, -1) + 1
            yield key, seen[key]
        if not left:
            return


def _rows(
    sequence_P: npt.NDArray[np.int64], num_sequences: int, context: int
) -> npt.NDArray[np.int64]:
    """Row of every token id, where sequence_P[i] has rows i·T … i·T + T − 1."""
    first_S = np.full(num_sequences, -1, np.int64)
    first_S[sequence_P] = np.arange(sequence_P.size) * context
    rows = first_S[:, None] + np.where(first_S[:, None] >= 0, np.arange(context), 0)
    result: npt.NDArray[np.int64] = rows.reshape(-1)
    return result


def _above(store: Store) -> Iterator[Store]:
    if store.is_local:
        path = Path(store.root).resolve()
        for folder in [path, *path.parents][: MAX_PARENTS + 1]:
            yield Store(str(folder))
        return
    scheme, _, rest = store.uri.partition("://")
    parts = rest.split("/")
    for length in range(len(parts), max(0, len(parts) - MAX_PARENTS - 1), -1):
        yield Store(f"{scheme}://{'/'.join(parts[:length])}")
