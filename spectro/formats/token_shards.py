"""One shard of token sequences as a Parquet object.

sequence_id int32, subset dictionary<string>, ids fixed_size_list<int32>[T+1]
"""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats.table_objects import table_bytes
from spectro.storage.store import ObjectInfo, Store
from spectro.tokens.sequences import Sequences


def parse_shard(data: bytes) -> tuple[npt.NDArray[np.int32], Sequences]:
    """Sequence ids and sequences of a shard's bytes; raises pyarrow.ArrowInvalid."""
    table = pq.read_table(io.BytesIO(data))
    ids, subset = table["ids"].combine_chunks(), table["subset"].combine_chunks()
    return np.asarray(table["sequence_id"]), Sequences(
        ids_ST1=np.asarray(ids.flatten()).reshape(-1, ids.type.list_size).astype(np.int32),
        subset_S=np.asarray(subset.indices).astype(np.int16),
        subset_names=tuple(subset.dictionary.to_pylist()),
    )


def put_shard(store: Store, name: str, sequences: Sequences, first_sequence: int) -> ObjectInfo:
    """Put a shard; returns size and checksum of the stored object.

    An object with other content comes from a writer that died before its marker: it is replaced.
    """
    data = _shard_bytes(sequences, first_sequence)
    if not store.put_if_absent(name, data):
        existing = store.read(name)
        if _same_content(existing, sequences, first_sequence):
            return ObjectInfo.of(existing)
        store.delete(name)
        store.put(name, data)
    return ObjectInfo.of(data)


def _same_content(data: bytes, sequences: Sequences, first_sequence: int) -> bool:
    try:
        sequence_ids, found = parse_shard(data)
    except (pa.ArrowInvalid, KeyError, AttributeError):
        return False
    if not np.array_equal(sequence_ids, first_sequence + np.arange(len(sequences))):
        return False
    return content_digest(found) == content_digest(sequences)


def _shard_bytes(sequences: Sequences, first_sequence: int) -> bytes:
    ids = np.ascontiguousarray(sequences.ids_ST1, dtype=np.int32)
    sequence_ids = np.arange(first_sequence, first_sequence + len(ids), dtype=np.int32)
    table = pa.table(
        {
            "sequence_id": pa.array(sequence_ids),
            "subset": pa.DictionaryArray.from_arrays(
                pa.array(sequences.subset_S.astype(np.int32)),
                pa.array(list(sequences.subset_names), pa.string()),
            ),
            "ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.reshape(-1)), ids.shape[1]),
        }
    )
    return table_bytes(table)


def content_digest(sequences: Sequences) -> str:
    """Digest of ids, subsets and subset names."""
    digest = hashlib.sha256(json.dumps(list(sequences.subset_names)).encode())
    digest.update(np.ascontiguousarray(sequences.ids_ST1, dtype=np.int32).tobytes())
    digest.update(np.ascontiguousarray(sequences.subset_S, dtype=np.int16).tobytes())
    return digest.hexdigest()
