"""Vectors, kNN lists and graph of the cluster stage, memory-mapped from the node cache.

Shapes: N tokens, n rows of a block, D dimensions, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import Half, Layout
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.vectors.mapped_array import mapped_array
from spectro.clustering.vectors.preprocess import Transform
from spectro.formats.clusters.knn_lists import (
    TRANSFORM,
    folder_of,
    key_of,
    lists_name,
    read_lists,
)
from spectro.formats.halves import read_half, read_half_with_response
from spectro.formats.product import read_chi, read_chi_and_response
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.storage.node_cache import NodeCache
from spectro.storage.store import Store

SCRATCH_FORMAT = 2
"""Increased with every change of the cached files: other versions are ignored."""


def chi_of(store: Store, half: Half | None, shard: int) -> npt.NDArray[np.float32]:
    """χ of one shard, or of one half of its chains, [rows, H].

    Raises NoHalvesError, in one line, if the halves were not kept.
    """
    return read_chi(store, shard) if half is None else read_half(store, shard, half)


def with_response(
    store: Store, half: Half | None, shard: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """χ [rows, H] as `chi_of`, and the response B [rows], nats, from the same chains.

    Raises NoHalvesError, in one line, if that of the halves was not kept.
    """
    if half is None:
        return read_chi_and_response(store, shard)
    return read_half_with_response(store, shard, half)


def rows_of(
    store: Store, half: Half | None, shard: int, transform: Transform
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Input of a transform: χ of one shard, and B if the transform removes it."""
    if transform.needs_response:
        return with_response(store, half, shard)
    return chi_of(store, half, shard), None


class ListsOnNode:
    """One set of kNN lists with its vectors and graph, shared by this node's processes.

    A context manager: mapped files are not removed before its end.

    Args:
        store: part of the run.
        key: of the set.
        half: half of the chains, None for all.
        layout: rows of the product.
        scratch: base folder of the node cache, None for the system's.
    """

    def __init__(
        self, store: Store, key: str, half: Half | None, layout: Layout, scratch: str | None
    ) -> None:
        self.store, self.key, self.half, self.layout = store, key, half, layout
        self._scratch_base = scratch

    def __enter__(self) -> ListsOnNode:
        return self

    def __exit__(self, *raised: object) -> None:
        self.scratch.close()

    @cached_property
    def scratch(self) -> NodeCache:
        """The node cache, keyed by all inputs; the transform represents χ."""
        inputs = {"format": SCRATCH_FORMAT, "uri": self.store.uri, "key": self.key}
        return NodeCache(self._scratch_base, key_of({**inputs, "transform": self._content}))

    @cached_property
    def transform(self) -> Transform:
        """χ to vectors."""
        return Transform.from_dict(with_nan(self._content["transform"]))

    @cached_property
    def _content(self) -> dict[str, Any]:
        return dict(read_sealed(self.store, f"{folder_of(self.key)}/{TRANSFORM}"))

    def vectors(self, block: int) -> npt.NDArray[np.float32]:
        """Vectors of a block, [n, D], memory-mapped."""
        folder = self.scratch.made(f"vectors-{block:04d}", lambda f: self._make_vectors(f, block))
        array: npt.NDArray[np.float32] = np.load(folder / "vectors.npy", mmap_mode="r")
        return array

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """All vectors, block by block: (first row, [n, D])."""
        for block in range(self.layout.num_blocks):
            yield self.layout.block(block).start, self.vectors(block)

    def rows(self) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Standardised χ and vectors of all rows by shard: (first row, [n, H], [n, D])."""
        first = 0
        for shard, num_rows in enumerate(self.layout.shard_rows):
            given = rows_of(self.store, self.half, shard, self.transform)
            yield first, self.transform.standardise(*given), self.transform.apply(*given)
            first += num_rows

    @property
    def components(self) -> list[str]:
        """Names of the columns of χ."""
        return list(self._content["components"])

    @property
    def fingerprint(self) -> str:
        return str(self._content["product_fingerprint"])

    def graph(self) -> Graph:
        """The graph of all lists, memory-mapped."""
        return Graph.open(self.scratch.made("graph", self._make_graph))

    def lists(self) -> Neighbours:
        """All lists, [N, k], memory-mapped."""
        folder = self.scratch.made("lists", self._make_lists)
        index, distance = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("index", "distance")
        )
        return Neighbours(index_Nk=index, distance_Nk=distance)

    def _make_vectors(self, folder: Path, block: int) -> None:
        rows = self.layout.block(block)
        shape = (len(rows), self.transform.num_dimensions)
        x_nD = mapped_array(folder / "vectors.npy", np.float32, shape)
        for shard, part, place in self.layout.shards_of(rows):
            chi_nH, response_n = rows_of(self.store, self.half, shard, self.transform)
            self.transform.apply(
                chi_nH[part], None if response_n is None else response_n[part],
                out_ND=x_nD[place], num_threads=numba.get_num_threads(),
            )  # fmt: skip
        x_nD.flush()

    def _make_lists(self, folder: Path) -> None:
        arrays: dict[str, Any] = {}
        for block in range(self.layout.num_blocks):
            part, rows = read_lists(self.store, self.name(block)), self.layout.block(block)
            for name, values in (("index", part.index_Nk), ("distance", part.distance_Nk)):
                if name not in arrays:
                    shape = (self.layout.num_rows, values.shape[1])
                    arrays[name] = mapped_array(folder / f"{name}.npy", values.dtype, shape)
                arrays[name][rows.start : rows.stop] = values
        for array in arrays.values():
            array.flush()

    def name(self, block: int) -> str:
        """Object with the lists of a block."""
        return lists_name(self.key, block)

    def _make_graph(self, folder: Path) -> None:
        Graph.create(folder, self.lists(), num_threads=numba.get_num_threads())
