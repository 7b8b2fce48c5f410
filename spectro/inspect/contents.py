"""What must hold of the contents of a run's large objects, beside their checksums.

Each check takes bytes and returns what is wrong in a few words, or None.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats.deviations import COLUMN as DEVIATION
from spectro.formats.halves import COLUMNS as HALVES
from spectro.formats.halves import RESPONSES
from spectro.formats.shard_file import COMPONENTS, FINGERPRINT

SequenceIds = npt.NDArray[np.int64]
UNREADABLE = (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError, ValueError, AttributeError)
"""What reading a Parquet file of other bytes may raise."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of token sequences."""

    sequence_id_n: SequenceIds
    """Sequence ids."""
    ids_nT1: npt.NDArray[np.int32]
    """Token ids."""


@dataclass(frozen=True, kw_only=True)
class RowChecks:
    """What was found in one part of the product."""

    num_rows: int
    """Tokens."""
    components: tuple[str, ...]
    """Columns of χ."""
    fingerprint: str
    """Of the draws."""


def read_token_shard(data: bytes) -> Shard:
    """A shard of sequences; raises one of `UNREADABLE`."""
    table = pq.read_table(io.BytesIO(data), columns=["sequence_id", "ids"])
    ids = table["ids"].combine_chunks()
    return Shard(
        sequence_id_n=np.asarray(table["sequence_id"]).astype(np.int64),
        ids_nT1=np.asarray(ids.flatten()).reshape(-1, ids.type.list_size).astype(np.int32),
    )


def check_rows(data: bytes, shard: Shard) -> tuple[RowChecks | None, str | None]:
    """Rows of one part against the sequences that they measure: each token once, in order.

    Returns what was found, and what is wrong.
    """
    return _checked(data, shard, "rows of the product", _wrong_rows)


def check_halves(data: bytes, shard: Shard) -> tuple[RowChecks | None, str | None]:
    """Half estimates of one part, as `check_rows`."""
    return _checked(data, shard, "half estimates", _wrong_halves)


def check_deviations(data: bytes, shard: Shard) -> tuple[RowChecks | None, str | None]:
    """Deviations of predicted χ of one part, as `check_rows`."""
    return _checked(data, shard, "deviations", _wrong_deviations)


def _checked(
    data: bytes, shard: Shard, what: str, wrong: Callable[[pa.Table, Shard, int], str | None]
) -> tuple[RowChecks | None, str | None]:
    try:
        table = pq.read_table(io.BytesIO(data))
        metadata = table.schema.metadata or {}
        found = RowChecks(
            num_rows=table.num_rows,
            components=tuple(json.loads(metadata[COMPONENTS.encode()])),
            fingerprint=metadata[FINGERPRINT.encode()].decode(),
        )
        return found, wrong(table, shard, len(found.components))
    except UNREADABLE as error:
        return None, f"it cannot be read as {what} ({error})"


def _wrong_rows(table: pa.Table, shard: Shard, width: int) -> str | None:
    if (wrong := _wrong_tokens(table, shard)) is not None:
        return wrong
    if not np.array_equal(np.asarray(table["token"]), shard.ids_nT1[:, 1:].reshape(-1)):
        return "its tokens are not those of its shard of sequences"
    if not np.isfinite(np.asarray(table["loss"])).all():
        return "its loss has values that are not finite"
    return _wrong_chi(table, "chi", width)


def _wrong_halves(table: pa.Table, shard: Shard, width: int) -> str | None:
    found = [_wrong_tokens(table, shard), *(_wrong_chi(table, name, width) for name in HALVES)]
    for name in (name for name in RESPONSES if name in table.column_names):
        if not np.isfinite(np.asarray(table[name])).all():
            found.append(f"its {name} has values that are not finite")
    return next((wrong for wrong in found if wrong is not None), None)


def _wrong_deviations(table: pa.Table, shard: Shard, width: int) -> str | None:
    return _wrong_tokens(table, shard) or _wrong_chi(table, DEVIATION, width)


def _wrong_tokens(table: pa.Table, shard: Shard) -> str | None:
    context = shard.ids_nT1.shape[1] - 1
    position = np.arange(context)
    expected = (shard.sequence_id_n[:, None] * context + position).reshape(-1)
    token_id = np.asarray(table["token_id"])
    if np.array_equal(token_id, expected):
        return None
    return (
        f"expected {len(expected)} rows, one for each token of its shard in order, found "
        f"{len(token_id)} rows, {len(np.setdiff1d(expected, token_id))} tokens lost and "
        f"{len(token_id) - len(np.unique(token_id))} doubled"
    )


def _wrong_chi(table: pa.Table, name: str, width: int) -> str | None:
    chi = table[name].combine_chunks()
    if chi.type.list_size != width:
        return f"its {name} has {chi.type.list_size} columns, its metadata name {width}"
    if not np.isfinite(np.asarray(chi.flatten())).all():
        return f"its {name} has values that are not finite"
    return None


def wrong_sequence_ids(shards: Sequence[SequenceIds]) -> str | None:
    """Probe sequences must be numbered from 0 on without a gap: a token id names one token."""
    if not shards:
        return None
    joined = np.concatenate(shards)
    if np.array_equal(joined, np.arange(len(joined))):
        return None
    return "the probe shards' sequence ids are not 0, 1, 2, … in order"
