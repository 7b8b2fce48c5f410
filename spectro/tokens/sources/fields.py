"""Nested fields by dotted names; a name that itself has dots comes first."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def split_field(field: str, names: Container[str]) -> tuple[str, str] | None:
    """The longest prefix of a dotted field that is a name, and the rest; None if there is none.

    A column called `a.b` comes before the field `b` of a record `a`.
    """
    parts = field.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in names:
            return name, ".".join(parts[length:])
    return None


def value_at(record: Any, field: str, where: str) -> Any:
    """The value of a record's field; None if it, or a record on its path, is null.

    Raises ValueError if the record lacks the field.
    """
    value, rest = record, field
    while rest:
        head = split_field(rest, value) if isinstance(value, dict) else None
        if head is None:
            found = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"{where}: expected the field {field!r}, found {found or 'no field'}")
        value, rest = value[head[0]], head[1]
        if value is None:
            return None
    return value
