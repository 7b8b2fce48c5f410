"""Components and groups: the named subsets of a GPT-NeoX model's weights (design §1, §5).

A component is one attention head (`l0h1`), one MLP (`l2mlp`), the embedding (`embed`), the
unembedding (`unembed`) or all weights (`full`). A group is the set of components that one
clean residual stream serves: a layer's heads and MLP (`l2`), or `embed`, `unembed`, `full`.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ComponentKind(StrEnum):
    """Kind of a component; the values are used in logs and files."""

    HEAD = "head"
    MLP = "mlp"
    EMBED = "embed"
    UNEMBED = "unembed"
    FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component of a model."""

    name: str
    """Canonical name: `l<layer>h<head>`, `l<layer>mlp`, `embed`, `unembed` or `full`."""
    kind: ComponentKind
    """Kind."""
    layer: int | None = None
    """Layer of a head or an MLP, else None."""
    head: int | None = None
    """Index of a head within its layer, else None."""

    @property
    def group(self) -> str:
        """Name of the group the component belongs to."""
        return self.name if self.layer is None else f"l{self.layer}"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Components that share one clean residual stream; the unit of sampling and scoring."""

    name: str
    """`l<layer>`, `embed`, `unembed` or `full`."""
    components: tuple[Component, ...]
    """In canonical order: heads by index, then the MLP."""


FULL = Component(name="full", kind=ComponentKind.FULL)
FULL_GROUP = Group(name="full", components=(FULL,))


def all_components(num_layers: int, num_heads: int) -> tuple[Component, ...]:
    """Every restricted component in canonical order: embed, then by layer, then unembed.

    The unrestricted `full` is not one of them: it is the reference of the two-chain estimator,
    not a column of χ.
    """
    layers: list[Component] = []
    for layer in range(num_layers):
        layers += [_head(layer, head) for head in range(num_heads)]
        layers.append(Component(name=f"l{layer}mlp", kind=ComponentKind.MLP, layer=layer))
    embed = Component(name="embed", kind=ComponentKind.EMBED)
    unembed = Component(name="unembed", kind=ComponentKind.UNEMBED)
    return (embed, *layers, unembed)


def spelt(pattern: str) -> str:
    """A name or pattern as it is compared: in small letters, without spaces."""
    return re.sub(r"\s+", "", pattern.lower())


def select_components(
    patterns: Sequence[str], num_layers: int, num_heads: int
) -> tuple[Component, ...]:
    """Components whose name matches any of the patterns, in the patterns' order.

    Patterns are names or shell globs, case-insensitive: `l0h1`, `l*mlp`, `*`. What one pattern
    selects is in canonical order; a component that several select has its place from the first.
    Raises ValueError if a pattern selects nothing, is given twice, or asks for `full` (see
    `all_components`).
    """
    if isinstance(patterns, str):
        raise ValueError(f"components must be a list of names, found the text {patterns!r}")
    if twice := [name for name, n in Counter(map(spelt, patterns)).items() if n > 1]:
        raise ValueError(f"component {twice[0]!r} is given twice: a component is one column of χ")
    known = all_components(num_layers, num_heads)
    chosen: dict[str, Component] = {}
    for pattern in patterns:
        wanted = spelt(pattern)
        if wanted == FULL.name:
            raise ValueError(
                "component 'full' cannot be a column of χ: it is the reference that the "
                "two-chain estimator samples by itself; leave it out"
            )
        selected = {c.name: c for c in known if fnmatch.fnmatchcase(c.name, wanted)}
        if not selected:
            raise ValueError(
                f"component {pattern!r} selects nothing: this model has l0h0 … "
                f"l{num_layers - 1}h{num_heads - 1}, l0mlp … l{num_layers - 1}mlp, embed, unembed"
            )
        chosen |= selected  # a name that is there keeps its place
    if not chosen:
        raise ValueError("no components asked for: give at least one name or pattern, such as '*'")
    return tuple(chosen.values())


def group_components(
    components: Sequence[Component], *, with_full: bool = False
) -> tuple[Group, ...]:
    """Gather components into groups, `full` last if wanted; all in canonical order.

    The order of the columns is another matter: what is computed, to the last bit, does not depend
    on the order that was asked for.
    """
    members: dict[str, list[Component]] = {}
    for component in sorted(components, key=_canonical_place):
        members.setdefault(component.group, []).append(component)
    groups = [Group(name=name, components=tuple(found)) for name, found in members.items()]
    return (*groups, *((FULL_GROUP,) if with_full else ()))


def _canonical_place(component: Component) -> tuple[float, float]:
    """Layer and place in it, as `all_components` and then `full` have them."""
    if component.layer is None:
        first = component.kind is ComponentKind.EMBED
        return (-1.0 if first else math.inf, float(component.kind is ComponentKind.FULL))
    return (component.layer, math.inf if component.head is None else component.head)


def _head(layer: int, head: int) -> Component:
    return Component(name=f"l{layer}h{head}", kind=ComponentKind.HEAD, layer=layer, head=head)
