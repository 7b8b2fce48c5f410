"""Settings of a configuration, read from its dataclasses: dotted names, types, defaults, docs."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from spectro.work.config import BY_FINGERPRINT

ALSO = ("hydra", "experiment")
"""First parts of settings that are Hydra's, or of files of settings."""
REQUIRED = "(required)"


class Leaf(Enum):
    """What kind of value a setting takes."""

    TEXT = "text"
    """Any text."""
    TEXT_OR_NONE = "text or none"
    """Any text, or null."""
    TEXTS = "list of text"
    """A list of text."""
    OTHER = "other"
    """A number, a list, a word of a few, a group of settings."""
    UNKNOWN = "unknown"
    """There is no such setting."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeclaredSetting:
    """One setting, as `--help` shows it."""

    key: str
    """Dotted name."""
    type: str
    """In words: `int`, `text`, `light|dark`, `list of text`, `float or null`."""
    default: str
    """As it would be typed; `(required)` if there is none."""
    doc: str
    """First sentence of the field's docstring."""


def settings_of(original: type, prefix: str = "") -> Iterator[DeclaredSetting]:
    """All settings of a dataclass, those of nested ones under dotted names.

    Of a choice of dataclasses (samplers) each member's, once per name.
    """
    hints, docs = get_type_hints(original), field_docs(original)
    for field in dataclasses.fields(original):
        key, annotation = f"{prefix}{field.name}", hints[field.name]
        members = [m for m in _members(annotation) if dataclasses.is_dataclass(m)]
        if not members:
            yield DeclaredSetting(
                key=key,
                type=_words(annotation) + (" or null" if field.metadata.get("nullable") else ""),
                default=_default(field),
                doc=docs.get(field.name, ""),
            )
        seen: set[str] = set()
        for member in members:
            for setting in settings_of(member, f"{key}."):
                if setting.key not in seen:
                    seen.add(setting.key)
                    yield setting


@cache
def field_docs(original: type) -> dict[str, str]:
    """First sentence of each field's docstring, inherited ones included."""
    found: dict[str, str] = {}
    for base in reversed(original.__mro__):
        module = sys.modules.get(base.__module__)
        if not dataclasses.is_dataclass(base) or module is None:
            continue
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ClassDef) and node.name == base.__name__:
                found |= _docs_in(node)
    return found


def _docs_in(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, doc in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(doc, ast.Expr)
            and isinstance(doc.value, ast.Constant)
        ):
            text = " ".join(str(doc.value.value).split())
            sentence = text.partition(". ")[0].rstrip(".")
            found[field.target.id] = re.sub(r"\bNone\b", "null", sentence)
    return found


def _members(annotation: Any) -> list[type]:
    """Types that an annotation allows, None left out."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for member in get_args(annotation) if member is not type(None)]
    return [annotation]


def _words(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        null = " or null" if type(None) in arguments else ""
        return " or ".join(map(_words, _members(annotation))) + null
    if origin in (list, tuple):
        return f"list of {_words(arguments[0])}"
    if origin in (dict, Mapping):
        return "{name: ...}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    return {str: "text", bool: "true|false"}.get(annotation, getattr(annotation, "__name__", "any"))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return shown(field.default_factory())
    return REQUIRED


def shown(value: Any) -> str:
    """A value as it would be typed."""
    if value is None or value == BY_FINGERPRINT:
        return "null"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(value)}}}"
    return str(value)


def leaf_of(original: type, key: str) -> Leaf:
    """What a setting of a configuration takes; a name below a dictionary may be any."""
    names = key.partition("@")[0].split(".")
    if names[0].partition("/")[0] in ALSO:
        return Leaf.OTHER
    found = list(_leaves(original, names, nullable=False))
    if not found:
        return Leaf.UNKNOWN
    texts = [leaf for leaf in found if leaf is not Leaf.OTHER]
    return texts[0] if texts else Leaf.OTHER


def within_free_names(original: type, key: str) -> tuple[str, list[str]] | None:
    """A setting that names entries of a dictionary of settings that begins empty, or is one.

    Returns the dictionary's key and the names below it: (`observables`, [`code`, `subset`]).
    """
    names, annotation = key.split("."), original
    for place, name in enumerate(names):
        if not dataclasses.is_dataclass(annotation) or name not in get_type_hints(annotation):
            return None
        (field,) = (f for f in dataclasses.fields(annotation) if f.name == name)
        annotation = get_type_hints(annotation)[name]
        if field.default_factory is dict and dataclasses.is_dataclass(get_args(annotation)[1]):
            return ".".join(names[: place + 1]), names[place + 1 :]
    return None


def near(original: type, key: str) -> str:
    """` (did you mean …?)`, or nothing."""
    known = [setting.key for setting in settings_of(original)]
    last = key.rpartition(".")[2]
    found = difflib.get_close_matches(key, known, n=1) or [
        name for name in known if name.rpartition(".")[2] == last
    ]
    return f" (did you mean {found[0]}?)" if found else ""


def _leaves(annotation: Any, names: list[str], *, nullable: bool) -> Iterator[Leaf]:
    """Kinds of the settings at a name; a choice of dataclasses may have several."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        is_none = type(None) in arguments
        for member in _members(annotation):
            yield from _leaves(member, names, nullable=nullable or is_none)
    elif not names:
        if annotation is str:
            yield Leaf.TEXT_OR_NONE if nullable else Leaf.TEXT
        else:
            is_list = origin in (list, tuple) and arguments[0] is str
            yield Leaf.TEXTS if is_list else Leaf.OTHER
    elif origin in (dict, Mapping):
        yield from _leaves(arguments[1], names[1:], nullable=False)
    elif dataclasses.is_dataclass(annotation):
        fields = {field.name: field for field in dataclasses.fields(annotation)}
        if names[0] in fields:
            hint = get_type_hints(annotation)[names[0]]
            can_be_null = bool(fields[names[0]].metadata.get("nullable"))
            yield from _leaves(hint, names[1:], nullable=can_be_null)
