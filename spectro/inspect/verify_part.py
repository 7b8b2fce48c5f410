"""Verification of one part of a run: the run itself, its control, another nβ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from spectro.formats import run_dir, tiles
from spectro.formats.chain_names import block_name
from spectro.formats.derived_objects import TOKENS
from spectro.formats.draws import blocks_of
from spectro.formats.leftovers import leftovers
from spectro.formats.object_kinds import is_marker, kind_of
from spectro.formats.parts import split_part
from spectro.formats.product import SUMMARY_NAME, deviations_name, halves_name, part_name
from spectro.formats.tokens import MARKER, shard_name
from spectro.inspect.contents import (
    UNREADABLE,
    RowChecks,
    SequenceIds,
    check_deviations,
    check_halves,
    check_rows,
    read_token_shard,
    wrong_sequence_ids,
)
from spectro.inspect.remedies import remedy
from spectro.inspect.verify_clusters import ClusterFolders
from spectro.storage.checksummed_arrays import parse_arrays
from spectro.storage.checksummed_json import unseal
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store

LARGE = (
    "tokens", "draws", "checkpoints", "tiles", "features", "predictors", "rows", "halves",
    "deviations", "lists", "clusters", "assigned", "page", "map_files",
)  # fmt: skip
PASSING = ("tiles", "features", "checkpoints", "draws", "lists")
"""Kinds that a run which goes on may remove while they are looked at."""
CHECKS = {"rows": check_rows, "halves": check_halves, "deviations": check_deviations}
"""Of the Parquet objects of a token shard."""
Add = Callable[[str, str, str], None]


class PartVerifier:
    """What is known of one part while it is verified."""

    def __init__(self, root: Store, part: str, present: Mapping[str, int], *, add: Add) -> None:
        self._root = root
        self.prefix = f"{part}/" if part else ""
        self.store = root.child(part)
        split = [split_part(name) for name in present]
        self.names = {name for of_part, name in split if of_part == part}
        self.sequence_ids: dict[int, SequenceIds] = {}
        self.leftovers: set[str] = set()
        self._add = add
        self._infos: dict[str, ObjectInfo] = {}
        self._named_by: dict[str, str] = {}
        self._rows: dict[int, RowChecks] = {}
        self._beside: dict[str, RowChecks] = {}
        self._clusters = ClusterFolders()
        self._summary: dict[str, Any] = {}

    def full(self, name: str) -> str:
        """Name relative to the run."""
        return f"{self.prefix}{name}"

    def read_markers(self) -> None:
        """All small objects; then what they name and is not there, and what nobody knows."""
        small = [n for n in sorted(self.names) if is_marker(n)]
        small.sort(key=lambda name: name != MARKER)  # additions count on from where it ends
        for name, data in self.store.read_many(small, missing_ok=True):
            self._read_marker(name, data)
        try:
            run_dir.require(self.store)
        except (DamagedObjectError, ValueError) as error:
            there = run_dir.NAME in self.names
            self._book(run_dir.NAME, "damaged" if there else "missing", str(error))
        found = leftovers(self.store, self.names)
        self.leftovers = {self.full(name) for name in found}
        for name in sorted(set(self._infos) - self.names):
            self._book(name, "missing", f"{self._named_by[name]} names it")
        for name in sorted(self.names - found):
            kind = kind_of(name)
            if kind == "unknown" or self._is_unnamed(kind, name):
                self._add(self.full(name), "unknown", "no object of this run: move it elsewhere, "
                          "or delete it")  # fmt: skip

    def large(self) -> list[str]:
        """Objects that `check` reads; what is left over may be anything."""
        judged = [n for n in self.names if self.full(n) not in self.leftovers]
        return sorted(n for n in judged if kind_of(n) in LARGE and not is_marker(n))

    def check(self, name: str) -> int:
        """Read a large object and check it; returns its size in bytes."""
        kind = kind_of(name)
        try:
            data = self.store.read(name)
            if name in self._infos:
                self._infos[name].verify(data, name)
            elif not named_by_content(name, data):
                raise ValueError("its bytes are not those of the checksum in its name")
            self._check_content(kind, name, data)
        except FileNotFoundError:
            if kind not in PASSING:
                self._book(name, "missing", "it was there when the run was listed")
            return 0
        except UNREADABLE as error:
            self._book(name, "damaged", str(error).split(";")[0])
            return 0
        return len(data)

    def finish(self, sequence_ids: Mapping[int, SequenceIds], probe_sha256: str | None) -> None:
        """What can be said only when all is read.

        Args:
            sequence_ids: by probe shard.
            probe_sha256: of the tokens that are there now; what was made from others is stale,
                not damaged.
        """
        if not self.prefix:
            wrong = wrong_sequence_ids([sequence_ids[shard] for shard in sorted(sequence_ids)])
            if wrong is not None:
                self._book(shard_name("probe", 0), "damaged", wrong)
        rows = [self._rows[shard] for shard in sorted(self._rows)]
        for shard, found in self._rows.items():
            if found.fingerprint != rows[0].fingerprint or found.components != rows[0].components:
                self._book(part_name(shard), "damaged",
                           "its fingerprint or components are not the others'")  # fmt: skip
        for name, found in self._beside.items():
            if found != self._rows.get(_number(name), found):
                self._book(name, "damaged", "it is of other rows than its part")
        whole = bool(rows) and len(rows) == len(sequence_ids)
        counted = sum(found.num_rows for found in rows)
        current = self._summary.get(TOKENS) == probe_sha256
        if whole and self._summary and current and self._summary["num_tokens"] != counted:
            self._book(SUMMARY_NAME, "damaged",
                       f"it is of {self._summary.get('num_tokens')} tokens, the product has "
                       f"{counted}")  # fmt: skip
        for name, wrong in self._clusters.wrong(rows, whole=whole, probe_sha256=probe_sha256):
            self._book(name, "damaged", wrong)

    def _read_marker(self, name: str, data: bytes) -> None:
        try:
            self._note(kind_of(name), name, unseal(data, name))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._book(name, "damaged", str(error).split(";")[0])

    def _note(self, kind: str, name: str, content: Mapping[str, Any]) -> None:
        """Keep what a marker says of other objects."""
        named: dict[str, Any] = {}
        if kind == "tokens":
            splits = content.get("splits", {"probe": content.get("probe", {})})
            first = 0 if "splits" in content else self._num_probe_shards()
            for split, known in splits.items():
                start = first if split == "probe" else 0
                for index, info in enumerate(known.get("shards", ())):
                    named[f"tokens/{split}-{start + index:05d}.parquet"] = info
        elif kind == "chains" and not name.endswith(".dropped.json"):
            _, group, chain = name.removesuffix(".json").split("/")
            for component, infos in blocks_of(content["blocks"]).items():
                for first, info in infos.items():
                    named[block_name(group, int(chain), component, first, info)] = asdict(info)
        elif kind == "moments" and "part" in content:
            named[part_name(_number(name))] = content["part"]
            if "halves" in content:
                named[halves_name(_number(name))] = content["halves"]
            if "deviations" in content:
                named[deviations_name(_number(name))] = content["deviations"]
        elif kind == "clusters":
            named = self._clusters.note(name, content)
        elif kind == "assigned":
            named = self._clusters.note_assigned(name, content)
        elif kind == "page":
            named[name.replace("page.json", "index.html")] = content["page"]
        elif kind == "maps":
            folder = name.rpartition("/")[0]
            named = {f"{folder}/{file}": info for file, info in content["objects"].items()}
        elif kind == "summary":
            self._summary = {key: content[key] for key in ("num_tokens", TOKENS)}
        for other, info in named.items():
            self._infos[other] = ObjectInfo(**info)
            self._named_by[other] = name

    def _num_probe_shards(self) -> int:
        return sum(1 for name in self._infos if name.startswith("tokens/probe-"))

    def _is_unnamed(self, kind: str, name: str) -> bool:
        """Whether a block's chain, the shard it is beside or the map is done without it."""
        if kind in ("halves", "deviations"):
            return part_name(_number(name)) in self._infos and name not in self._infos
        if kind == "map_files":
            return f"{name.partition('/')[0]}/map.json" in self.names and name not in self._infos
        if kind != "draws":
            return False
        chain = re.fullmatch(r"(chains/[^/]+/\d+)/[^/]+", name)
        assert chain is not None
        return f"{chain[1]}.json" in self.names and name not in self._infos

    def _check_content(self, kind: str, name: str, data: bytes) -> None:
        """Raise one of `UNREADABLE` if the content is wrong."""
        if kind == "tokens":
            shard = read_token_shard(data)
            if "/probe-" in name:
                self.sequence_ids[_number(name)] = shard.sequence_id_n
        elif kind in CHECKS:
            self._check_rows(kind, name, data)
        elif kind in ("features", "predictors", "lists"):
            parse_arrays(data)
        elif kind == "tiles":
            tiles.read_tile(self.store, _number(name), name.split("/")[-1].split(".")[0])
        elif kind == "clusters":
            self._clusters.read(name, data)
        elif kind == "assigned":
            self._clusters.read_assigned(name, data)

    def _check_rows(self, kind: str, name: str, data: bytes) -> None:
        number = _number(name)
        try:
            shard = read_token_shard(self._root.read(shard_name("probe", number)))
        except UNREADABLE:
            return  # of the sequences, not of the rows; said where they are checked
        found, wrong = CHECKS[kind](data, shard)
        if wrong is not None:
            raise ValueError(wrong)
        if found is not None and kind == "rows":
            self._rows[number] = found
        elif found is not None:
            self._beside[name] = found

    def _book(self, name: str, what: str, message: str) -> None:
        """A fault, with what to do."""
        text = message.removeprefix(f"{self.store.uri}/").removeprefix(f"{name} is damaged: ")
        advice = remedy(name, missing=what == "missing")
        self._add(self.full(name), what, f"{text}; {advice}")


def named_by_content(name: str, data: bytes) -> bool:
    """Whether the checksum that a name ends in, where it does, is that of the bytes."""
    found = re.search(r"-([0-9a-f]{16})\.safetensors$", name)
    return found is None or hashlib.sha256(data).hexdigest().startswith(found[1])


def _number(name: str) -> int:
    digits = re.findall(r"\d{5,}", name)
    return int(digits[0])
