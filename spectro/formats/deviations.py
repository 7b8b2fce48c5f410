"""Standard deviations of predicted χ, one per number of an upsampled run's rows.

    deviations/part-NNNNN.parquet
    token_id int64 · deviation fixed_size_list<float32>[H] (nats²)

Rows, metadata and encodings are those of the shard's part (formats/product.py), whose marker has
size and checksum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats.product import deviations_name, moments_name
from spectro.formats.shard_file import lists, matrix, read_columns
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import ObjectInfo, Store

COLUMN = "deviation"


def deviations_table(part: pa.Table, deviation_NH: npt.NDArray[np.floating]) -> pa.Table:
    """Deviations as an Arrow table with the metadata of the shard's rows (`part`).

    Raises ValueError if one is negative or not finite, or widths disagree.
    """
    expected = (part.num_rows, part.schema.field("chi").type.list_size)
    if deviation_NH.shape != expected:
        raise ValueError(
            f"deviations are {deviation_NH.shape}, expected {expected} as their shard's rows: were "
            "predictors of two runs mixed?"
        )
    if not (np.isfinite(deviation_NH).all() and (deviation_NH >= 0).all()):
        raise ValueError("a deviation is negative or not finite; nothing is written")
    columns = {"token_id": part["token_id"], COLUMN: lists(deviation_NH)}
    return pa.table(columns, metadata=part.schema.metadata)


def read_deviations(store: Store, shard: int) -> npt.NDArray[np.float32]:
    """Deviations of one shard's χ, [n, H].

    Raises ValueError if χ is measured, FileNotFoundError, DamagedObjectError.
    """
    info = read_sealed(store, moments_name(shard)).get("deviations")
    if info is None:
        raise ValueError(
            f"{store.uri} has no deviations of χ for shard {shard}: its χ is measured, not "
            "predicted"
        )
    _, table = read_columns(store, deviations_name(shard), ObjectInfo(**info), (COLUMN,))
    return matrix(table[COLUMN])
