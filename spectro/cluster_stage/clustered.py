"""Vectors and local scales of the clustered tokens, for assigning new ones.

Shapes: N old tokens, M tokens of a shard, H components, D dimensions, k neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.cluster_stage.units import HALVES, half_folder
from spectro.cluster_stage.vectors import rows_of
from spectro.clustering.assign import local_scales_of
from spectro.clustering.config import NeighbourSearch
from spectro.clustering.graph.knn_graph import LocalScales, local_scales
from spectro.clustering.knn.search_plan import is_exact
from spectro.clustering.vectors.mapped_array import mapped_array
from spectro.clustering.vectors.preprocess import Transform
from spectro.formats.clusters.clusterings import StoredClustering
from spectro.formats.clusters.knn_lists import key_of, lists_name, read_lists
from spectro.formats.product import iterate_product, shards_there
from spectro.storage.checksummed_json import with_nan
from spectro.storage.node_cache import NodeCache
from spectro.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ClusteredRows:
    """Rows of one token shard."""

    token_id_M: npt.NDArray[np.int64]
    """As in the product."""
    chi_MH: npt.NDArray[np.float32]
    """χ."""
    response_M: npt.NDArray[np.float32] | None
    """B, if the transform removes it."""


class ClusteredTokens:
    """The tokens of a clustering; a context manager, which removes its scratch files.

    `scratch` is the base folder (None: the system's) of N · D · 4 bytes.
    """

    def __init__(self, stored: StoredClustering, scratch: str | None = None) -> None:
        self._stored, self._part = stored, stored.place.part
        folder = stored.place.clusters
        self.half = next((h for h in HALVES if folder.uri.endswith(half_folder("", h))), None)
        of = key_of({"uri": folder.uri, "clusters": stored.provenance})
        self._scratch = NodeCache(scratch, f"assign-{of}-{os.getpid()}")

    def __enter__(self) -> ClusteredTokens:
        return self

    def __exit__(self, *raised: object) -> None:
        self._scratch.remove()

    @cached_property
    def transform(self) -> Transform:
        """χ to vectors."""
        return Transform.from_dict(with_nan(self._stored.provenance["transform"]))

    def rows(self, store: Store) -> Iterator[ClusteredRows]:
        """Rows of the clusters' half of the chains, shard by shard.

        Raises ValueError, in one line, without rows or halves.
        """
        shards = iterate_product(store, labels=("token_id",))
        for number, shard in zip(shards_there(store), shards, strict=True):
            chi_MH, response_M = rows_of(store, self.half, number, self.transform)
            yield ClusteredRows(
                token_id_M=shard.column("token_id").astype(np.int64),
                chi_MH=chi_MH,
                response_M=response_M,
            )

    def place(
        self, rows: ClusteredRows, chosen_M: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Vectors of some of the rows, [m, D]."""
        response_M = None if rows.response_M is None else rows.response_M[chosen_M]
        return self.transform.apply(rows.chi_MH[chosen_M], response_M)

    def vectors(self) -> npt.NDArray[np.float32]:
        """Vectors by token id, [N, D], memory-mapped; ValueError if rows are missing."""
        folder = self._scratch.made("vectors", self._make_vectors)
        array: npt.NDArray[np.float32] = np.load(folder / "vectors.npy", mmap_mode="r")
        return array

    def local_scales(self, k: int) -> LocalScales:
        """Local scales σ by token id, from the kNN lists if they exist, else by exact search.

        Raises ValueError unless N > k, DamagedObjectError.
        """
        if not self.has_lists(k):
            return local_scales_of(self.vectors(), k)
        last = [read_lists(self._part, name).distance_Nk[:, k - 1].copy() for name in self._lists]
        return local_scales(np.concatenate(last)[:, None])

    def has_lists(self, k: int) -> bool:
        """Whether all kNN lists exist, with k neighbours or more."""
        num = int(self._stored.provenance["config"]["num_neighbours"])
        return k <= num and bool(self._lists)

    def width_inputs(self, k: int) -> dict[str, Any]:
        """Inputs of the local scales besides the clusters: approximate lists differ."""
        config, half = self._stored.provenance["config"], self.half
        search = NeighbourSearch(config.get("neighbour_search", NeighbourSearch.EXACT))
        inputs: dict[str, Any] = {} if half is None else {"half": half}
        if not is_exact(self._stored.num_tokens, search):
            inputs["widths"] = "lists" if self.has_lists(k) else "search"
        return inputs

    @cached_property
    def _lists(self) -> list[str]:
        """Names of the lists by block; empty unless all exist."""
        folder = self._stored.provenance.get("lists")
        if folder is None:
            return []
        key, rows = folder.rpartition("/")[2], self._stored.provenance["config"]["neighbour_rows"]
        names = [lists_name(key, b) for b in range(-(-self._stored.num_tokens // rows))]
        return names if set(names) <= set(self._part.list(folder)) else []

    def _make_vectors(self, folder: Path) -> None:
        num_tokens, num_read = self._stored.num_tokens, 0
        shape = (num_tokens, self.transform.num_dimensions)
        x_ND = mapped_array(folder / "vectors.npy", np.float32, shape)
        for rows in self.rows(self._part):
            known = rows.token_id_M < num_tokens
            x_ND[rows.token_id_M[known]] = self.place(rows, known)
            num_read += int(known.sum())
            if num_read == num_tokens:
                x_ND.flush()
                return
        raise ValueError(
            f"{self._part.uri} has rows of {num_read} of the {num_tokens} tokens that "
            f"{self._stored.place.name} was clustered from: were shards deleted?"
        )
