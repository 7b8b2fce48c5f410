"""Typed OmegaConf schemas, derived from the frozen dataclasses of the stages (ADR 001).

OmegaConf refuses to merge into frozen dataclasses. So each
stage's dataclass gets a mutable *twin* with the same fields, made here and nowhere written down:
`twin` makes it, `build` turns a composed node back into the frozen original, running every
`__post_init__`. A field whose type is a union of dataclasses is a *choice*: its members carry a
`kind`, the member's name in snake case, and are chosen by config group.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import ConfigError, omegaconf_line

T = TypeVar("T")
KIND = "kind"
"""Name of the field by which the members of a choice are told apart."""
LIST_REST = "rest"
"""Metadata of a number that may be given as a list: the field that takes all but its first."""


def kind_name(member: type) -> str:
    """`Psgld` → `psgld`, `TwoWords` → `two_words`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", member.__name__).lower()


def choices(annotation: Any) -> dict[str, type]:
    """Members of a choice by kind; empty if the annotation is not a union of dataclasses."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return {}
    members = [m for m in get_args(annotation) if m is not type(None)]
    if len(members) < 2 or not all(dataclasses.is_dataclass(m) for m in members):
        return {}
    return {kind_name(m): m for m in members}


def twin(original: type, kind: str | None = None) -> type:
    """Mutable dataclass with the fields of a frozen one; required fields become `???`."""
    return _twin(original, kind)


@cache  # OmegaConf compares types by identity
def _twin(original: type, kind: str | None) -> type:
    hints = get_type_hints(original)
    fields: list[Any] = [] if kind is None else [(KIND, str, dataclasses.field(default=kind))]
    for field in dataclasses.fields(original):
        annotation = hints[field.name]
        mutable = Any if LIST_REST in field.metadata else _mutable(annotation)
        if field.metadata.get("nullable"):  # null is what the field's default stands for
            mutable = Union[mutable, None]  # noqa: UP007
        fields.append((field.name, mutable, _default(field, annotation)))
    return dataclasses.make_dataclass(original.__name__, fields, kw_only=True)


def build(original: type[T], node: Any) -> T:
    """The frozen original of a composed node.

    Raises ValueError, in one line, for a value that is missing or impossible.
    """
    result = _build(original, node, where="")
    assert isinstance(result, original)
    return result


def validated(original: type[T], raw: Any) -> T:
    """The frozen configuration of a composed one, or of plain values.

    Raises ConfigError, in one line.
    """
    try:
        typed = OmegaConf.merge(OmegaConf.structured(twin(original)), raw)
        OmegaConf.resolve(typed)
        return build(original, typed)
    except OmegaConfBaseException as error:
        raise ConfigError(omegaconf_line(error)) from error


def as_yaml(original: type, raw: Any) -> str:
    """The configuration as YAML, before it is built."""
    return OmegaConf.to_yaml(OmegaConf.merge(OmegaConf.structured(twin(original)), raw))


def _mutable(annotation: Any) -> Any:
    """A field type that OmegaConf can merge into."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if choices(annotation):
        return Any
    if origin in (Union, types.UnionType):
        return Union[tuple(_mutable(a) for a in arguments)]  # noqa: UP007
    if origin in (dict, Mapping):
        return types.GenericAlias(dict, (arguments[0], _mutable(arguments[1])))
    if origin in (list, tuple):
        return types.GenericAlias(list, (_mutable(arguments[0]),))
    if isinstance(annotation, type):
        if dataclasses.is_dataclass(annotation):
            return twin(annotation)
        if issubclass(annotation, Enum):
            return str
    return annotation


def _default(field: dataclasses.Field[Any], annotation: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        value = field.default
        return dataclasses.field(default_factory=lambda: _thawed(value, annotation))
    if get_origin(annotation) in (dict, Mapping):
        # A file's dictionary must replace the default, and OmegaConf would merge the two.
        return dataclasses.field(default=MISSING)
    if field.default_factory is not dataclasses.MISSING:
        factory = field.default_factory
        return dataclasses.field(default_factory=lambda: _thawed(factory(), annotation))
    return dataclasses.field(default=MISSING)


def _thawed(value: Any, annotation: Any) -> Any:
    """A frozen default as OmegaConf takes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = kind_name(type(value)) if choices(annotation) else None
        hints = get_type_hints(type(value))
        names = [f.name for f in dataclasses.fields(value)]
        return twin(type(value), kind)(
            **{name: _thawed(getattr(value, name), hints[name]) for name in names}
        )
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _thawed(item, None) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_thawed(item, None) for item in value]
    return value


def _build(annotation: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if members := choices(annotation):
        return _build_choice(members, value, where)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        rest = [a for a in arguments if a is not type(None)]
        return _build(rest[0], value, where) if len(rest) == 1 else value
    if origin in (dict, Mapping):
        return {k: _build(arguments[1], value[k], f"{where}.{k}") for k in value}
    if origin in (list, tuple):
        built = [_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(built) if origin is tuple else built
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _build_dataclass(annotation, value, where)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        try:
            return annotation(str(value))
        except ValueError:
            known = ", ".join(str(member.value) for member in annotation)
            raise ValueError(f"{where} must be one of {known}; found {value!r}") from None
    return value


def _build_dataclass(original: type, node: Any, where: str) -> Any:
    if not isinstance(node, DictConfig):
        raise ValueError(f"{where} must have the fields of {original.__name__}; found {node!r}")
    hints, arguments = get_type_hints(original), {}
    for field in dataclasses.fields(original):
        place = f"{where}.{field.name}".lstrip(".")
        if OmegaConf.is_missing(node, field.name):
            if field.default_factory is not dataclasses.MISSING:
                continue
            raise ValueError(f"{place} has no value and no default: give one, as in {place}=...")
        if field.metadata.get("nullable") and node[field.name] is None:
            continue
        value = node[field.name]
        if LIST_REST in field.metadata:
            first, *rest = _numbers(value, place)
            arguments[field.name] = first
            node = OmegaConf.merge(node, {field.metadata[LIST_REST]: rest}) if rest else node
            continue
        arguments[field.name] = _build(hints[field.name], value, place)
    try:
        return original(**arguments)
    except ValueError as error:
        if f"{where.split('.')[0]}." in str(error):
            raise
        raise ValueError(f"{where}: {error}".lstrip(": ")) from error


def _numbers(value: Any, place: str) -> list[float]:
    """A number, or a list of some."""
    found = list(value) if isinstance(value, ListConfig) else [value]
    try:
        numbers = [float(each) for each in found if not isinstance(each, bool)]
    except (TypeError, ValueError):
        numbers = []
    if not found or len(numbers) < len(found):
        raise ValueError(f"{place} must be a number or a list of numbers, found {value!r}")
    return numbers


def _build_choice(members: dict[str, type], node: Any, where: str) -> Any:
    if not isinstance(node, DictConfig) or node.get(KIND) not in members:
        found = node.get(KIND) if isinstance(node, DictConfig) else node
        raise ValueError(f"{where} must be one of {', '.join(members)}; found {found!r}")
    member = members[node[KIND]]
    # A node from a file (run.yaml) has no schema yet; one from a config group keeps its own.
    typed = OmegaConf.merge(OmegaConf.structured(twin(member, node[KIND])), node)
    return _build_dataclass(member, typed, where)
