"""Layout of components by layer: heads by number, shared keys and values, then the MLP; embed
first, unembed last.

As in the page's profiles (`common/profile.js`). Shapes: H components, L rows of the grid, W
columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_IN_LAYER = re.compile(r"l(\d+)(?:h(\d+)|kv(\d+)|(mlp))")
AFTER_HEADS = 10_000
"""Rank of the first shared keys and values in a layer: after every head."""


@dataclass(frozen=True, kw_only=True)
class LayerBlock:
    """A layer's components, or one component outside all layers."""

    name: str
    """`L3`, `embed`, `unembed`, or the component's name."""
    columns: tuple[int, ...]
    """Indices of its components: heads by number, shared keys and values, then the MLP."""


def place(component: str) -> tuple[str, float]:
    """Block of a component, and its rank within it."""
    found = _IN_LAYER.fullmatch(component)
    if found is None:
        return component, 0.0
    if found[4]:
        return f"L{int(found[1])}", float("inf")
    rank = float(found[2]) if found[2] else AFTER_HEADS + float(found[3])
    return f"L{int(found[1])}", rank


def is_mlp(component: str) -> bool:
    """Whether it is a layer's MLP."""
    return place(component)[1] == float("inf")


def blocks(components: Sequence[str]) -> list[LayerBlock]:
    """Every component once: `embed`, the layers, then `unembed` and others by name."""
    members: dict[str, list[tuple[float, int]]] = {}
    for column, component in enumerate(components):
        name, rank = place(component)
        members.setdefault(name, []).append((rank, column))
    return [
        LayerBlock(name=name, columns=tuple(column for _, column in sorted(members[name])))
        for name in sorted(members, key=_order)
    ]


def in_order(components: Sequence[str]) -> list[int]:
    """Indices of all components, block by block."""
    return [column for block in blocks(components) for column in block.columns]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Position of each component in a table of layers × heads."""

    rows: tuple[str, ...]
    """Names of the blocks."""
    columns: tuple[str, ...]
    """`0`, `1`, …, `kv0`, …, `mlp`; blocks of one component use the first column."""
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
    """Grid with heads in the column of their number and MLPs after the last head."""
    found = blocks(components)
    heads = {place(name)[1] for name in components if _IN_LAYER.fullmatch(name)}
    shared = sorted(rank for rank in heads if AFTER_HEADS <= rank < float("inf"))
    num_heads = int(max((rank for rank in heads if rank < AFTER_HEADS), default=-1)) + 1
    num_shared = int(shared[-1]) - AFTER_HEADS + 1 if shared else 0
    last = num_heads + num_shared
    has_mlp = any(is_mlp(name) for name in components)
    row, column = np.zeros(len(components), np.int64), np.zeros(len(components), np.int64)
    for index, block in enumerate(found):
        for member in block.columns:
            rank = place(components[member])[1]
            if rank >= AFTER_HEADS:
                rank = min(float(last), num_heads + rank - AFTER_HEADS)
            row[member], column[member] = index, int(rank)
    names = [str(number) for number in range(num_heads)]
    names += [f"kv{number}" for number in range(num_shared)] + (["mlp"] if has_mlp else [])
    return Grid(
        rows=tuple(block.name for block in found), columns=tuple(names), row_H=row, column_H=column
    )


def _order(name: str) -> tuple[float, str]:
    if name == "embed":
        return -1.0, name
    layer = re.fullmatch(r"L(\d+)", name)
    return (float(layer[1]) if layer else float("inf")), name
