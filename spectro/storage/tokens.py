"""Token sequences of a run: Parquet shards per split, and a marker written last.

tokens/<split>-NNNNN.parquet   sequence_id int32, subset dictionary<string>,
                               ids fixed_size_list<int32>[T+1]
tokens/tokens.json             counts, subset names, checksum of the ids per split
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.storage.fs import DamagedObjectError, Store
from spectro.tokens.sequences import Sequences, TokenSplits

SPLITS = ("probe", "sampling", "evaluation")
MARKER = "tokens/tokens.json"


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """What the marker says of one split."""

    num_sequences: int
    """Sequences in all shards."""
    num_shards: int
    """Parquet files."""
    sha256: str
    """Digest of ids, subsets and subset names."""


@dataclass(frozen=True, kw_only=True)
class TokensInfo:
    """What the marker says of all tokens."""

    context: int
    """T; sequences hold T + 1 ids."""
    vocab_size: int
    """Size of the vocabulary that the ids belong to."""
    splits: dict[str, SplitInfo]
    """By name of the split."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything that was tokenised."""
        text = json.dumps([[name, self.splits[name].sha256] for name in SPLITS])
        return hashlib.sha256(text.encode()).hexdigest()


def shard_name(split: str, shard: int) -> str:
    """Name of a shard's object."""
    return f"tokens/{split}-{shard:05d}.parquet"


def write_tokens(
    store: Store, splits: TokenSplits, *, vocab_size: int, sequences_per_shard: int
) -> TokensInfo:
    """Put all shards, then the marker; shards of a writer that died before it are replaced."""
    if not store.exists(MARKER):
        for leftover in store.list(MARKER.split("/")[0]):
            store.delete(leftover)
    infos, context = {}, 0
    for split in SPLITS:
        sequences: Sequences = getattr(splits, split)
        context = sequences.ids_ST1.shape[1] - 1
        starts = range(0, len(sequences.ids_ST1), sequences_per_shard)
        for shard, start in enumerate(starts):
            data = _shard_bytes(sequences, start, start + sequences_per_shard)
            store.put_if_absent(shard_name(split, shard), data)
        infos[split] = SplitInfo(
            num_sequences=len(sequences.ids_ST1), num_shards=len(starts), sha256=_digest(sequences)
        )
    info = TokensInfo(context=context, vocab_size=vocab_size, splits=infos)
    store.put_if_absent(MARKER, json.dumps(asdict(info)).encode())
    return read_info(store)


def read_info(store: Store) -> TokensInfo:
    """The marker; raises FileNotFoundError if the tokens are not complete."""
    marker = json.loads(store.read(MARKER))
    splits = {name: SplitInfo(**info) for name, info in marker["splits"].items()}
    return TokensInfo(context=marker["context"], vocab_size=marker["vocab_size"], splits=splits)


def read_split(store: Store, split: str) -> Sequences:
    """All sequences of a split, checked against the marker.

    Raises DamagedObjectError if they are not those that were written.
    """
    info = read_info(store).splits[split]
    parts = [read_shard(store, split, shard)[1] for shard in range(info.num_shards)]
    sequences = Sequences(
        ids_ST1=np.concatenate([part.ids_ST1 for part in parts]),
        subset_S=np.concatenate([part.subset_S for part in parts]),
        subset_names=parts[0].subset_names,
    )
    if _digest(sequences) != info.sha256:
        raise DamagedObjectError(
            f"{store.uri}/tokens: the {split} sequences are not those of {MARKER}; "
            "start in another run.uri, or delete the whole run"
        )
    return sequences


def read_shard(store: Store, split: str, shard: int) -> tuple[npt.NDArray[np.int32], Sequences]:
    """Sequence ids and sequences of one shard."""
    name = shard_name(split, shard)
    try:
        table = pq.read_table(io.BytesIO(store.read(name)))
    except pa.ArrowInvalid as error:
        raise DamagedObjectError(f"{store.uri}/{name} is no Parquet file: {error}") from error
    ids = table["ids"].combine_chunks()
    subset = table["subset"].combine_chunks()
    return np.asarray(table["sequence_id"]), Sequences(
        ids_ST1=np.asarray(ids.flatten()).reshape(-1, ids.type.list_size).astype(np.int32),
        subset_S=np.asarray(subset.indices).astype(np.int16),
        subset_names=tuple(subset.dictionary.to_pylist()),
    )


def _shard_bytes(sequences: Sequences, start: int, stop: int) -> bytes:
    ids = np.ascontiguousarray(sequences.ids_ST1[start:stop], dtype=np.int32)
    table = pa.table(
        {
            "sequence_id": pa.array(np.arange(start, start + len(ids), dtype=np.int32)),
            "subset": pa.DictionaryArray.from_arrays(
                pa.array(sequences.subset_S[start:stop].astype(np.int32)),
                pa.array(list(sequences.subset_names), pa.string()),
            ),
            "ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.reshape(-1)), ids.shape[1]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _digest(sequences: Sequences) -> str:
    digest = hashlib.sha256(json.dumps(list(sequences.subset_names)).encode())
    digest.update(np.ascontiguousarray(sequences.ids_ST1, dtype=np.int32).tobytes())
    digest.update(np.ascontiguousarray(sequences.subset_S, dtype=np.int16).tobytes())
    return digest.hexdigest()
