"""Parameters of a Hugging Face model by name, and the components that are whole parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from spectro.models.architecture import BlockTable, Index, ParameterSlice
from spectro.models.components import Component, ComponentKind
from spectro.models.consistency import require_finite


def named_parameters(model: PreTrainedModel) -> tuple[dict[str, Tensor], str]:
    """Parameters by name, detached, and the name of the output matrix.

    A tied output matrix has the embedding's name.
    """
    params = {name: tensor.detach() for name, tensor in model.named_parameters()}
    output = model.get_output_embeddings().weight
    return params, next(name for name, p in model.named_parameters() if p is output)


def require_displaceable(model: PreTrainedModel, *, loaded: bool = False) -> None:
    """Raise ValueError for weights of less than float32, or that are not finite.

    A model that `load_model` gave (`loaded`) has finite weights.
    """
    dtype = model.get_output_embeddings().weight.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the model's weights are {dtype}: displacements and their noise would be rounded; "
            "load it in float32, or call model.float()"
        )
    if loaded:
        return
    try:
        require_finite(model)
    except ValueError as error:
        raise ValueError(f"the model's {error}") from error


def edge_blocks(
    component: Component, params: Mapping[str, Tensor], embed_name: str, unembed_name: str
) -> BlockTable:
    """Blocks of a component that belongs to no layer, or of one that its user has defined.

    Raises ValueError where a definition selects nothing or leaves a parameter's shape.
    """
    if component.kind is ComponentKind.EMBED:
        return {"weight": ParameterSlice(parameter=embed_name)}
    if component.kind is ComponentKind.UNEMBED:
        return {"weight": ParameterSlice(parameter=unembed_name)}
    if component.kind is ComponentKind.FULL:
        return {name: ParameterSlice(parameter=name) for name in params}
    if component.kind is ComponentKind.NORM:
        return _final_norm(params)
    return defined_blocks(component, params)


def _final_norm(params: Mapping[str, Tensor]) -> BlockTable:
    """The norm outside all layers: its weight, and its bias where it has one."""
    found = {
        name.rpartition(".")[2]: ParameterSlice(parameter=name)
        for name in params
        if re.fullmatch(r"(?!.*\.\d+\.).*(norm|ln_f)\w*\.(weight|bias)", name)
    }
    if not found:
        raise ValueError(
            "component 'final_norm': no parameter outside the layers has the name of a norm; "
            "define the component by names of parameters"
        )
    return found


def defined_blocks(component: Component, params: Mapping[str, Tensor]) -> BlockTable:
    """Blocks that a user's definition selects, named as their parameters.

    Raises ValueError if a pattern selects no parameter, a range is empty or outside, or a parameter
    is selected twice.
    """
    found: BlockTable = {}
    for part in component.definition:
        names = [name for name in params if part.matches(name)]
        if not names:
            raise ValueError(
                f"component {component.name!r}: {part.parameters!r} matches no parameter; expected "
                f"a regular expression for whole names such as {next(iter(params))!r}"
            )
        for name in names:
            if name in found:
                raise ValueError(f"component {component.name!r} selects {name} twice")
            index = part.index
            _require_inside(component.name, name, params[name], index)
            found[name] = ParameterSlice(parameter=name, index=index)
    return found


def _require_inside(component: str, name: str, parameter: Tensor, index: Index) -> None:
    inside = len(index) <= parameter.dim() and all(
        0 <= (own.start or 0) < (size if own.stop is None else own.stop) <= size
        for own, size in zip(index, parameter.shape, strict=False)
    )
    if not inside:
        raise ValueError(
            f"component {component!r}: the ranges of {name} are empty or outside its shape "
            f"{tuple(parameter.shape)}"
        )
