"""Tiles: running sums of one group for one token shard, one safetensors object each.

tiles/<shard>/<group>.safetensors    component/weighted, component/plain: float32 [C, N]

With sums of further parts along the same draws: nbeta-3:component/weighted, …
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import safetensors
import safetensors.numpy

from spectro.storage.store import DamagedObjectError, Store
from spectro.susceptibility.tile_sums import TileSums


def tile_name(shard: int, group: str) -> str:
    """Name of a tile's object."""
    return f"tiles/{shard:05d}/{group}.safetensors"


def write_tile(
    store: Store,
    shard: int,
    group: str,
    sums: Mapping[str, TileSums],
    seconds: float,
    sisters: Mapping[str, Mapping[str, TileSums]] | None = None,
) -> None:
    """Put a tile, with the sums of sisters by part; one that another writer put first stands."""
    tensors = {}
    for part, own in {"": sums, **(sisters or {})}.items():
        for component, tile in own.items():
            tensors[f"{_of(part)}{component}/weighted"] = tile.weighted_CN
            tensors[f"{_of(part)}{component}/plain"] = tile.plain_CN
    digest = _digest(tensors)
    data = safetensors.numpy.save(tensors, {"sha256": digest, "seconds": repr(seconds)})
    store.put_if_absent(tile_name(shard, group), data)


def read_tile(
    store: Store, shard: int, group: str, sister: str = ""
) -> tuple[dict[str, TileSums], float]:
    """Sums by component, of a sister if one is named, and the seconds that all sums took.

    Raises DamagedObjectError, in one line, if they are not what was written.
    """
    name = tile_name(shard, group)
    data = store.read(name)
    try:
        tensors = safetensors.numpy.load(data)
        header = _metadata(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(store, name, str(error).splitlines()[0]) from error
    if header.get("sha256") != _digest(tensors):
        raise _damaged(store, name, "the checksum differs")
    keys = dict.fromkeys(key.split("/")[0] for key in tensors)
    sums = {
        key.removeprefix(_of(sister)): TileSums(
            weighted_CN=tensors[f"{key}/weighted"], plain_CN=tensors[f"{key}/plain"]
        )
        for key in keys
        if key.rpartition(":")[0] == sister
    }
    return sums, float(header["seconds"])


def _of(part: str) -> str:
    return f"{part}:" if part else ""


def _metadata(data: bytes) -> dict[str, str]:
    import json

    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]).get("__metadata__", {}))


def _digest(tensors: Mapping[str, object]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(memoryview(tensors[name]).cast("B"))  # type: ignore[arg-type]
    return digest.hexdigest()


def _damaged(store: Store, name: str, why: str) -> DamagedObjectError:
    return DamagedObjectError(
        f"{store.uri}/{name} is damaged ({why}); delete it to have it made again"
    )
