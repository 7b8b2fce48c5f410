"""Blocks of components within a layer by the names that families give parameters.

Families agree on a few namings, so one table serves every engine: GPT-NeoX (fused queries, keys and
values by head), GPT-2 (fused by kind, maps transposed) and Llama (one parameter per map), which
most later families follow.

Shapes: D hidden size, K head size, F intermediate size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from spectro.models.architecture import BlockTable, ParameterSlice
from spectro.models.components import Component, ComponentKind
from spectro.models.size import ModelSize

ALL = slice(None)
_ATTENTION = re.compile(r"(?P<layer>.*\.(?P<n>\d+)\.)(?P<map>[\w.]*)\.weight")
_FUSED_NEOX, _FUSED_GPT2, _QUERY = "attention.query_key_value", "attn.c_attn", "self_attn.q_proj"
_MLP_MAPS = {
    _FUSED_NEOX: {"up": "mlp.dense_h_to_4h", "down": "mlp.dense_4h_to_h"},
    _FUSED_GPT2: {"up": "mlp.c_fc", "down": "mlp.c_proj"},
    _QUERY: {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"},
}
_LLAMA_NORMS = {
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
}
"""Name in components → name of the norm in a layer; GPT-NeoX has the same."""
_NORMS = {_FUSED_GPT2: {"norm1": "ln_1", "norm2": "ln_2"}}


def layer_blocks(component: Component, params: Mapping[str, Tensor], size: ModelSize) -> BlockTable:
    """Blocks of a component within a layer.

    Raises ValueError where the parameters have other names.
    """
    found = _blocks(component, params, size)
    if any(part.parameter not in params for part in found.values()):
        raise _unknown(component)
    return found


def _blocks(component: Component, params: Mapping[str, Tensor], size: ModelSize) -> BlockTable:
    prefix, naming = _naming(component, params)
    kind = component.kind
    if kind is ComponentKind.LAYER:
        return _all_of(prefix, params, prefix)
    if kind is ComponentKind.ATTENTION:
        return _all_of(f"{prefix}{naming.partition('.')[0]}.", params, prefix)
    if kind is ComponentKind.NORM:
        name = _NORMS.get(naming, _LLAMA_NORMS)[component.part]
        return _all_of(f"{prefix}{name}.", params, f"{prefix}{name}.")
    if kind in (ComponentKind.MLP, ComponentKind.MLP_PART):
        maps = _MLP_MAPS[naming]
        found = _maps(prefix, params, {block: (name, ()) for block, name in maps.items()})
    elif naming == _FUSED_NEOX:
        found = _neox_head(prefix, params, component, size)
    elif naming == _FUSED_GPT2:
        found = _gpt2_head(prefix, params, component, size)
    else:
        found = _llama_head(prefix, params, component, size)
    if not component.part:
        return found
    return {name: part for name, part in found.items() if name.startswith(f"{component.part}_")}


def _all_of(start: str, params: Mapping[str, Tensor], prefix: str) -> BlockTable:
    """All parameters whose names start so; blocks have these names without the prefix."""
    return {
        name.removeprefix(prefix): ParameterSlice(parameter=name)
        for name in params
        if name.startswith(start)
    }


def _naming(component: Component, params: Iterable[str]) -> tuple[str, str]:
    """Prefix of the layer's parameters, and the map by which the naming is known."""
    for name in params:
        found = _ATTENTION.fullmatch(name)
        if found and int(found["n"]) == component.layer and found["map"] in _MLP_MAPS:
            return found["layer"], found["map"]
    raise _unknown(component)


def _unknown(component: Component) -> ValueError:
    return ValueError(
        f"component {component.name!r}: the model's parameters have unknown names, expected "
        f"{', '.join(_MLP_MAPS)} in every layer; define the component by names of parameters"
    )


def _maps(
    prefix: str,
    params: Mapping[str, Tensor],
    maps: Mapping[str, tuple[str, tuple[slice, ...]]],
    *,
    biases: bool = True,
) -> BlockTable:
    """Slices of linear maps, and of their biases where there are any and they are the block's."""
    found = {
        f"{block}_weight": ParameterSlice(parameter=f"{prefix}{name}.weight", index=index)
        for block, (name, index) in maps.items()
    }
    return _with_biases(found, params) if biases else found


def _with_biases(blocks: BlockTable, params: Mapping[str, Tensor]) -> BlockTable:
    """Blocks, each followed by the bias of its map where the model has one."""
    found: BlockTable = {}
    for block, part in blocks.items():
        found[block] = part
        bias = f"{part.parameter.removesuffix('.weight')}.bias"
        if bias in params:
            name = f"{block.removesuffix('_weight')}_bias"
            found[name] = ParameterSlice(parameter=bias, index=part.index[:1])
    return found


def _neox_head(
    prefix: str, params: Mapping[str, Tensor], component: Component, size: ModelSize
) -> BlockTable:
    """Rows of the fused map [3D, D], which has a head's queries, keys and values together; columns
    of the output map [D, D]. A part has its third of the head's rows."""
    head, size_K = _head(component), size.head_size
    rows = slice(3 * size_K * head, 3 * size_K * (head + 1))
    block, part = "qkv", component.part
    if part in ("q", "k", "v"):
        start = rows.start + size_K * "qkv".index(part)
        block, rows = part, slice(start, start + size_K)
    own = slice(size_K * head, size_K * (head + 1))
    out = {part or "dense": ("attention.dense", (ALL, own))}
    found = _maps(prefix, params, {block: (_FUSED_NEOX, (rows,))})
    return found if part in ("q", "k", "v") else found | _maps(prefix, params, out, biases=False)


def _llama_head(
    prefix: str, params: Mapping[str, Tensor], component: Component, size: ModelSize
) -> BlockTable:
    """Rows of the maps of queries, keys and values, columns of the output map."""
    head, size_K = _head(component), size.head_size
    own = slice(size_K * head, size_K * (head + 1))
    if component.kind in (ComponentKind.KV, ComponentKind.KV_PART):
        return _maps(prefix, params, {k: (f"self_attn.{k}_proj", (own,)) for k in "kv"})
    kinds = "q" if size.num_kv_heads < size.num_heads else "qkv"
    found = _maps(prefix, params, {k: (f"self_attn.{k}_proj", (own,)) for k in kinds})
    out = {"o": ("self_attn.o_proj", (ALL, own))}
    return found | _maps(prefix, params, out, biases=False)


def _head(component: Component) -> int:
    assert component.head is not None
    return component.head


def _gpt2_head(
    prefix: str, params: Mapping[str, Tensor], component: Component, size: ModelSize
) -> BlockTable:
    """Columns of the three parts of the fused map [D, 3D], rows of the output map [D, D]."""
    index, width, size_K = _head(component), size.hidden_size, size.head_size
    found: BlockTable = {}
    for place, block in enumerate("qkv"):
        start = place * width + size_K * index
        columns = slice(start, start + size_K)
        name = f"{prefix}{_FUSED_GPT2}"
        found[f"{block}_weight"] = ParameterSlice(parameter=f"{name}.weight", index=(ALL, columns))
        found[f"{block}_bias"] = ParameterSlice(parameter=f"{name}.bias", index=(columns,))
    rows = slice(size_K * index, size_K * (index + 1))
    found["o_weight"] = ParameterSlice(parameter=f"{prefix}attn.c_proj.weight", index=(rows,))
    return found
