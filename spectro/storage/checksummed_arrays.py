"""Named arrays in one safetensors object whose header holds their checksum.

header["__metadata__"] = {"sha256": digest of names and bytes, further strings}
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

from spectro.storage.store import DamagedObjectError, Store

Arrays = Mapping[str, npt.NDArray[Any]]


def put_arrays(store: Store, name: str, arrays: Arrays, **header: str) -> None:
    """Put arrays and further header fields; an existing object is kept."""
    whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    store.put_if_absent(name, safetensors.numpy.save(whole, {"sha256": _digest(whole), **header}))


def read_arrays(store: Store, name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an object; raises FileNotFoundError, DamagedObjectError."""
    return read_arrays_and_header(store, name)[0]


def read_arrays_and_header(
    store: Store, name: str
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Arrays and header of an object; raises FileNotFoundError, DamagedObjectError."""
    try:
        return parse_arrays(store.read(name))
    except ValueError as error:
        raise DamagedObjectError(
            f"{store.uri}/{name} is damaged ({error}); delete it to have it made again"
        ) from error


def parse_arrays(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Arrays and header of an object's bytes; raises ValueError, in one line, if damaged."""
    try:
        arrays, header = dict(safetensors.numpy.load(data)), header_of(data)
        is_whole = header["sha256"] == _digest(arrays)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not is_whole:
        raise ValueError("the checksum differs")
    return arrays, header


def header_of(data: bytes) -> dict[str, str]:
    """The strings in the header of a safetensors object's bytes; raises ValueError, KeyError."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
