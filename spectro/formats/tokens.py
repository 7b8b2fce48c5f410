"""Token sequences of a run: Parquet shards per split, then markers.

tokens/<split>-NNNNN.parquet   sequence_id int32, subset dictionary<string>,
                               ids fixed_size_list<int32>[T+1]
tokens/tokens.json             checksummed: context, vocabulary; per split counts, checksum of the
                               ids, size and checksum of its shards; per source a report
tokens/more-NNN.json           checksummed: an addition to the probe sequences (`more_tokens.py`);
                               its shards and sequence ids continue those before it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.formats.token_shards import content_digest, parse_shard, put_shard
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.tokens.sources.source_report import SourceReport

FOLDER = "tokens"
SPLITS = ("probe", "sampling", "evaluation")
MARKER = f"{FOLDER}/tokens.json"


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split, or one addition, in a marker."""

    num_sequences: int
    """Sequences in all shards."""
    num_shards: int
    """Parquet files."""
    sha256: str
    """Digest of ids, subsets and subset names."""
    counts: dict[str, int]
    """Sequences by subset."""
    shard_sizes: tuple[int, ...]
    """Sequences of every shard."""
    shards: tuple[ObjectInfo, ...]
    """Size and checksum of every shard."""

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> SplitInfo:
        """From a marker's plain values."""
        shards = tuple(ObjectInfo(**info) for info in plain["shards"])
        return cls(**{**plain, "shard_sizes": tuple(plain["shard_sizes"]), "shards": shards})


@dataclass(frozen=True, kw_only=True)
class TokensInfo:
    """All tokens of a run."""

    context: int
    """T; sequences hold T + 1 ids."""
    vocab_size: int
    """Size of the vocabulary that the ids belong to."""
    splits: dict[str, SplitInfo]
    """By name of the split; `probe` with all additions."""
    additions: tuple[dict[str, Any], ...] = ()
    """Inputs of each addition, from `tokens/more-NNN.json`, in order."""
    reports: dict[str, SourceReport] = field(default_factory=dict)
    """Report of each source of the run's own tokens, by subset; empty in older runs."""

    @property
    def fingerprint(self) -> str:
        """Digest of the chains' tokens: unchanged by added probe sequences."""
        seen = ("sampling", "evaluation")
        return _text_digest([[name, self.splits[name].sha256] for name in seen])

    @property
    def probe_sha256(self) -> str:
        """Digest of all probe sequences: objects derived from others are stale."""
        return self.splits["probe"].sha256

    def reports_of(self, addition: int) -> dict[str, SourceReport]:
        """Reports of an addition by subset; the first addition is 1."""
        return read_reports(self.additions[addition - 1])

    @property
    def objects(self) -> dict[str, ObjectInfo]:
        """Size and checksum of every shard of every split, by name."""
        return {
            shard_name(split, shard): info
            for split, known in self.splits.items()
            for shard, info in enumerate(known.shards)
        }


def plain_reports(reports: Mapping[str, SourceReport]) -> dict[str, Any]:
    """Reports by subset as a marker's plain values."""
    return {name: report.to_plain() for name, report in reports.items()}


def read_reports(marker: Mapping[str, Any]) -> dict[str, SourceReport]:
    """Reports of a marker by subset; empty in older runs."""
    plain = marker.get("read", {})
    return {name: SourceReport.from_plain(report) for name, report in plain.items()}


def shard_name(split: str, shard: int) -> str:
    """Name of a shard's object."""
    return f"{FOLDER}/{split}-{shard:05d}.parquet"


def more_name(addition: int) -> str:
    """Name of an addition's marker; the first is 1."""
    return f"{FOLDER}/more-{addition:03d}.json"


def write_tokens(
    store: Store, splits: TokenSplits, *, vocab_size: int, sequences_per_shard: int
) -> TokensInfo:
    """Put all shards, then the marker."""
    infos = {}
    for split in SPLITS:
        sequences: Sequences = getattr(splits, split)
        infos[split] = put_shards(store, split, sequences, sequences_per_shard)
    content = {
        "context": splits.probe.ids_ST1.shape[1] - 1,
        "vocab_size": vocab_size,
        "splits": {split: asdict(info) for split, info in infos.items()},
        "read": plain_reports(splits.reports),
    }
    store.put_if_absent(MARKER, seal(content))
    return read_info(store)


def put_shards(
    store: Store,
    split: str,
    sequences: Sequences,
    per_shard: int,
    *,
    first_shard: int = 0,
    first_sequence: int = 0,
) -> SplitInfo:
    """Put sequences as shards from `first_shard` on; returns what is then stored."""
    starts = range(0, len(sequences), per_shard)
    shards = tuple(
        put_shard(
            store,
            shard_name(split, first_shard + index),
            _part(sequences, slice(start, start + per_shard)),
            first_sequence + start,
        )
        for index, start in enumerate(starts)
    )
    counts = np.bincount(sequences.subset_S, minlength=len(sequences.subset_names)).tolist()
    return SplitInfo(
        num_sequences=len(sequences),
        num_shards=len(starts),
        sha256=content_digest(sequences),
        counts={n: c for n, c in zip(sequences.subset_names, counts, strict=True) if c},
        shard_sizes=tuple(min(per_shard, len(sequences) - start) for start in starts),
        shards=shards,
    )


def read_info(store: Store) -> TokensInfo:
    """The markers; raises FileNotFoundError if the tokens are not complete."""
    marker = read_sealed(store, MARKER)
    splits = {name: SplitInfo.read(plain) for name, plain in marker["splits"].items()}
    additions = _additions(store)
    for addition in additions:
        splits["probe"] = _joined(splits["probe"], SplitInfo.read(addition["probe"]))
    return TokensInfo(
        context=marker["context"],
        vocab_size=marker["vocab_size"],
        splits=splits,
        additions=additions,
        reports=read_reports(marker),
    )


def _additions(store: Store) -> tuple[dict[str, Any], ...]:
    """All additions, probed one by one: a listing may be long, or late."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            found.append(read_sealed(store, more_name(len(found) + 1)))
        except FileNotFoundError:
            return tuple(found)


def read_split(store: Store, split: str) -> Sequences:
    """All sequences of a split, verified against the markers; raises DamagedObjectError."""
    info = read_info(store)
    parts = [
        read_shard(store, split, shard, info)[1] for shard in range(info.splits[split].num_shards)
    ]
    return Sequences(
        ids_ST1=np.concatenate([part.ids_ST1 for part in parts]),
        subset_S=np.concatenate([part.subset_S for part in parts]),
        subset_names=parts[-1].subset_names,  # an addition's names begin with those before it
    )


def read_shard(
    store: Store, split: str, shard: int, info: TokensInfo | None = None
) -> tuple[npt.NDArray[np.int32], Sequences]:
    """Sequence ids and sequences of one shard, verified against the markers.

    Raises DamagedObjectError.
    """
    name = shard_name(split, shard)
    data = store.read(name)
    if (info or read_info(store)).splits[split].shards[shard] != ObjectInfo.of(data):
        raise DamagedObjectError(
            f"{store.uri}/{name} is damaged: its bytes are not those of {MARKER} and its "
            "additions; delete it and the marker that names it: the sources give the same again"
        )
    return parse_shard(data)


def copy_tokens(source: Store, target: Store, probe_sha256: str) -> TokensInfo:
    """Copy the token shards and markers of a run.

    Raises ValueError if the source's digest is not `probe_sha256`, DamagedObjectError.
    """
    info = read_info(source)
    require_tokens(source, info, probe_sha256)
    for name, expected in info.objects.items():
        data = source.read(name)
        expected.verify(data, f"{source.uri}/{name}")
        target.put_if_absent(name, data)
    markers = [more_name(number) for number in range(1, len(info.additions) + 1)]
    for name in (*markers, MARKER):
        target.put_if_absent(name, source.read(name))
    return read_info(target)


def require_tokens(source: Store, info: TokensInfo, probe_sha256: str) -> None:
    """Raise ValueError, in one line, unless a run has the expected probe tokens."""
    if info.probe_sha256 != probe_sha256:
        raise ValueError(
            f"{source.uri} has other tokens than when the upsampled run was begun (digest "
            f"{info.probe_sha256[:16]}, expected {probe_sha256[:16]}): were tokens added to it? "
            "Give another upsample.uri to learn from all of them"
        )


def _part(sequences: Sequences, part: slice) -> Sequences:
    return Sequences(
        ids_ST1=sequences.ids_ST1[part],
        subset_S=sequences.subset_S[part],
        subset_names=sequences.subset_names,
    )


def _joined(first: SplitInfo, more: SplitInfo) -> SplitInfo:
    names = dict.fromkeys((*first.counts, *more.counts))
    return SplitInfo(
        num_sequences=first.num_sequences + more.num_sequences,
        num_shards=first.num_shards + more.num_shards,
        sha256=_text_digest([first.sha256, more.sha256]),
        counts={name: first.counts.get(name, 0) + more.counts.get(name, 0) for name in names},
        shard_sizes=(*first.shard_sizes, *more.shard_sizes),
        shards=(*first.shards, *more.shards),
    )


def _text_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
