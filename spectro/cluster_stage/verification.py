"""What must hold of kNN lists, clusters and tokens assigned to them (`work/stage.py`)."""

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
from spectro.formats.clusters.knn_lists import RECALL, TRANSFORM
from spectro.formats.derived_objects import TOKENS
from spectro.measure.verification import RowChecks, is_whole, rows_found
from spectro.storage.checksummed_arrays import parse_arrays
from spectro.work.stage import WHEN_NEEDED, PartContents

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


def tables_of_clusters(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """Tables that a cluster.json names; what it says is kept."""
    contents.of_kind("clusters")[name] = content
    folder = _folder(name)
    return {f"{folder}/{table}": info for table, info in content.get("objects", {}).items()}


def table_of_assigned(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """The table of an assignment; ValueError if its marker has another's name."""
    table, marker = names(content["inputs"])
    if not name.endswith(f"/{marker}"):
        raise ValueError(f"its inputs have the name {marker}: was it copied here?")
    path = f"{_folder(name)}/{table}"
    contents.of_kind("assigned")[path] = content
    return {path: content["table"]}


def table_of_names(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """The table that a names.json names; names from a file have none."""
    return {f"{_folder(name)}/{table}": info for table, info in content.get("objects", {}).items()}


def check_lists(contents: PartContents, name: str, data: bytes) -> None:
    """kNN lists with the digest of their header."""
    parse_arrays(data)


def check_clusters(
    contents: PartContents, name: str, data: bytes
) -> npt.NDArray[np.int64] | Members | None:
    """Sizes of clusters, or what is kept of their members."""
    table = name.rpartition("/")[2]
    if table == CLUSTERS:
        return _column(data, "size").astype(np.int64)
    if table == MEMBERS:
        token_id = _column(data, "token_id")
        return Members(
            num_C=np.bincount(_column(data, "cluster_id")),
            lowest=int(token_id.min(initial=0)),
            highest=int(token_id.max(initial=-1)),
        )
    return None


def check_assigned(contents: PartContents, name: str, data: bytes) -> None:
    """A table of assigned tokens against its marker; ValueError if they differ."""
    cluster_M, share_M = _column(data, "cluster_id"), _column(data, "share")
    marker = contents.of_kind("assigned").get(name)
    if marker is None:
        return  # of a writer that has not ended, or died
    counts = {"num_tokens": cluster_M.size, "num_assigned": int((cluster_M >= 0).sum())}
    for key, found in counts.items():
        if marker[key] != found:
            raise ValueError(f"its marker says {key} {marker[key]}, it has {found}")
    if not ((share_M >= 0) & (share_M <= 1)).all():
        raise ValueError("its shares are not all between 0 and 1")


def compare_clusters(contents: PartContents) -> Iterator[tuple[str, str]]:
    """Every cluster.json against its tables and the product.

    Clusters of other tokens than the run has now are stale, and only compared with their tables.
    """
    found = contents.of_kind("clusters")
    for name in sorted(name for name in found if name.endswith(f"/{PROVENANCE}")):
        marker, folder = found[name], _folder(name)
        is_stale = marker.get(TOKENS) != contents.probe_sha256
        tables = found.get(f"{folder}/{CLUSTERS}"), found.get(f"{folder}/{MEMBERS}")
        wrong = _wrong_tables(marker, *tables) or _wrong_product(
            marker, rows_found(contents), whole=is_whole(contents) and not is_stale
        )
        if wrong is not None:
            yield name, wrong


def _wrong_tables(
    marker: Content, size_C: npt.NDArray[np.int64] | None, members: Members | None
) -> str | None:
    if size_C is None or members is None:
        return None  # booked where they were read
    if size_C.size != marker.get("num_clusters"):
        return f"expected {marker.get('num_clusters')} clusters, found {size_C.size}"
    spare = size_C.size - members.num_C.size
    if spare < 0 or not np.array_equal(np.pad(members.num_C, (0, spare)), size_C):
        return "the clusters' sizes are not the numbers of their members"
    if members.lowest < 0 or members.highest >= _num_tokens(marker):
        return (
            f"members name tokens {members.lowest} … {members.highest}, they were made from "
            f"{_num_tokens(marker)}"
        )
    return None


def _wrong_product(marker: Content, parts: Sequence[RowChecks], *, whole: bool) -> str | None:
    """Whose rows they are of, which holds for rows that were added too, and how many."""
    if any(part.fingerprint != marker.get("product_fingerprint") for part in parts):
        return "they were made from rows of another fingerprint"
    num_rows = sum(part.num_rows for part in parts)
    if whole and num_rows != _num_tokens(marker):
        return f"they were made from {_num_tokens(marker)} tokens, the product has {num_rows}"
    return None


def remedy_of_clusters(name: str, missing: bool) -> str:
    """Clusters that are there do not ask for those of the halves: they are made with them."""
    folder, *inside = name.split("/")
    if missing and len(inside) == 1 and folder == "clusters":
        return WHEN_NEEDED
    again = "the run" if folder == "clusters" else f"the run with run.clusters={folder}"
    return f"delete the folder {folder}/; {again} makes it again"


def remedy_of_lists(name: str, missing: bool) -> str:
    """A set whose recall is there counts as whole; without it its other objects are looked for."""
    folder, _, last = name.rpartition("/")
    when = "again when clusters need them"
    if last == TRANSFORM:
        return f"delete the folder {folder}/; the run makes its lists {when}"
    if last == RECALL or "/pairs/" in name:
        return WHEN_NEEDED if missing else "delete it; the run makes it again when it needs it"
    also = "" if missing else "it and "
    return f"delete {also}the {RECALL} beside it, if there; the run makes both {when}"


def _num_tokens(marker: Content) -> int:
    return int(marker["statistics"]["num_tokens"])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _column(data: bytes, name: str) -> npt.NDArray[Any]:
    return np.asarray(pq.read_table(io.BytesIO(data), columns=[name])[name])
