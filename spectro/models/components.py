"""Components and groups: the named subsets of a model's weights (design §1, §5).

The standard components divide a model's matrices: attention heads (`l0h1`), keys and values that
several heads share (`l0kv0`), MLPs (`l2mlp`), the embedding (`embed`) and the unembedding
(`unembed`). Smaller and larger ones (`l0h1.q`, `l2attn`, `l2layer`, `full`) are listed in
granularities.py, and a user may define others by names of parameters. A group is the set of
components that one clean residual stream serves: a layer's (`l2`), or a component that belongs to
no layer. A model whose embedding is tied to its unembedding has one component of both, `embed`.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum


class ComponentKind(StrEnum):
    """Kind of a component; the values are used in logs and files."""

    HEAD = "head"
    KV = "kv"
    MLP = "mlp"
    HEAD_PART = "head_part"
    KV_PART = "kv_part"
    MLP_PART = "mlp_part"
    ATTENTION = "attention"
    NORM = "norm"
    LAYER = "layer"
    EMBED = "embed"
    UNEMBED = "unembed"
    FULL = "full"
    DEFINED = "defined"


_IN_LAYER = {
    ComponentKind.HEAD: "h{head}",
    ComponentKind.KV: "kv{head}",
    ComponentKind.MLP: "mlp",
    ComponentKind.HEAD_PART: "h{head}.{part}",
    ComponentKind.KV_PART: "kv{head}.{part}",
    ComponentKind.MLP_PART: "mlp.{part}",
    ComponentKind.ATTENTION: "attn",
    ComponentKind.NORM: "{part}",
    ComponentKind.LAYER: "layer",
}
"""Kind → name after `l<layer>`; in canonical order."""
PARTS = ("q", "k", "v", "o", "gate", "up", "down", "norm1", "norm2", "q_norm", "k_norm")
"""Parts of heads and MLPs, and norms of a layer, in canonical order."""


@dataclass(frozen=True, kw_only=True)
class ParameterPattern:
    """Part of the parameters whose names match."""

    parameters: str
    """Regular expression for whole names, as in `model\\.layers\\.0\\..*norm\\.weight`."""
    ranges: str = ""
    """Ranges of the first dimensions, as in `0:64` or `:, 0:64`; empty: all of it."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.parameters)
        except re.error as error:
            raise ValueError(f"{self.parameters!r} is no regular expression: {error}") from error
        for text in filter(None, self.ranges.split(",")):
            if not re.fullmatch(r"\s*\d*\s*:\s*\d*\s*", text):
                raise ValueError(
                    f"ranges of {self.parameters!r}: expected start:stop by dimension, separated "
                    f"by commas, found {text.strip()!r}"
                )

    def matches(self, name: str) -> bool:
        """Whether it selects a parameter of this name."""
        return re.fullmatch(self.parameters, name) is not None

    @property
    def index(self) -> tuple[slice, ...]:
        """The ranges."""
        texts = [text.split(":") for text in self.ranges.split(",") if text.strip()]
        return tuple(slice(*(int(n) if n.strip() else None for n in pair)) for pair in texts)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component of a model."""

    name: str
    """Canonical name (`_IN_LAYER`, `embed`, `unembed`, `final_norm`, `full`), or its user's."""
    kind: ComponentKind
    """Kind."""
    layer: int | None = None
    """Layer, where it is within one, else None."""
    head: int | None = None
    """Index of a head, or of shared keys and values, within its layer, else None."""
    part: str = ""
    """Which part of a head, of shared keys and values or of an MLP, or which norm (`PARTS`)."""
    definition: tuple[ParameterPattern, ...] = ()
    """Parameters of a component that its user has defined."""

    @property
    def group(self) -> str:
        """Name of the group the component belongs to."""
        return self.name if self.layer is None else f"l{self.layer}"

    @property
    def shape_kind(self) -> tuple[ComponentKind, str]:
        """Kind and part: components that agree in them have weights of the same shapes."""
        return self.kind, self.part

    @property
    def shape_key(self) -> str:
        """`shape_kind` as one string."""
        return "/".join(self.shape_kind)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Components that share one clean residual stream; the unit of sampling and scoring."""

    name: str
    """`l<layer>`, or the name of its only component."""
    components: tuple[Component, ...]
    """In canonical order: heads by index, then the MLP, then others by kind."""


FULL = Component(name="full", kind=ComponentKind.FULL)
FULL_GROUP = Group(name="full", components=(FULL,))


def all_components(
    num_layers: int,
    num_heads: int,
    *,
    num_shared_kv: int = 0,
    has_mlp: bool = True,
    is_tied: bool = False,
) -> tuple[Component, ...]:
    """The standard components in canonical order: embed, then by layer, then unembed.

    Args:
        num_layers: L.
        num_heads: query heads of a layer.
        num_shared_kv: sets of keys and values of a layer, where several heads share each; 0: every
            head has its own, which belong to it.
        has_mlp: whether layers have an MLP.
        is_tied: whether the unembedding is the embedding, one component, `embed`.
    """
    layers: list[Component] = []
    for layer in range(num_layers):
        layers += [in_layer(ComponentKind.HEAD, layer, head) for head in range(num_heads)]
        layers += [in_layer(ComponentKind.KV, layer, kv) for kv in range(num_shared_kv)]
        layers += [in_layer(ComponentKind.MLP, layer)] if has_mlp else []
    embed = Component(name="embed", kind=ComponentKind.EMBED)
    unembed = Component(name="unembed", kind=ComponentKind.UNEMBED)
    return (embed, *layers, *(() if is_tied else (unembed,)))


def spelt(pattern: str) -> str:
    """A name or pattern as it is compared: in small letters, without spaces."""
    return re.sub(r"\s+", "", pattern.lower())


def select_components(
    patterns: Sequence[str],
    known: Sequence[Component],
    others: Sequence[Sequence[Component]] = (),
) -> tuple[Component, ...]:
    """Components whose name matches any of the patterns, in the patterns' order.

    Patterns are names or shell globs, case-insensitive: `l0h1`, `l*mlp`, `*`. A pattern selects
    from the first granularity in which it matches: `*` all standard components, `l*attn` all
    attention blocks, `*.q` the query maps of all heads. What one pattern selects is in canonical
    order; a component that several select has its place from the first. `name=parameters` and
    `name=parameters@ranges` define a component (see `defined_component`).

    Args:
        patterns: names, globs, definitions.
        known: the model's standard components (`ModelSize.components`).
        others: its other granularities (`ModelSize.granularities`).

    Raises ValueError if a pattern selects nothing or is given twice, or a definition takes the
    name of a component or group.
    """
    if isinstance(patterns, str):
        raise ValueError(f"components must be a list of names, found the text {patterns!r}")
    defined = {own.name: own for pattern in patterns if (own := defined_component(pattern))}
    names = [spelt(pattern.split("=")[0]) for pattern in patterns]
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"component {twice[0]!r} is given twice: a component is one column of χ")
    every = [known, *others]
    taken = {component.name for granularity in every for component in granularity}
    chosen: dict[str, Component] = {}
    for pattern, wanted in zip(patterns, names, strict=True):
        if wanted in defined:
            _require_new(wanted, taken)
            chosen[wanted] = defined[wanted]
        else:  # a name that is there keeps its place
            chosen |= {c.name: c for c in _first_match(pattern, wanted, every)}
    if not chosen:
        raise ValueError("no components asked for: give at least one name or pattern, such as '*'")
    return tuple(chosen.values())


def _first_match(
    pattern: str, wanted: str, every: Sequence[Sequence[Component]]
) -> list[Component]:
    """Components of the first granularity in which a pattern matches."""
    for granularity in every:
        if found := [c for c in granularity if fnmatch.fnmatchcase(c.name, wanted)]:
            return found
    names = [component.name for granularity in every for component in granularity]
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    described = "; ".join(filter(None, map(_described, every)))
    raise ValueError(
        f"component {pattern!r} selects nothing: this model has {described}"
        + (f"; nearest: {', '.join(near)}" if near else "")
    )


def defined_component(pattern: str) -> Component | None:
    """The component of `name=parameters` or `name=parameters@ranges`; None for another pattern.

    `parameters` is a regular expression for whole names of parameters, `ranges` those of their
    first dimensions: `norms=.*norm.*`, `q0=model\\.layers\\.0\\.self_attn\\.q_proj\\.weight@0:64`.
    Raises ValueError for a name that cannot be a column's, and as `ParameterPattern`.
    """
    name, equals, definition = pattern.partition("=")
    if not equals:
        return None
    name = spelt(name)
    if not re.fullmatch(r"[a-z][a-z0-9_.]*", name):
        raise ValueError(
            f"component {pattern!r}: expected a name of letters, digits, '_' and '.' before '=', "
            f"found {name!r}"
        )
    parameters, _, ranges = definition.partition("@")
    part = ParameterPattern(parameters=parameters.strip(), ranges=ranges)
    return Component(name=name, kind=ComponentKind.DEFINED, definition=(part,))


def _require_new(name: str, taken: Set[str]) -> None:
    if re.fullmatch(r"l\d+", name) or name in taken | {FULL.name}:
        raise ValueError(
            f"component {name!r} is defined, but the model has a component or group of this name: "
            "give it another"
        )


def group_components(
    components: Sequence[Component], *, with_full: bool = False
) -> tuple[Group, ...]:
    """Gather components into groups, all in canonical order; `full`, once, also if it is wanted.

    The order of the columns is another matter: what is computed, to the last bit, does not depend
    on the order that was asked for.
    """
    members: dict[str, list[Component]] = {}
    for component in sorted(components, key=_canonical_place):
        members.setdefault(component.group, []).append(component)
    groups = [Group(name=name, components=tuple(found)) for name, found in members.items()]
    return (*groups, *((FULL_GROUP,) if with_full and FULL_GROUP not in groups else ()))


def _canonical_place(component: Component) -> tuple[float, float, float, float]:
    """Layer and place in it, as `all_components` and then `full` have them."""
    kind, layer = component.kind, component.layer
    if layer is None:
        last = {ComponentKind.NORM: 0.0, ComponentKind.FULL: 2.0}.get(kind, 1.0)
        return (-1.0 if kind is ComponentKind.EMBED else math.inf, last, 0.0, 0.0)
    part = PARTS.index(component.part) if component.part else 0
    return (layer, float(list(_IN_LAYER).index(kind)), component.head or 0, part)


def in_layer(kind: ComponentKind, layer: int, head: int | None = None, part: str = "") -> Component:
    """The component of this kind within a layer, by its canonical name."""
    name = f"l{layer}{_IN_LAYER[kind].format(head=head, part=part)}"
    return Component(name=name, kind=kind, layer=layer, head=head, part=part)


def _described(known: Sequence[Component]) -> str:
    """First and last component of every kind."""
    kinds: dict[ComponentKind, list[str]] = {}
    for component in known:
        kinds.setdefault(component.kind, []).append(component.name)
    order = sorted(kinds, key=lambda kind: kind in (ComponentKind.EMBED, ComponentKind.UNEMBED))
    return ", ".join(
        f"{kinds[kind][0]} … {kinds[kind][-1]}" if len(kinds[kind]) > 1 else kinds[kind][0]
        for kind in order
    )
