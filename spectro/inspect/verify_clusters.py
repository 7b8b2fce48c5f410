"""What must hold of clusters, in every folder that has some, and of tokens assigned to them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from spectro.formats.clusters.assigned import names
from spectro.formats.clusters.clusters import CLUSTERS, MEMBERS, PROVENANCE
from spectro.formats.derived_objects import TOKENS
from spectro.inspect.contents import RowChecks

Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Members:
    """What is kept of a table of members, C clusters or fewer."""

    num_C: npt.NDArray[np.int64]
    """Members by cluster, as far as the last that has some."""
    lowest: int
    """Least token id."""
    highest: int
    """Largest; −1 without members."""


class ClusterFolders:
    """The folders of clusters of one part of a run, by what their objects say."""

    def __init__(self) -> None:
        self._told: dict[str, Content] = {}
        self._assigned: dict[str, Content] = {}
        self._size_C: dict[str, npt.NDArray[np.int64]] = {}
        self._members: dict[str, Members] = {}

    def note(self, name: str, content: Content) -> dict[str, Any]:
        """Keep what a cluster.json says; returns sizes and checksums of the tables it names."""
        folder = _folder(name)
        self._told[folder] = content
        return {f"{folder}/{table}": info for table, info in content.get("objects", {}).items()}

    def note_assigned(self, name: str, content: Content) -> dict[str, Any]:
        """The same of the marker of an assignment; ValueError if it has another's name."""
        table, marker = names(content["inputs"])
        if not name.endswith(f"/{marker}"):
            raise ValueError(f"its inputs have the name {marker}: was it copied here?")
        self._assigned[f"{_folder(name)}/{table}"] = content
        return {f"{_folder(name)}/{table}": content["table"]}

    def read(self, name: str, data: bytes) -> None:
        """Keep what is needed of a table of clusters; one of `UNREADABLE` if it is none."""
        folder, _, table = name.rpartition("/")
        if table == CLUSTERS:
            self._size_C[folder] = _column(data, "size").astype(np.int64)
        elif table == MEMBERS:
            token_id = _column(data, "token_id")
            self._members[folder] = Members(
                num_C=np.bincount(_column(data, "cluster_id")),
                lowest=int(token_id.min(initial=0)),
                highest=int(token_id.max(initial=-1)),
            )

    def read_assigned(self, name: str, data: bytes) -> None:
        """Raise ValueError if a table of assigned tokens is not what its marker tells."""
        cluster_M, share_M = _column(data, "cluster_id"), _column(data, "share")
        told = self._assigned.get(name)
        if told is None:
            return  # of a writer that has not ended, or died
        counts = {"num_tokens": cluster_M.size, "num_assigned": int((cluster_M >= 0).sum())}
        for key, found in counts.items():
            if told[key] != found:
                raise ValueError(f"its marker tells {key} {told[key]}, it has {found}")
        if not ((share_M >= 0) & (share_M <= 1)).all():
            raise ValueError("its shares are not all between 0 and 1")

    def wrong(
        self, parts: Sequence[RowChecks], *, whole: bool, probe_sha256: str | None
    ) -> Iterator[tuple[str, str]]:
        """Names of cluster.json, each with what is wrong between it, its tables and the product.

        Args:
            parts: what was found of the product.
            whole: whether that is all of it.
            probe_sha256: of the tokens that are there now; clusters of others are stale, and
                held against their own tables alone.
        """
        for folder, told in sorted(self._told.items()):
            stale = told.get(TOKENS) != probe_sha256
            found = self._wrong_tables(folder, told)
            found = found or _wrong_product(told, parts, whole=whole and not stale)
            if found is not None:
                yield f"{folder}/{PROVENANCE}", found

    def _wrong_tables(self, folder: str, told: Content) -> str | None:
        size_C, members = self._size_C.get(folder), self._members.get(folder)
        if size_C is None or members is None:
            return None  # said where they were looked for
        if size_C.size != told.get("num_clusters"):
            return f"expected {told.get('num_clusters')} clusters, found {size_C.size}"
        spare = size_C.size - members.num_C.size
        if spare < 0 or not np.array_equal(np.pad(members.num_C, (0, spare)), size_C):
            return "the clusters' sizes are not the numbers of their members"
        if members.lowest < 0 or members.highest >= _num_tokens(told):
            return (
                f"members name tokens {members.lowest} … {members.highest}, they were made from "
                f"{_num_tokens(told)}"
            )
        return None


def _wrong_product(told: Content, parts: Sequence[RowChecks], *, whole: bool) -> str | None:
    """Whose rows they are of, which holds for rows that were added too, and how many."""
    if any(part.fingerprint != told.get("product_fingerprint") for part in parts):
        return "they were made from rows of another fingerprint"
    num_rows = sum(part.num_rows for part in parts)
    if whole and num_rows != _num_tokens(told):
        return f"they were made from {_num_tokens(told)} tokens, the product has {num_rows}"
    return None


def _num_tokens(told: Content) -> int:
    return int(told["statistics"]["num_tokens"])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _column(data: bytes, name: str) -> npt.NDArray[Any]:
    """One column of a table; one of `UNREADABLE` if it has none of that name."""
    return np.asarray(pq.read_table(io.BytesIO(data), columns=[name])[name])
