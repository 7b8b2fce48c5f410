"""Stored kNN lists, between the product and its clusters (ADR 024).

    <part>/neighbours/<key>/transform.json               checksummed: settings, transform
    <part>/neighbours/<key>/pairs/AAAA-BBBB.safetensors  neighbours of two blocks' rows, in both
    <part>/neighbours/<key>/lists-BBBB.safetensors       k nearest others of every row of a block
    <part>/neighbours/<key>/recall.json                  checksummed: recall of a sample

The key is a digest of everything but χ that the lists depend on: clusterings with the same lists
share them, and lists of other tokens or settings have another key. Rows are those of the product.
Shapes: n rows of a block (or two), k neighbours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from spectro.clustering.knn.neighbours import Neighbours
from spectro.storage.checksummed_arrays import put_arrays, read_arrays
from spectro.storage.store import Store

FOLDER = "neighbours"
KEY_DIGITS = 16
LISTS_OF_BLOCK = "{folder}/lists-{block:04d}.safetensors"
TRANSFORM, RECALL = "transform.json", "recall.json"


def key_of(depends_on: Mapping[str, Any]) -> str:
    """Key of the lists that depend, within one run, on these plain values only."""
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
    """Put the kNN lists of some rows; an existing object is kept."""
    put_arrays(store, name, {"index": lists.index_Nk, "distance": lists.distance_Nk})


def read_lists(store: Store, name: str) -> Neighbours:
    """Stored kNN lists; raises FileNotFoundError, DamagedObjectError."""
    tensors = read_arrays(store, name)
    return Neighbours(index_Nk=tensors["index"], distance_Nk=tensors["distance"])
