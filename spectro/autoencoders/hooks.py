"""Where an autoencoder reads a model: the names that libraries use, and the vectors themselves.

TransformerLens, SAELens      blocks.3.hook_resid_post, blocks.3.hook_mlp_out, blocks.3.attn.hook_z
dictionary_learning           resid_post_layer_3, mlp_out_layer_3, attn_out_layer_3
sparsify, transformers        layers.3, layers.3.mlp, gpt_neox.layers.3.attention (outputs)

Shapes: B sequences, T positions, D size of the vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class Site(StrEnum):
    """What is read of a layer."""

    RESID_PRE = "resid_pre"
    """The residual stream that enters it."""
    RESID_POST = "resid_post"
    """The residual stream that leaves it."""
    MLP_OUT = "mlp_out"
    """What its MLP adds."""
    ATTN_OUT = "attn_out"
    """What its attention adds."""
    ATTN_Z = "attn_z"
    """The heads' mixed values beside each other, before the output matrix."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One place in a model."""

    site: Site
    """What is read."""
    layer: int
    """Of which layer, from 0."""

    @property
    def name(self) -> str:
        """As TransformerLens has it."""
        inner = "attn.hook_z" if self.site is Site.ATTN_Z else f"hook_{self.site.value}"
        return f"blocks.{self.layer}.{inner}"


_MODULES = {
    None: Site.RESID_POST,
    "mlp": Site.MLP_OUT,
    "attention": Site.ATTN_OUT,
    "self_attn": Site.ATTN_OUT,
    "attn": Site.ATTN_OUT,
}
_WORDS = {
    "resid": Site.RESID_POST,
    "resid_pre": Site.RESID_PRE,
    "resid_post": Site.RESID_POST,
    "mlp": Site.MLP_OUT,
    "mlp_out": Site.MLP_OUT,
    "attn": Site.ATTN_OUT,
    "attn_out": Site.ATTN_OUT,
    "attention": Site.ATTN_OUT,
}
_LENS = re.compile(
    r"blocks\.(\d+)\.(?:hook_(resid_pre|resid_post|mlp_out|attn_out)|attn\.hook_(z))"
)
_MODULE = re.compile(r"(?:[a-z_]+\.)*(?:layers|h)\.(\d+)(?:\.([a-z_]+))?")
_WORD = re.compile(r"([a-z_]+?)_?(?:layer)?_?(\d+)")


def parse_hook(text: str) -> Hook:
    """A place by its name in any of the libraries; raises ValueError for one that is not known."""
    if found := _LENS.fullmatch(text):
        return Hook(site=Site(found[2] or "attn_z"), layer=int(found[1]))
    if (found := _MODULE.fullmatch(text)) and found[2] in _MODULES:
        return Hook(site=_MODULES[found[2]], layer=int(found[1]))
    if (found := _WORD.fullmatch(text)) and found[1] in _WORDS:
        return Hook(site=_WORDS[found[1]], layer=int(found[2]))
    raise ValueError(
        f"hook {text!r} is not known: expected one such as blocks.3.hook_resid_post, "
        "blocks.3.hook_mlp_out, blocks.3.hook_attn_out, blocks.3.attn.hook_z, resid_post_layer_3 "
        "or layers.3.mlp"
    )


class HookReader:
    """Vectors at one place of a model; layers above it are not run.

    Args:
        model: of transformers, in evaluation mode.
        hook: the place.
        centred: take the mean over D out, as TransformerLens's centred writing weights do.

    Raises ValueError, in one line, for a layer that the model lacks, and for a model without such
    a module.
    """

    def __init__(self, model: PreTrainedModel, hook: Hook, *, centred: bool = False) -> None:
        layers = _layers(model)
        if hook.layer >= len(layers):
            raise ValueError(
                f"hook {hook.name}: the model has layers 0 to {len(layers) - 1}: is the "
                "autoencoder of another model?"
            )
        self._model, self._hook, self._centred = model, hook, centred
        self._module, self._of_input = _module(layers[hook.layer], hook)

    @torch.no_grad()
    def __call__(self, ids_BT: Tensor) -> Tensor:
        """Vectors of all positions, [B, T, D], float32."""
        found: list[Tensor] = []
        with self._hooked(found):
            with suppress(_ReadError):
                self._model.base_model(input_ids=ids_BT, use_cache=False)
        assert found, "the hook was not reached"
        x_BTD = found[0].float()
        return x_BTD - x_BTD.mean(dim=-1, keepdim=True) if self._centred else x_BTD

    @contextmanager
    def _hooked(self, found: list[Tensor]) -> Iterator[None]:
        def read(value: Any) -> None:
            found.append(value[0] if isinstance(value, tuple) else value)
            raise _ReadError

        def of_input(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            read(args[0] if args else kwargs["hidden_states"])

        def of_output(_: nn.Module, __: Any, output: Any) -> None:
            read(output)

        if self._of_input:
            handle = self._module.register_forward_pre_hook(of_input, with_kwargs=True)
        else:
            handle = self._module.register_forward_hook(of_output)
        try:
            yield
        finally:
            handle.remove()


class _ReadError(Exception):
    """Ends a forward pass once the vectors are there."""


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    number = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise ValueError(
        f"{type(model).__name__} has no list of its {number} layers, where hooks are looked for"
    )


def _module(layer: nn.Module, hook: Hook) -> tuple[nn.Module, bool]:
    """The module whose input (True) or output is read."""
    if hook.site in (Site.RESID_PRE, Site.RESID_POST):
        return layer, hook.site is Site.RESID_PRE
    if hasattr(layer, "post_feedforward_layernorm"):
        raise ValueError(
            f"hook {hook.name}: the model norms what attention and MLP add, so that the name means "
            "different vectors in different libraries; hooks of the residual stream are read"
        )
    if hook.site is Site.MLP_OUT:
        return _child(layer, ("mlp",), hook), False
    attention = _child(layer, ("attention", "self_attn", "attn"), hook)
    if hook.site is Site.ATTN_OUT:
        return attention, False
    return _child(attention, ("dense", "o_proj", "c_proj", "out_proj"), hook), True


def _child(parent: nn.Module, names: tuple[str, ...], hook: Hook) -> nn.Module:
    for name in names:
        if (found := getattr(parent, name, None)) is not None:
            assert isinstance(found, nn.Module)
            return found
    raise ValueError(
        f"hook {hook.name}: {type(parent).__name__} has no module {' or '.join(names)}: does the "
        "model have this part?"
    )
