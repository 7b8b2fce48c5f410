"""Components that share weights, as those of different granularities do (`l0attn`, `l0h0`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from spectro.models.architecture import BlockTable, Index, ParameterSlice
from spectro.models.components import Component
from spectro.models.size import ModelSize

MOST_NAMED = 3
"""Pairs that a sentence names; the rest are counted."""


def overlap_warnings(
    chosen: Sequence[Component], size: ModelSize, blocks: Callable[[Component], BlockTable]
) -> list[str]:
    """One sentence if some of the chosen components share weights; nothing otherwise.

    Args:
        chosen: columns of χ.
        size: the model's; its standard components share none.
        blocks: of a component, by the model's engine; not called for standard ones alone.
    """
    if set(chosen) <= set(size.components):
        return []
    pairs = list(overlaps({own.name: blocks(own) for own in chosen}))
    if not pairs:
        return []
    named = ", ".join(f"{first} and {second}" for first, second in pairs[:MOST_NAMED])
    rest = f" and {len(pairs) - MOST_NAMED} more pairs" if len(pairs) > MOST_NAMED else ""
    return [
        f"components overlap: {named}{rest} share weights; each is displaced alone, so that their "
        "columns are correct, but they are not separate shares of the model"
    ]


def overlaps(tables: Mapping[str, BlockTable]) -> Iterator[tuple[str, str]]:
    """Pairs of components that have a number in common, in the order of `tables`."""
    owners: dict[str, set[str]] = {}
    for name, table in tables.items():
        for part in table.values():
            owners.setdefault(part.parameter, set()).add(name)
    place = {name: number for number, name in enumerate(tables)}
    pairs = {
        pair
        for names in owners.values()
        for pair in combinations(sorted(names, key=place.__getitem__), 2)
    }
    for first, second in sorted(pairs, key=lambda pair: (place[pair[0]], place[pair[1]])):
        if any(_meet(a, b) for a in tables[first].values() for b in tables[second].values()):
            yield first, second


def _meet(a: ParameterSlice, b: ParameterSlice) -> bool:
    return a.parameter == b.parameter and _ranges_meet(a.index, b.index)


def _ranges_meet(a: Index, b: Index) -> bool:
    """Whether ranges of the same parameter have a number in common, dimension by dimension."""
    return all(
        (one.start or 0) < (float("inf") if other.stop is None else other.stop)
        and (other.start or 0) < (float("inf") if one.stop is None else one.stop)
        for one, other in zip(a, b, strict=False)
    )
