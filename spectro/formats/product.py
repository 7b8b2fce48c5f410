"""The product: one Parquet file per token shard, one row per token (design §5, ADR 060).

    susceptibilities/part-NNNNN.parquet   rows, and nothing else: the folder is one table
    halves/part-NNNNN.parquet             half estimates, where they are kept (formats/halves.py)
    deviations/part-NNNNN.parquet         standard deviations of predicted χ (formats/deviations.py)
    assembly/part-NNNNN.json              sealed: sizes and checksums of these, moments of the
                                          columns; put last: its presence means measured
    assembly/summary.json                 sealed: what is known of every column over all tokens

Columns of the rows:

    token_id int64 · sequence_id int32 · position int16 · subset dictionary<string> ·
    token int32 (y) · then `susceptibility.columns.STORED_COLUMNS`: loss float32 (ℓ at w*, nats) ·
    full_response float32 (B_i, nats) · chi fixed_size_list<float32>[H] (nats²)

`position` is that of the prediction: the context is ids[0..position], y = ids[position + 1];
token_id = sequence_id · T + position. Of every further observable q follow influence_q and
influence_q_error, fixed_size_list<float32>[H], and with unrestricted chains full_influence_q and
full_influence_q_error, float32 (nats times the observable's unit). The schema's metadata has the
component names, the fingerprint of the draws and a summary. The same rows give the same bytes.
Tokens that are added to a run are further files of the same fingerprint; their subsets may be new.

Shapes: n sequences of the shard, T context, N = n·T tokens, H components.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats.shard_file import (
    Head,
    extent,
    matrix,
    metadata_of,
    of_one_run,
    read_columns,
    stored_array,
    to_bytes,
)
from spectro.storage.checksummed_json import read_sealed, seal, unseal
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.susceptibility.columns import STORED_COLUMNS, TokenColumn

FOLDER, HALVES, ASSEMBLY = "susceptibilities", "halves", "assembly"
DEVIATIONS = "deviations"
ROWS = rf"{FOLDER}/part-(?P<shard>\d+)\.parquet"
"""Pattern of `part_name`: all that readers of the folder as one table may find there."""
SUMMARY_NAME = f"{ASSEMBLY}/summary.json"
"""Summary of all columns over all tokens."""
_MARKER = rf"{ASSEMBLY}/part-(?P<shard>\d+)\.json"
_BESIDE_ROWS = rf"{FOLDER}/(halves-\d+\.parquet|part-\d+\.json|summary\.json)"
CHI = "chi"
RESPONSE = "full_response"
LABELS = (
    *("token_id", "sequence_id", "position", "subset", "token"),
    *(column.name for column in STORED_COLUMNS if not column.by_component),
)
"""Every column but χ."""


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """Content of a shard's rows."""

    ids_nT1: npt.NDArray[np.integer]
    """Token sequences, context and targets."""
    sequence_id_n: npt.NDArray[np.integer]
    """Sequence ids."""
    subset_n: npt.NDArray[np.integer]
    """Index into `subset_names`."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""
    values: Mapping[str, npt.NDArray[np.floating]]
    """Column of `columns` → its values, [N] or [N, H]."""
    columns: tuple[TokenColumn, ...] = STORED_COLUMNS
    """What is stored of every token."""


def part_name(shard: int) -> str:
    """Name of a shard's object."""
    return f"{FOLDER}/part-{shard:05d}.parquet"


def has_rows(store: Store, shard: int) -> bool:
    """Whether a shard is measured: rows and marker exist."""
    return store.exists(part_name(shard)) and store.exists(moments_name(shard))


def halves_name(shard: int) -> str:
    """Name of the object with a shard's half estimates (formats/halves.py)."""
    return f"{HALVES}/part-{shard:05d}.parquet"


def deviations_name(shard: int) -> str:
    """Name of the object with the deviations of predicted χ (formats/deviations.py)."""
    return f"{DEVIATIONS}/part-{shard:05d}.parquet"


def moments_name(shard: int) -> str:
    """Name of a shard's marker: moments, sizes and checksums."""
    return f"{ASSEMBLY}/part-{shard:05d}.json"


def put_part(
    store: Store,
    shard: int,
    table: pa.Table,
    facts: Mapping[str, Any],
    halves: pa.Table | None = None,
    deviations: pa.Table | None = None,
) -> None:
    """Put a shard's rows, halves and deviations, then the marker with sizes and checksums.

    Existing objects are kept and described, half estimates even if this writer has none.
    """
    infos = {"part": _put(store, part_name(shard), table)}
    if halves is not None or store.exists(halves_name(shard)):
        infos["halves"] = _put(store, halves_name(shard), halves)
    if deviations is not None:
        infos["deviations"] = _put(store, deviations_name(shard), deviations)
    name, sealed = moments_name(shard), seal({**facts, "num_tokens": table.num_rows, **infos})
    if not store.put_if_absent(name, sealed) and _described(store, name) != infos:
        store.delete(name)  # its objects were lost, or it described fewer
        store.put_if_absent(name, sealed)


def _put(store: Store, name: str, table: pa.Table | None) -> dict[str, Any]:
    """Size and checksum of the stored object."""
    data = None if table is None else to_bytes(table)
    if data is None or not store.put_if_absent(name, data):
        data = store.read(name)
    return asdict(ObjectInfo.of(data))


def _described(store: Store, name: str) -> dict[str, Any]:
    try:
        described = read_sealed(store, name)
    except (DamagedObjectError, FileNotFoundError):
        return {}
    return {key: described[key] for key in ("part", "halves", "deviations") if key in described}


def read_moments(store: Store, num_shards: int) -> list[dict[str, Any]]:
    """Markers of the shards in order; raises FileNotFoundError, DamagedObjectError."""
    names = [moments_name(shard) for shard in range(num_shards)]
    return [unseal(data, f"{store.uri}/{name}") for name, data in store.read_many(names)]


def shard_table(
    rows: ShardRows, components: Sequence[str], fingerprint: str, summary: Mapping[str, Any]
) -> pa.Table:
    """The rows as an Arrow table.

    Raises ValueError if a susceptibility or loss is not finite, or widths disagree.
    """
    context = rows.ids_nT1.shape[1] - 1
    num_tokens = rows.ids_nT1.shape[0] * context
    for column in rows.columns:
        values = rows.values[column.name]
        expected = (num_tokens, len(components)) if column.by_component else (num_tokens,)
        if values.shape != expected:
            raise ValueError(
                f"{column.name} is {extent(values.shape)}, expected {num_tokens} tokens"
                f"{f' × {len(components)} components' if column.by_component else ''}: were tiles "
                "of two runs mixed?"
            )
        if column.finite and not np.isfinite(values).all():
            raise ValueError(f"{column.name} has values that are not finite; nothing is written")
    position_N = np.tile(np.arange(context, dtype=np.int16), len(rows.ids_nT1))
    sequence_N = np.repeat(rows.sequence_id_n.astype(np.int32), context)
    subset = pa.DictionaryArray.from_arrays(
        pa.array(np.repeat(rows.subset_n, context).astype(np.int32)),
        pa.array(list(rows.subset_names), pa.string()),
    )
    columns = {
        "token_id": pa.array(sequence_N.astype(np.int64) * context + position_N),
        "sequence_id": pa.array(sequence_N),
        "position": pa.array(position_N),
        "subset": subset,
        "token": pa.array(rows.ids_nT1[:, 1:].reshape(-1).astype(np.int32)),
    }
    for column in rows.columns:
        columns[column.name] = stored_array(rows.values[column.name])
    return pa.table(columns, metadata=metadata_of(components, fingerprint, summary))


@dataclass(frozen=True, kw_only=True)
class Product:
    """Rows of some or all shards of a run, in token order."""

    components: tuple[str, ...]
    """Names of the columns of χ."""
    fingerprint: str
    """Of the run that made them."""
    table: pa.Table
    """The label columns that were read."""
    chi_NH: npt.NDArray[np.float32]
    """Susceptibilities."""

    def column(self, name: str) -> npt.NDArray[Any]:
        """A numeric column as an array."""
        return np.asarray(self.table[name].combine_chunks())


def read_shard(store: Store, shard: int, labels: Sequence[str] = LABELS) -> Product:
    """One shard with these columns besides χ.

    Raises FileNotFoundError, DamagedObjectError, ValueError for a file of another kind.
    """
    return _product(*_read(store, shard, [*labels, CHI]))


def read_head(store: Store, shard: int) -> Head:
    """Components and fingerprint of one shard; errors as `read_shard`."""
    head, _ = _read(store, shard, ["token_id"])
    return head


def read_chi(
    store: Store, shard: int, components: Sequence[str] | None = None
) -> npt.NDArray[np.float32]:
    """χ of one shard alone, [n, H]; errors as `read_shard`.

    Raises ValueError unless its columns are these components in this order, if given.
    """
    head, table = _read(store, shard, [CHI])
    if components is not None and head.components != tuple(components):
        raise ValueError(
            f"{store.uri}/{part_name(shard)} has other columns than the shards before it, or the "
            "same in another order: were shards of two runs put into one folder?"
        )
    return matrix(table[CHI])


def read_chi_and_response(
    store: Store, shard: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """χ [n, H] and B [n] of one shard, nats; B is NaN without unrestricted chains."""
    _, table = _read(store, shard, [RESPONSE, CHI])
    return matrix(table[CHI]), np.asarray(table[RESPONSE].combine_chunks(), np.float32)


def read_labels(store: Store, shard: int, labels: Sequence[str] = LABELS) -> pa.Table:
    """All but χ of one shard, or some of it; errors as `read_shard`."""
    _, table = _read(store, shard, labels)
    return table.replace_schema_metadata(None)


def read_product(
    store: Store, num_shards: int | None = None, labels: Sequence[str] = LABELS
) -> Product:
    """All shards, or the first ones, in memory.

    Raises ValueError, in one line, if there is none, or they are of different runs;
    DamagedObjectError.
    """
    shards = list(iterate_product(store, num_shards, labels))
    table = pa.concat_tables([shard.table for shard in shards], promote_options="default")
    return Product(
        components=shards[0].components,
        fingerprint=shards[0].fingerprint,
        table=table.unify_dictionaries(),  # later shards may know more subsets
        chi_NH=np.concatenate([shard.chi_NH for shard in shards]),
    )


def iterate_product(
    store: Store, num_shards: int | None = None, labels: Sequence[str] = LABELS
) -> Iterator[Product]:
    """`read_product` shard by shard."""
    numbers = shards_there(store) if num_shards is None else range(num_shards)
    if not numbers:
        raise ValueError(
            f"{store.uri} has no susceptibilities: expected {part_name(0)}; "
            "is this the folder of a finished run?"
        )
    shards = ((part_name(n), *_read(store, n, [*labels, CHI])) for n in numbers)
    for head, table in of_one_run(shards, store):
        yield _product(head, table)


def shards_there(store: Store) -> Sequence[int]:
    """Numbers of the shards with rows, in order."""
    return sorted(_sizes(store))


def measured_shards(store: Store) -> dict[int, int]:
    """Bytes of the rows of every measured shard by number, in order.

    0 where the marker exists but the rows are lost: reading them raises.
    """
    found = (re.fullmatch(_MARKER, name) for name in store.list(ASSEMBLY))
    sizes = _sizes(store)
    return {n: sizes.get(n, 0) for n in sorted(int(marker["shard"]) for marker in found if marker)}


def refuse_earlier_layout(store: Store) -> None:
    """Raise ValueError, in one line, for rows of the layout before ADR 060 (files beside the
    rows)."""
    others = [n for n in store.list(FOLDER) if re.fullmatch(_BESIDE_ROWS, n)]
    if others:
        raise ValueError(
            f"{store.uri} is of an earlier version of spectro, which kept half estimates and "
            f"markers beside the rows ({others[0]}): move {FOLDER}/halves-NNNNN.parquet to "
            f"{HALVES}/part-NNNNN.parquet and {FOLDER}/*.json to {ASSEMBLY}/, then go on with it"
        )


def _sizes(store: Store) -> dict[int, int]:
    """Bytes of every shard with rows."""
    found = ((re.fullmatch(ROWS, name), size) for name, size in store.list(FOLDER).items())
    return {int(part["shard"]): size for part, size in found if part}


def _read(store: Store, shard: int, columns: Sequence[str]) -> tuple[Head, pa.Table]:
    try:
        described = read_sealed(store, moments_name(shard)).get("part")
    except FileNotFoundError:  # rows of a run that goes on
        described = None
    info = None if described is None else ObjectInfo(**described)
    return read_columns(store, part_name(shard), info, columns)


def _product(head: Head, table: pa.Table) -> Product:
    return Product(
        components=head.components,
        fingerprint=head.fingerprint,
        table=table.replace_schema_metadata(None).drop_columns([CHI]),
        chi_NH=matrix(table[CHI]),
    )
