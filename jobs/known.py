"""The settings that a job has, by their dotted names, read from its dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

ALSO = ("hydra", "experiment")
"""First parts of settings that are Hydra's, or of files of settings."""


class Leaf(Enum):
    """What kind of value a setting takes."""

    TEXT = "text"
    """Any text."""
    TEXT_OR_NONE = "text or none"
    """Any text, or null."""
    OTHER = "other"
    """A number, a list, a word of a few, a group of settings."""
    UNKNOWN = "unknown"
    """There is no such setting."""


def leaf_of(original: type, key: str) -> Leaf:
    """What a setting of a configuration takes; a name below a dictionary may be any."""
    names = key.partition("@")[0].split(".")
    if names[0].partition("/")[0] in ALSO:
        return Leaf.OTHER
    found = list(_annotations(original, names, nullable=False))
    if not found:
        return Leaf.UNKNOWN
    texts = [leaf for leaf in found if leaf is not Leaf.OTHER]
    return texts[0] if texts else Leaf.OTHER


def near(original: type, key: str) -> str:
    """` (did you mean …?)`, or nothing."""
    known = list(_names(original, ""))
    last = key.rpartition(".")[2]
    found = difflib.get_close_matches(key, known, n=1) or [
        name for name in known if name.rpartition(".")[2] == last
    ]
    return f" (did you mean {found[0]}?)" if found else ""


def _annotations(annotation: Any, names: list[str], *, nullable: bool) -> Iterator[Leaf]:
    """Kinds of the settings at a name; a choice of dataclasses may have several."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        is_none = type(None) in arguments
        for member in arguments:
            if member is not type(None):
                yield from _annotations(member, names, nullable=nullable or is_none)
    elif not names:
        is_text = annotation is str
        yield (Leaf.TEXT_OR_NONE if nullable else Leaf.TEXT) if is_text else Leaf.OTHER
    elif origin in (dict, Mapping):
        yield from _annotations(arguments[1], names[1:], nullable=False)
    elif dataclasses.is_dataclass(annotation):
        fields = {field.name: field for field in dataclasses.fields(annotation)}
        if names[0] in fields:
            hint = get_type_hints(annotation)[names[0]]
            can_be_null = bool(fields[names[0]].metadata.get("nullable"))
            yield from _annotations(hint, names[1:], nullable=can_be_null)


def _names(annotation: Any, name: str) -> Iterator[str]:
    """Dotted names of all settings, without those below dictionaries."""
    for member in get_args(annotation) if get_origin(annotation) is not None else (annotation,):
        if dataclasses.is_dataclass(member) and isinstance(member, type):
            hints = get_type_hints(member)
            for field in dataclasses.fields(member):
                yield from _names(hints[field.name], f"{name}.{field.name}".lstrip("."))
        elif name:
            yield name
            return
