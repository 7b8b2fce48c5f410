"""What must hold of the objects of a measurement: sequences, draws, tiles, rows (`work/stage.py`).

Each `check` raises ValueError with what is wrong in a few words.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spectro.formats import tiles
from spectro.formats.chain_names import block_name
from spectro.formats.chain_records import blocks_of
from spectro.formats.derived_objects import TOKENS
from spectro.formats.deviations import COLUMN as DEVIATION
from spectro.formats.halves import COLUMNS as HALVES
from spectro.formats.halves import RESPONSES
from spectro.formats.product import SUMMARY_NAME, deviations_name, halves_name, part_name
from spectro.formats.shard_file import COMPONENTS, FINGERPRINT
from spectro.formats.tokens import shard_name
from spectro.susceptibility.columns import influence_names, observables_in
from spectro.work.stage import PartContents
from spectro.work.verification import UNREADABLE

Content = Mapping[str, Any]
SequenceIds = npt.NDArray[np.int64]


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


def shards_of_tokens(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """Shards that the tokens' marker, or an addition's, names."""
    named = {}
    first = 0
    if "splits" not in content:  # an addition, whose shards are numbered on
        first = sum(1 for shard in contents.expected if shard.startswith("tokens/probe-"))
    for split, known in content.get("splits", {"probe": content.get("probe", {})}).items():
        start = first if split == "probe" else 0
        for index, info in enumerate(known.get("shards", ())):
            named[f"tokens/{split}-{start + index:05d}.parquet"] = info
    return named


def blocks_of_chain(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """Blocks of draws that a chain's marker names; none once they are dropped."""
    if name.endswith(".dropped.json"):
        return {}
    _, group, chain = name.removesuffix(".json").split("/")
    return {
        block_name(group, int(chain), component, first, info): asdict(info)
        for component, infos in blocks_of(content["blocks"]).items()
        for first, info in infos.items()
    }


def parquet_of_shard(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """Rows, half estimates and deviations that the moments of a shard name."""
    places = {"part": part_name, "halves": halves_name, "deviations": deviations_name}
    if "part" not in content:
        return {}
    return {place(number_in(name)): content[key] for key, place in places.items() if key in content}


def keep_summary(contents: PartContents, name: str, content: Content) -> dict[str, Any]:
    """Keep of how many tokens a summary is, and of which."""
    contents.of_kind("summary")[name] = {key: content[key] for key in ("num_tokens", TOKENS)}
    return {}


def check_sequences(contents: PartContents, name: str, data: bytes) -> SequenceIds | None:
    """Sequence ids of a shard of probe sequences."""
    shard = read_token_shard(data)
    return shard.sequence_id_n if "/probe-" in name else None


def check_tile(contents: PartContents, name: str, data: bytes) -> None:
    """The digest in its header."""
    tiles.read_tile(contents.store, number_in(name), name.split("/")[-1].split(".")[0])


def check_rows(contents: PartContents, name: str, data: bytes) -> RowChecks | None:
    """Rows of one part against the sequences that they measure: each token once, in order."""
    return _checked(contents, name, data, "rows of the product", _wrong_rows)


def check_halves(contents: PartContents, name: str, data: bytes) -> RowChecks | None:
    """Half estimates of one part, as `check_rows`."""
    return _checked(contents, name, data, "half estimates", _wrong_halves)


def check_deviations(contents: PartContents, name: str, data: bytes) -> RowChecks | None:
    """Deviations of predicted χ of one part, as `check_rows`."""
    return _checked(contents, name, data, "deviations", _wrong_deviations)


def _checked(
    contents: PartContents,
    name: str,
    data: bytes,
    what: str,
    find_fault: Callable[[pa.Table, Shard, int], str | None],
) -> RowChecks | None:
    try:
        shard = read_token_shard(contents.root.read(shard_name("probe", number_in(name))))
    except UNREADABLE:
        return None  # of the sequences, not of the rows: booked where they are checked
    try:
        table = pq.read_table(io.BytesIO(data))
        metadata = table.schema.metadata or {}
        found = RowChecks(
            num_rows=table.num_rows,
            components=tuple(json.loads(metadata[COMPONENTS.encode()])),
            fingerprint=metadata[FINGERPRINT.encode()].decode(),
        )
        wrong = find_fault(table, shard, len(found.components))
    except UNREADABLE as error:
        raise ValueError(f"it cannot be read as {what} ({error})") from error
    if wrong is not None:
        raise ValueError(wrong)
    return found


def rows_found(contents: PartContents) -> list[RowChecks]:
    """What was found of the product, by shard."""
    found = contents.of_kind("rows")
    return [found[name] for name in sorted(found, key=number_in)]


def is_whole(contents: PartContents) -> bool:
    """Whether all rows of the run's tokens are there and right."""
    probe = contents.run_findings.get("tokens", {})
    return 0 < len(contents.of_kind("rows")) == len(probe)


def compare_sequences(contents: PartContents) -> Iterator[tuple[str, str]]:
    """Probe sequences must be numbered from 0 on without a gap: a token id names one token."""
    found = contents.of_kind("tokens")
    if found:
        joined = np.concatenate([found[name] for name in sorted(found, key=number_in)])
        if not np.array_equal(joined, np.arange(len(joined))):
            wrong = "the probe shards' sequence ids are not 0, 1, 2, … in order"
            yield shard_name("probe", 0), wrong


def compare_rows(contents: PartContents) -> Iterator[tuple[str, str]]:
    """All shards have the first one's fingerprint and components."""
    rows = rows_found(contents)
    for name, found in contents.of_kind("rows").items():
        if found.fingerprint != rows[0].fingerprint or found.components != rows[0].components:
            yield name, "its fingerprint or components are not the others'"


def compare_halves(contents: PartContents) -> Iterator[tuple[str, str]]:
    """Half estimates are of the same rows as the part beside them."""
    return compare_with_rows(contents, "halves")


def compare_deviations(contents: PartContents) -> Iterator[tuple[str, str]]:
    """Deviations are of the same rows as the part beside them."""
    return compare_with_rows(contents, "deviations")


def compare_with_rows(contents: PartContents, kind: str) -> Iterator[tuple[str, str]]:
    """Objects of a kind that are of other rows than the part of their number."""
    rows = contents.of_kind("rows")
    for name, found in contents.of_kind(kind).items():
        if found != rows.get(part_name(number_in(name)), found):
            yield name, "it is of other rows than its part"


def compare_summary(contents: PartContents) -> Iterator[tuple[str, str]]:
    """The summary counts the rows of the product, unless it is of other tokens."""
    for found in contents.of_kind("summary").values():
        counted = sum(shard.num_rows for shard in rows_found(contents))
        is_current = found[TOKENS] == contents.probe_sha256
        if is_whole(contents) and is_current and found["num_tokens"] != counted:
            wrong = f"it is of {found['num_tokens']} tokens, the product has {counted}"
            yield SUMMARY_NAME, wrong


def number_in(name: str) -> int:
    """Number of the shard that an object's name has."""
    return int(re.findall(r"\d{5,}", name)[0])


def _wrong_rows(table: pa.Table, shard: Shard, width: int) -> str | None:
    if (wrong := _wrong_tokens(table, shard)) is not None:
        return wrong
    if not np.array_equal(np.asarray(table["token"]), shard.ids_nT1[:, 1:].reshape(-1)):
        return "its tokens are not those of its shard of sequences"
    if not np.isfinite(np.asarray(table["loss"])).all():
        return "its loss has values that are not finite"
    for name in influence_names(table.column_names, observables_in(table.column_names)):
        is_list = not name.startswith("full_") and not name.endswith("_error")
        if is_list and (wrong := _wrong_chi(table, name, width)) is not None:
            return wrong
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
