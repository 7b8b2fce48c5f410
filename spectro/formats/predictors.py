"""What an upsampled run keeps of its learning: features of measured tokens, and predictors.

    predictor/features-NNNNN.safetensors      features float32 [n·T, F] of a measured token shard;
                                              removed once the predictors are judged
    predictor/fold-NN-half-H.safetensors      a network that has learnt from one half of the chains,
                                              and from no token shard of the fold
    predictor/held-out.json                   sealed: errors of all networks on what they have not
                                              seen; put last

A header has the digest of its object's arrays.
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

FOLDER = "predictor"
FEATURES = rf"{FOLDER}/features-(?P<shard>\d+)\.safetensors"
"""Pattern of `features_name`."""
PREDICTORS = rf"{FOLDER}/fold-\d+-half-[01]\.safetensors"
"""Pattern of `predictor_name`."""
Arrays = Mapping[str, npt.NDArray[Any]]


HELD_OUT = f"{FOLDER}/held-out.json"
"""Object that says how far all networks are right."""


def features_name(shard: int) -> str:
    """Name of the features of a measured token shard."""
    return f"{FOLDER}/features-{shard:05d}.safetensors"


def predictor_name(fold: int, half: int) -> str:
    """Name of the predictor of one half of the chains that has not seen one fold's shards."""
    return f"{FOLDER}/fold-{fold:02d}-half-{half}.safetensors"


def put_arrays(store: Store, name: str, arrays: Arrays) -> None:
    """Put named arrays; what another writer put first stands."""
    whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    store.put_if_absent(name, safetensors.numpy.save(whole, {"sha256": _digest(whole)}))


def read_arrays(store: Store, name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an object; raises FileNotFoundError, DamagedObjectError."""
    try:
        return arrays_of(store.read(name))
    except ValueError as error:
        raise DamagedObjectError(
            f"{store.uri}/{name} is damaged ({error}); delete it to have it made again"
        ) from error


def arrays_of(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The same from an object's bytes; raises ValueError, in one line, if they are not whole."""
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        is_whole = header["sha256"] == _digest(arrays)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not is_whole:
        raise ValueError("the checksum differs")
    return dict(arrays)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
