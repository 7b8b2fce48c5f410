"""Layout of components by layer, whatever they are; embed first, final norm and unembed last.

A name `l<layer><rest>` belongs to its layer; within one come heads by number, each before its
parts, then shared keys and values, the attention, the MLP and its parts, norms, the layer, and what
users define. As in the page's profiles (`common/profile.js`). Shapes: H components, L rows of the
grid, W columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_IN_LAYER = re.compile(r"l(\d+)(\D.*)")
_NUMBERED = re.compile(r"(h|kv)(\d+)(?:\.([qkvo]))?")
_AFTER_HEADS = (
    "attn", "mlp", "mlp.gate", "mlp.up", "mlp.down", "norm1", "norm2", "q_norm", "k_norm", "layer",
)  # fmt: skip
_PARTS = ("q", "k", "v", "o")
Rank = tuple[int, int, int, str]
"""Order within a layer: of the kind, of the head, of its part, of the name."""


@dataclass(frozen=True, kw_only=True)
class LayerBlock:
    """A layer's components, or one component outside all layers."""

    name: str
    """`L3`, or the component's name."""
    columns: tuple[int, ...]
    """Indices of its components, in their order."""


def place(component: str) -> tuple[str, str]:
    """Block of a component, and its name within it; empty outside all layers."""
    found = _IN_LAYER.fullmatch(component)
    return (f"L{int(found[1])}", found[2]) if found else (component, "")


def head_of(component: str) -> int | None:
    """Number of the attention head that a component is, or is part of."""
    found = _NUMBERED.fullmatch(place(component)[1])
    return int(found[2]) if found and found[1] == "h" else None


def is_mlp(component: str) -> bool:
    """Whether it is a layer's MLP, or part of it."""
    return place(component)[1].partition(".")[0] == "mlp"


def blocks(components: Sequence[str]) -> list[LayerBlock]:
    """Every component once: `embed`, the layers, `final_norm`, `unembed`, others by name."""
    members: dict[str, list[tuple[Rank, int]]] = {}
    for column, component in enumerate(components):
        name, inside = place(component)
        members.setdefault(name, []).append((_rank(inside), column))
    return [
        LayerBlock(name=name, columns=tuple(column for _, column in sorted(members[name])))
        for name in sorted(members, key=_order)
    ]


def in_order(components: Sequence[str]) -> list[int]:
    """Indices of all components, block by block."""
    return [column for block in blocks(components) for column in block.columns]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Position of each component in a table of layers × names within a layer."""

    rows: tuple[str, ...]
    """Names of the blocks."""
    columns: tuple[str, ...]
    """`0`, `1`, … for heads, then names within a layer; outside layers the first column is used."""
    row_H: NDArray[np.int64]
    """Row of each component."""
    column_H: NDArray[np.int64]
    """Column of each component."""

    def table(self, values_H: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values as a table [L, W]; NaN without a component."""
        cells = np.full((len(self.rows), max(1, len(self.columns))), np.nan)
        cells[self.row_H, self.column_H] = values_H
        return cells


def grid(components: Sequence[str]) -> Grid:
    """Grid with a column for every name within a layer; heads have all numbers up to the last."""
    found = blocks(components)
    inside = {name for component in components if (name := place(component)[1])}
    heads = [number for c in components if (number := head_of(c)) is not None]
    inside |= {f"h{number}" for number in range(max(heads, default=-1) + 1)}
    names = sorted(inside, key=_rank)
    column_of = {name: number for number, name in enumerate(names)} | {"": 0}
    row = np.zeros(len(components), np.int64)
    for index, block in enumerate(found):
        row[list(block.columns)] = index
    column = np.array([column_of[place(name)[1]] for name in components], np.int64)
    return Grid(
        rows=tuple(block.name for block in found),
        columns=tuple(re.sub(r"^h(?=\d)", "", name) for name in names),
        row_H=row,
        column_H=column,
    )


def _rank(inside: str) -> Rank:
    if found := _NUMBERED.fullmatch(inside):
        kind, number, part = found.groups()
        return (0 if kind == "h" else 1, int(number), _PARTS.index(part) + 1 if part else 0, "")
    if inside in _AFTER_HEADS:
        return (2, _AFTER_HEADS.index(inside), 0, "")
    return (3, 0, 0, inside)


def _order(name: str) -> tuple[float, str]:
    if name == "embed":
        return -1.0, name
    layer = re.fullmatch(r"L(\d+)", name)
    last = {"final_norm": 1e6, "unembed": 2e6}.get(name, 3e6)
    return (float(layer[1]) if layer else last), name
