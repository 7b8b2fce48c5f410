"""Verification of one part of a run: the run itself, its control, another nβ.

What is asked of each kind of object is declared by its stage (`work/stage.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

from spectro.formats import run_dir
from spectro.formats.run_parts import split_part
from spectro.formats.tokens import MARKER
from spectro.storage.checksummed_json import unseal
from spectro.storage.store import DamagedObjectError, ObjectInfo, Store
from spectro.work.registry import StageRegistry
from spectro.work.stage import UNKNOWN_KIND, ObjectKind, PartContents, resolve
from spectro.work.verification import UNREADABLE

Add = Callable[[str, str, str], None]


class PartVerifier:
    """Reads the objects of one part and records what is wrong.

    Args:
        root: of the run.
        part: name of the part.
        present: objects of the run, with their sizes.
        stages: that the run may have.
        add: called with the name of an object, the sort of fault and a message.
    """

    def __init__(
        self,
        root: Store,
        part: str,
        present: Mapping[str, int],
        *,
        stages: StageRegistry,
        add: Add,
    ) -> None:
        self._prefix = f"{part}/" if part else ""
        split = [split_part(name) for name in present]
        names = {name for of_part, name in split if of_part == part}
        self.contents = PartContents(root=root, store=root.child(part), names=names)
        self.leftovers: set[str] = set()
        self._stages, self._add = stages, add
        self._kinds: dict[str, ObjectKind] = {}
        self._damaged_markers: set[str] = set()

    def full(self, name: str) -> str:
        """Name relative to the run."""
        return f"{self._prefix}{name}"

    def kind_of(self, name: str) -> ObjectKind:
        """Kind of an object of the part."""
        if name not in self._kinds:
            self._kinds[name] = self._stages.kind_of(name)
        return self._kinds[name]

    def read_markers(self) -> None:
        """All small objects; then what they name and is not there, and what nothing declares."""
        contents = self.contents
        small = [name for name in sorted(contents.names) if self._stages.is_marker(name)]
        small.sort(key=lambda name: name != MARKER)  # additions count on from where it ends
        for name, data in contents.store.read_many(small, missing_ok=True):
            self._read_marker(name, data)
        try:
            run_dir.require(contents.store)
        except (DamagedObjectError, ValueError) as error:
            there = run_dir.NAME in contents.names
            self._record(run_dir.NAME, "damaged" if there else "missing", str(error))
        found = self._stages.leftovers(contents.store, contents.names)
        self.leftovers = {self.full(name) for name in found}
        for name in sorted(set(contents.expected) - contents.names):
            self._record(name, "missing", f"{contents.named_by[name]} names it")
        for name in sorted(contents.names - found):
            if self.kind_of(name) is UNKNOWN_KIND or self._is_unnamed(name):
                advice = "no object of this run: move it elsewhere, or delete it"
                self._add(self.full(name), "unknown", advice)

    def large(self) -> list[str]:
        """Objects that `check` reads; what is left over may be anything."""
        judged = [name for name in self.contents.names if self.full(name) not in self.leftovers]
        return sorted(
            n for n in judged if self.kind_of(n).is_read and not self._stages.is_marker(n)
        )

    def check(self, name: str) -> int:
        """Read a large object and check it; returns its size in bytes."""
        kind, contents = self.kind_of(name), self.contents
        try:
            data = contents.store.read(name)
            if name in contents.expected:
                contents.expected[name].verify(data, name)
            elif not named_by_content(name, data):
                raise ValueError("its bytes are not those of the checksum in its name")
            if kind.check is not None:
                finding = resolve(kind.check)(contents, name, data)
                if finding is not None:
                    contents.of_kind(kind.name)[name] = finding
        except FileNotFoundError:
            if not kind.may_vanish:
                self._record(name, "missing", "it was there when the run was listed")
            return 0
        except UNREADABLE as error:
            self._record(name, "damaged", str(error).split(";")[0])
            return 0
        return len(data)

    def compare(self, run: PartContents, probe_sha256: str | None) -> None:
        """What can be said only when all is read.

        Args:
            run: contents of the run itself.
            probe_sha256: of the tokens that are there now.
        """
        self.contents.run_findings, self.contents.probe_sha256 = run.findings, probe_sha256
        for kind in self._stages.kinds:
            if kind.compare is not None:
                for name, wrong in resolve(kind.compare)(self.contents):
                    self._record(name, "damaged", wrong)

    def _read_marker(self, name: str, data: bytes) -> None:
        kind, contents = self.kind_of(name), self.contents
        try:
            content = unseal(data, name)
            named = resolve(kind.read_marker)(contents, name, content) if kind.read_marker else {}
            for other, info in named.items():
                contents.expected[other] = ObjectInfo(**info)
                contents.named_by[other] = name
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._damaged_markers.add(name)
            self._record(name, "damaged", str(error).split(";")[0])

    def _is_unnamed(self, name: str) -> bool:
        """Whether the marker that must name an object is there and does not."""
        marker = self.kind_of(name).marker_of(name)
        is_read = marker in self.contents.names and marker not in self._damaged_markers
        return is_read and name not in self.contents.expected

    def _record(self, name: str, what: str, message: str) -> None:
        """A fault, with what to do."""
        uri = self.contents.store.uri
        text = message.removeprefix(f"{uri}/").removeprefix(f"{name} is damaged: ")
        advice = self.kind_of(name).advice(name, missing=what == "missing")
        self._add(self.full(name), what, f"{text}; {advice}")


def named_by_content(name: str, data: bytes) -> bool:
    """Whether the checksum that a name ends in, where it does, is that of the bytes."""
    found = re.search(r"-([0-9a-f]{16})\.safetensors$", name)
    return found is None or hashlib.sha256(data).hexdigest().startswith(found[1])
