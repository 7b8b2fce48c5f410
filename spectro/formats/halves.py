"""Half estimates: χ of every token from two disjoint halves of the chains (ADR 002, 024).

    halves/part-NNNNN.parquet
    token_id int64 · chi_first, chi_second fixed_size_list<float32>[H] (nats²) ·
    response_first, response_second float32 (B_i, nats; only where B was measured)

Rows, metadata and encodings are those of the shard's part (formats/product.py), whose marker has
size and checksum. There are none if the run has one chain, `run.keep_halves` was false, or an
earlier version measured it.

Shapes: N tokens, H components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats.product import halves_name, moments_name
from spectro.formats.shard_file import (
    Head,
    extent,
    matrix,
    of_one_run,
    read_columns,
    stored_array,
)
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import ObjectInfo, Store
from spectro.susceptibility.columns import HALF_COLUMNS, Pair

FIRST, SECOND = COLUMNS = ("chi_first", "chi_second")
RESPONSES = ("response_first", "response_second")
_ALL = ("token_id", *(name for column in HALF_COLUMNS for name in column.halves or ()))
"""Columns that are not there are not read."""


class NoHalvesError(ValueError):
    """The run keeps no half estimates."""


@dataclass(frozen=True, kw_only=True)
class Halves:
    """The half estimates of one token shard, in the order of its rows."""

    components: tuple[str, ...]
    """Names of the columns of χ."""
    fingerprint: str
    """Of the run that made them."""
    token_id_N: npt.NDArray[np.int64]
    """As in the product."""
    chi_first_NH: npt.NDArray[np.float32]
    """χ from the first half of the chains."""
    chi_second_NH: npt.NDArray[np.float32]
    """χ from the second."""
    responses: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
    """B from the first and second half of the unrestricted chains, [N] each; None without."""


def halves_table(part: pa.Table, halves: Mapping[str, Pair]) -> pa.Table:
    """Half estimates as an Arrow table.

    Args:
        part: rows of the shard (`shard_table`), whose metadata they share.
        halves: column of the product → its estimates from both halves, [N] or [N, H] each
            (`TokenEstimates.halves`); χ at least.

    Raises ValueError if an estimate is not finite, or shapes disagree.
    """
    columns = {"token_id": part["token_id"]}
    for column in HALF_COLUMNS:
        kind = part.schema.field(column.name).type
        expected = (part.num_rows, kind.list_size) if column.by_component else (part.num_rows,)
        for name, values in zip(column.halves or (), halves.get(column.name, ()), strict=False):
            if values.shape != expected:
                raise ValueError(
                    f"{name} is {extent(values.shape)}, its shard's rows are {extent(expected)}: "
                    "were tiles of two runs mixed?"
                )
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{name} has values that are not finite; nothing is written: has half of the "
                    "chains no weight? run.keep_halves=false measures without half estimates"
                )
            columns[name] = stored_array(values)
    return pa.table(columns, metadata=part.schema.metadata)


def read_halves(store: Store, shard: int) -> Halves:
    """The half estimates of one shard.

    Raises NoHalvesError, in one line, if none were kept; FileNotFoundError, DamagedObjectError.
    """
    head, table = _read(store, shard, _ALL)
    return _halves(head, table)


def read_half(store: Store, shard: int, half: Literal[0, 1]) -> npt.NDArray[np.float32]:
    """χ of one shard from one half of the chains, [n, H]; errors as `read_halves`."""
    _, table = _read(store, shard, (COLUMNS[half],))
    return matrix(table[COLUMNS[half]])


def read_half_with_response(
    store: Store, shard: int, half: Literal[0, 1]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """χ [n, H] and B [n] of one shard from one half of the chains; errors as `read_halves`.

    Raises NoHalvesError too where an earlier version kept no B of the halves.
    """
    _, table = _read(store, shard, (COLUMNS[half], RESPONSES[half]))
    if RESPONSES[half] not in table.column_names:
        raise NoHalvesError(
            f"{store.uri} has χ of the halves of its chains and not their B for shard {shard}: "
            "an earlier version measured it; cluster.stability=false or "
            "cluster.preprocess=standardise does without"
        )
    return matrix(table[COLUMNS[half]]), _response(table, RESPONSES[half])


def iterate_halves(store: Store, num_shards: int) -> Iterator[Halves]:
    """Half estimates shard by shard.

    Raises as `read_halves`, and ValueError if shards are of different runs.
    """
    shards = ((halves_name(n), *_read(store, n, _ALL)) for n in range(num_shards))
    for head, table in of_one_run(shards, store):
        yield _halves(head, table)


def _halves(head: Head, table: pa.Table) -> Halves:
    return Halves(
        components=head.components,
        fingerprint=head.fingerprint,
        token_id_N=np.asarray(table["token_id"].combine_chunks()),
        chi_first_NH=matrix(table[FIRST]),
        chi_second_NH=matrix(table[SECOND]),
        responses=(_response(table, RESPONSES[0]), _response(table, RESPONSES[1]))
        if RESPONSES[0] in table.column_names
        else None,
    )


def _response(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    return np.asarray(table[name].combine_chunks(), np.float32)


def _read(store: Store, shard: int, columns: tuple[str, ...]) -> tuple[Head, pa.Table]:
    info = read_sealed(store, moments_name(shard)).get("halves")
    if info is None:
        raise NoHalvesError(
            f"{store.uri} has no χ of the halves of its chains for shard {shard}: it was measured "
            "with one chain or with run.keep_halves=false; cluster.stability=false, and no "
            "reliability of directions, does without"
        )
    return read_columns(store, halves_name(shard), ObjectInfo(**info), columns)
