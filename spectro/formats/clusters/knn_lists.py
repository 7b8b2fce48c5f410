"""Neighbour lists on storage: what lies between the product and its clusters (ADR 024).

    <part>/neighbours/<key>/transform.json               sealed: settings, transform, components
    <part>/neighbours/<key>/pairs/AAAA-BBBB.safetensors  neighbours of two blocks' rows, in both
    <part>/neighbours/<key>/lists-BBBB.safetensors       k nearest others of every row of a block
    <part>/neighbours/<key>/recall.json                  sealed: of a sample, against exact search

The key is a digest of all that the lists of one run depend on (χ goes with the run), so that
clusterings that differ in what comes after share them, and lists of other tokens or settings are
never taken for these. Row numbers are those of the product, from 0.
Shapes: n rows of a block (or two), k neighbours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from spectro.clustering.knn.neighbours import Neighbours
from spectro.storage.store import DamagedObjectError, Store

FOLDER = "neighbours"
KEY_DIGITS = 16
LISTS_OF_BLOCK = "{folder}/lists-{block:04d}.safetensors"
TRANSFORM, RECALL = "transform.json", "recall.json"


def key_of(depends_on: Mapping[str, Any]) -> str:
    """A name for what depends on these plain values and, within one run, on nothing else."""
    text = json.dumps(depends_on, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def folder_of(key: str) -> str:
    """Folder of one set of lists, within its part of the run."""
    return f"{FOLDER}/{key}"


def pair_name(key: str, first: int, second: int) -> str:
    """Name of the lists found in the union of two blocks."""
    return f"{folder_of(key)}/pairs/{first:04d}-{second:04d}.safetensors"


def lists_name(key: str, block: int) -> str:
    """Name of a block's finished lists."""
    return LISTS_OF_BLOCK.format(folder=folder_of(key), block=block)


def put_lists(store: Store, name: str, lists: Neighbours) -> None:
    """Put the lists of some rows; those that another writer put first stand."""
    tensors = {"index": lists.index_Nk, "distance": lists.distance_Nk}
    header = {"sha256": _digest(tensors)}
    store.put_if_absent(name, safetensors.numpy.save(tensors, header))


def read_lists(store: Store, name: str) -> Neighbours:
    """Lists that were put; raises DamagedObjectError, in one line, if they are not those."""
    try:
        return lists_of(store.read(name))
    except ValueError as error:
        raise DamagedObjectError(
            f"{store.uri}/{name} is damaged ({error}); delete it to have it made again"
        ) from error


def lists_of(data: bytes) -> Neighbours:
    """The lists in an object's bytes; raises ValueError, in one line, if they are not whole."""
    try:
        tensors = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        found = Neighbours(index_Nk=tensors["index"], distance_Nk=tensors["distance"])
        is_whole = header["sha256"] == _digest(tensors)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not is_whole:
        raise ValueError("the checksum differs")
    return found


def _digest(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()
