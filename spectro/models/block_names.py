"""Blocks of heads, shared keys and values, and MLPs by the names that families give parameters.

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


def layer_blocks(component: Component, params: Mapping[str, Tensor], size: ModelSize) -> BlockTable:
    """Blocks of a head, shared keys and values, or an MLP.

    Raises ValueError where the parameters have other names.
    """
    found = _blocks(component, params, size)
    if any(part.parameter not in params for part in found.values()):
        raise _unknown(component)
    return found


def _blocks(component: Component, params: Mapping[str, Tensor], size: ModelSize) -> BlockTable:
    prefix, naming = _naming(component, params)
    if component.kind is ComponentKind.MLP:
        maps = _MLP_MAPS[naming]
        return _with_biases(
            {
                f"{block}_weight": ParameterSlice(parameter=f"{prefix}{name}.weight")
                for block, name in maps.items()
            },
            params,
        )
    assert component.head is not None
    index, size_K = component.head, size.head_size
    own = slice(size_K * index, size_K * (index + 1))
    if naming == _FUSED_NEOX:
        fused = slice(3 * size_K * index, 3 * size_K * (index + 1))
        return _maps(prefix, params, {"qkv": (_FUSED_NEOX, (fused,))}) | _maps(
            prefix, params, {"dense": ("attention.dense", (ALL, own))}, biases=False
        )
    if naming == _FUSED_GPT2:
        return _gpt2_head(prefix, params, index, size)
    if component.kind is ComponentKind.KV:
        return _maps(prefix, params, {k: (f"self_attn.{k}_proj", (own,)) for k in "kv"})
    kinds = "q" if size.num_kv_heads < size.num_heads else "qkv"
    maps_of = {k: (f"self_attn.{k}_proj", (own,)) for k in kinds}
    out = {"o": ("self_attn.o_proj", (ALL, own))}
    return _maps(prefix, params, maps_of) | _maps(prefix, params, out, biases=False)


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


def _gpt2_head(
    prefix: str, params: Mapping[str, Tensor], index: int, size: ModelSize
) -> BlockTable:
    """Columns of the three parts of the fused map [D, 3D], rows of the output map [D, D]."""
    width, size_K = size.hidden_size, size.head_size
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
