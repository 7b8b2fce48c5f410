"""The weighted kNN graph in CSR, in memory or mapped from files.

A node is an index into the graph's arrays, a token a row of χ: they differ by `locality_order`.
Only the code for seeds works with nodes.

Shapes: N nodes, E stored entries (each edge twice, a self loop once).
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numba import njit
from numpy.typing import NDArray

from spectro.clustering.graph.knn_graph import (
    Allocate,
    build_csr,
    check_lists,
    in_parts,
    part_bounds,
)
from spectro.clustering.graph.node_order import inverse, locality_order, rename
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.vectors.mapped_array import mapped_array

ARRAYS = ("indptr", "indices", "weights", "degrees", "token_N", "node_N")
"""Files of a graph's folder, `<name>.npy`."""
LISTS = ("index", "distance")
"""Present while it is built: the lists, in locality order."""
COMPLETE = "graph.json"
"""Written last: marks a complete folder."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An undirected weighted graph; degree is the row sum, a self loop counted once.

    The arrays are in memory or read-only maps of files shared by all processes of a node.
    """

    indptr: NDArray[np.int64]
    """Row v's entries are indptr[v] : indptr[v+1]."""
    indices: NDArray[np.int32]
    """Neighbours, ascending in each row."""
    weights: NDArray[np.float32]
    """Edge weights, positive and exactly symmetric."""
    degrees: NDArray[np.float64]
    """Sum of each row's weights, from left to right."""
    token_N: NDArray[np.int32]
    """Token of every node."""
    node_N: NDArray[np.int32]
    """Node of every token."""
    num_mutual: int | None = None
    """Edges whose ends list each other; None if not made of lists."""

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.indptr.size - 1

    @cached_property
    def volume(self) -> float:
        """Sum of all degrees."""
        return float(self.degrees.sum())

    def adjacency(self) -> "sparse.csr_matrix":
        """Adjacency of tokens as a SciPy matrix: a copy, for small graphs."""
        shape = (self.num_nodes, self.num_nodes)
        between_nodes = sparse.csr_matrix((self.weights, self.indices, self.indptr), shape=shape)
        return between_nodes[self.node_N][:, self.node_N]

    def conductance(self, tokens: NDArray[np.int32]) -> float:
        """cut(S) / min(vol S, vol rest) from the definition; 1 if either is empty."""
        members = np.unique(self.node_N[tokens])
        volume = float(self.degrees[members].sum())
        smaller = min(volume, self.volume - volume)
        if smaller <= 0:
            return 1.0
        return float(_cut(self.indptr, self.indices, self.weights, members)) / smaller

    @classmethod
    def create(cls, folder: Path, neighbours: Neighbours, *, num_threads: int = 1) -> "Graph":
        """Build the graph into files of a folder and open it; one writer only.

        Memory beyond lists and page cache: 12 bytes per node; on disk temporarily the lists once
        more. An incomplete folder is rewritten. OSError if the disk is too small (space is reserved
        first), ValueError as `self_tuning_graph`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMPLETE).unlink(missing_ok=True)

        maps: list[np.memmap[Any, Any]] = []

        def allocate(name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
            maps.append(mapped_array(folder / f"{name}.npy", dtype, shape))
            return np.asarray(maps[-1])

        graph = _built(neighbours, allocate, num_threads)
        facts = {"num_nodes": graph.num_nodes, "num_mutual": graph.num_mutual}
        for array in maps:
            array.flush()  # before the marker
        del graph, array
        maps.clear()  # closes them
        for name in LISTS:
            (folder / f"{name}.npy").unlink()
        partial = folder / f"{COMPLETE}.partial"
        partial.write_text(json.dumps(facts) + "\n")
        partial.replace(folder / COMPLETE)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Graph":
        """Map the files of a complete folder, read-only; raises FileNotFoundError."""
        if not (folder / COMPLETE).exists():
            raise FileNotFoundError(
                f"{folder} has no {COMPLETE}: did the process that was building the graph end?"
            )
        facts = json.loads((folder / COMPLETE).read_text())
        arrays = {name: _open_array(folder / f"{name}.npy") for name in ARRAYS}
        return cls(**arrays, num_mutual=facts["num_mutual"])


def self_tuning_graph(neighbours: Neighbours, *, num_threads: int = 1) -> Graph:
    """Self-tuning graph: w(x, y) = exp(−‖x−y‖² / (σ_x σ_y)), σ = distance to the k-th neighbour.

    Source: Zelnik-Manor & Perona 2004, as used by [G]. An edge exists if either end lists the
    other. Duplicates have weight 1; σ is at least SIGMA_FLOOR times its median, so that more than k
    coinciding tokens stay connected to what is near. ValueError if all tokens coincide, or for
    invalid lists.
    """

    def allocate(name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
        return np.empty(shape, dtype)

    return _built(neighbours, allocate, num_threads)


def _built(neighbours: Neighbours, allocate: Allocate, num_threads: int) -> Graph:
    """The graph, with arrays and lists in locality order where `allocate` puts them."""
    check_lists(neighbours, num_threads)
    given = (np.asarray(neighbours.index_Nk), np.asarray(neighbours.distance_Nk))
    num_nodes = len(given[0])
    token_N, node_N = (allocate(name, np.int32, num_nodes) for name in ("token_N", "node_N"))
    token_N[:] = locality_order(given[0])
    node_N[:] = inverse(token_N)
    index_Nk, distance_Nk = (
        allocate(name, array.dtype.type, *array.shape)
        for name, array in zip(LISTS, given, strict=True)
    )
    into = (index_Nk, distance_Nk)
    in_parts(
        lambda low, high: rename(*given, token_N, node_N, low, high, *into),
        part_bounds(num_nodes, num_threads),
    )
    lists = Neighbours(index_Nk=index_Nk, distance_Nk=distance_Nk)
    csr = build_csr(lists, allocate, num_threads, token_N)
    return Graph(**csr._asdict(), token_N=token_N, node_N=node_N)


def from_matrix(matrix: "sparse.csr_matrix") -> Graph:
    """Graph of a symmetric non-negative SciPy matrix, nodes in its order."""
    csr = sparse.csr_matrix(matrix)
    csr.sort_indices()
    indptr, weights = csr.indptr.astype(np.int64), csr.data.astype(np.float32)
    row_of_entry = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    degrees = np.bincount(row_of_entry, weights.astype(np.float64), minlength=indptr.size - 1)
    same = np.arange(indptr.size - 1, dtype=np.int32)
    return Graph(
        indptr=indptr,
        indices=csr.indices.astype(np.int32),
        weights=weights,
        degrees=degrees.astype(np.float64),
        token_N=same,
        node_N=same,
    )


def _open_array(path: Path) -> NDArray[Any]:
    """A plain array over the map, which compiled code takes faster."""
    return np.asarray(np.lib.format.open_memmap(path, mode="r"))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _cut(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    members: NDArray[np.int32],
) -> float:
    cut = 0.0
    for member in members:
        for entry in range(indptr[member], indptr[member + 1]):
            at = np.searchsorted(members, indices[entry])
            if at == members.size or members[at] != indices[entry]:
                cut += weights[entry]
    return cut
