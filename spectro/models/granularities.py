"""Components other than the standard ones: attention blocks, layers, norms, parts, all weights.

| granularity | names |
|---|---|
| attention blocks | `l0attn`: all parameters of a layer's attention |
| layers | `l0layer`: all parameters of a layer, norms included |
| norms | `l0norm1` before the attention, `l0norm2` before the MLP, `final_norm` |
| | `l0q_norm`, `l0k_norm` of queries and keys, where the model has them |
| parts | `l0h1.q`, `.k`, `.v`, `.o` of a head; `l0kv0.k`, `.v` where heads share them |
| | `l0mlp.up`, `.gate`, `.down` |
| all weights | `full` |

Each granularity overlaps the others; within one no number belongs to two components.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spectro.models.components import FULL, Component, ComponentKind, in_layer

FINAL_NORM = Component(name="final_norm", kind=ComponentKind.NORM, part="final_norm")
_WHOLE = {
    ComponentKind.HEAD: ComponentKind.HEAD_PART,
    ComponentKind.KV: ComponentKind.KV_PART,
    ComponentKind.MLP: ComponentKind.MLP_PART,
}
"""Standard kind → kind of its parts."""


def other_granularities(
    standard: Sequence[Component],
    num_layers: int,
    *,
    shares_kv: bool,
    mlp_parts: Sequence[str],
    norms: Sequence[str],
) -> tuple[tuple[Component, ...], ...]:
    """All granularities after the standard one, each in canonical order.

    Args:
        standard: the standard components.
        num_layers: L.
        shares_kv: whether heads share keys and values, which are then no parts of heads.
        mlp_parts: maps of an MLP; none without MLPs.
        norms: norms of a layer.
    """
    layers = range(num_layers)
    parts = {
        ComponentKind.HEAD: ("q", "o") if shares_kv else ("q", "k", "v", "o"),
        ComponentKind.KV: ("k", "v"),
        ComponentKind.MLP: tuple(mlp_parts),
    }
    return (
        tuple(in_layer(ComponentKind.ATTENTION, layer) for layer in layers),
        tuple(in_layer(ComponentKind.LAYER, layer) for layer in layers),
        (
            *(in_layer(ComponentKind.NORM, n, part=norm) for n in layers for norm in norms),
            FINAL_NORM,
        ),
        tuple(part for own in standard for part in _parts(own, parts.get(own.kind, ()))),
        (FULL,),
    )


def _parts(own: Component, parts: Sequence[str]) -> Iterator[Component]:
    for part in parts:
        assert own.layer is not None
        yield in_layer(_WHOLE[own.kind], own.layer, own.head, part)
