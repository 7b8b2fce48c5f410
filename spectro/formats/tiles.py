"""Tiles: running sums of one group for one token shard, one safetensors object each.

tiles/<shard>/<group>.safetensors    component/weighted, component/plain: float32 [C, N]
                                     component/observed/<name>: the same of further observables

Sums of further nbeta along the same draws have their part as a prefix: nbeta-3:component/weighted.
"""

from __future__ import annotations

from collections.abc import Mapping

from spectro.storage.checksummed_arrays import put_arrays, read_arrays_and_header
from spectro.storage.store import Store
from spectro.susceptibility.tile_sums import TileSums

OBSERVED = "/observed/"


def tile_name(shard: int, group: str) -> str:
    """Name of a tile's object."""
    return f"tiles/{shard:05d}/{group}.safetensors"


def write_tile(
    store: Store,
    shard: int,
    group: str,
    sums: Mapping[str, TileSums],
    seconds: float,
    parts: Mapping[str, Mapping[str, TileSums]] | None = None,
) -> None:
    """Put a tile with the sums of the parts that share its draws; an existing tile is kept."""
    tensors = {}
    for part, sums_of_part in {"": sums, **(parts or {})}.items():
        for component, tile in sums_of_part.items():
            key = f"{_prefix(part)}{component}"
            tensors[f"{key}/weighted"] = tile.weighted_CN
            tensors[f"{key}/plain"] = tile.plain_CN
            for name, sums_CN in tile.observed.items():
                tensors[f"{key}{OBSERVED}{name}"] = sums_CN
    put_arrays(store, tile_name(shard, group), tensors, seconds=repr(seconds))


def read_tile(
    store: Store, shard: int, group: str, part: str = ""
) -> tuple[dict[str, TileSums], float]:
    """Sums by component, of a part that shares the draws if named, and the seconds of all sums.

    Raises DamagedObjectError, in one line.
    """
    tensors, header = read_arrays_and_header(store, tile_name(shard, group))
    keys = dict.fromkeys(key.split("/")[0] for key in tensors)
    sums = {
        key.removeprefix(_prefix(part)): TileSums(
            weighted_CN=tensors[f"{key}/weighted"],
            plain_CN=tensors[f"{key}/plain"],
            observed={
                name.removeprefix(f"{key}{OBSERVED}"): sums_CN
                for name, sums_CN in tensors.items()
                if name.startswith(f"{key}{OBSERVED}")
            },
        )
        for key in keys
        if key.rpartition(":")[0] == part
    }
    return sums, float(header["seconds"])


def _prefix(part: str) -> str:
    return f"{part}:" if part else ""
