"""Whether a model in memory computes what its config and its parameters say.

The engine takes both, and none of the model's own code. What somebody did to the code of a loaded
model (a module replaced, a hook, a patched `forward`) would not be in χ, so it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import GPTNeoXForCausalLM

from spectro.models.precision import unrounded

MAX_POSITIONS = 32
TOLERANCE = 3e-4
"""Largest relative difference of logits, √ε of float32: both sides round in float32 (of float64
models transformers rounds the softmax), some hundred times in a row, which gives 1e-5 at most;
what computes another function differs by 1e-2."""
TRANSFORMERS_HOOKS = "transformers.utils.output_capturing"
"""Its hooks copy outputs (`output_hidden_states=True`) and change none; they stay for good."""


def require_type(model: object) -> None:
    """Raise ValueError unless it is a GPT-NeoX model of transformers."""
    if not isinstance(model, GPTNeoXForCausalLM):
        raise ValueError(
            f"expected a GPTNeoXForCausalLM of transformers, found {type(model).__name__}: spectro "
            "measures GPT-NeoX models only (all Pythia sizes)"
        )


def require_plain(model: GPTNeoXForCausalLM) -> None:
    """Raise ValueError for parameters or modules that its config does not give, and for hooks."""
    with torch.device("meta"):
        known = type(model)(model.config)
    odd = sorted(_parameters(model) ^ _parameters(known))
    if odd and not model.config.tie_word_embeddings:
        raise ValueError(
            f"the model has other parameters than a GPT-NeoX of its config ({len(odd)}, such as "
            f"{odd[0]}): merge adapters into the weights and remove pruning first"
        )
    expected = _modules(known)
    for name, kind in _modules(model).items():
        if kind is not expected.get(name):
            wanted = getattr(expected.get(name), "__name__", "none")
            raise ValueError(
                f"the model has a {kind.__name__} as {name}, expected {wanted} by its "
                "config: a module was replaced, or the config changed after loading; χ would be "
                "of the unchanged model"
            )
    _refuse_hooks(model)


def require_finite(model: nn.Module) -> None:
    """Raise ValueError, naming it, for a weight with NaN or infinite values."""
    for name, parameter in model.named_parameters():
        if not math.isfinite(float(parameter.detach().sum())) and not parameter.isfinite().all():
            raise ValueError(f"weight {name} has values that are not finite")


@torch.no_grad()
def logits_of(model: GPTNeoXForCausalLM) -> tuple[Tensor, Tensor]:
    """Tokens from all over the vocabulary, int64 [1, T], and the model's own logits [T, V].

    Dropout is off meanwhile, and so is autocast.
    """
    embedding = model.get_input_embeddings().weight
    num_ids, device = embedding.shape[0], embedding.device
    num_positions = min(MAX_POSITIONS, model.config.max_position_embeddings)
    ids = torch.arange(num_positions, device=device)[None] * 7919 % num_ids  # a prime
    with _evaluating(model), unrounded(device.type), torch.autocast(device.type, enabled=False):
        return ids, model(ids, use_cache=False, return_dict=True).logits[0]


def require_same(own_TV: Tensor, theirs_TV: Tensor) -> None:
    """Raise ValueError unless the engine's logits are the model's own, but for rounding."""
    difference = float((own_TV - theirs_TV).norm() / theirs_TV.norm())
    if not difference <= TOLERANCE:
        raise ValueError(
            "the model computes something else than a GPT-NeoX of its config and weights (relative "
            f"difference of logits {difference:.2g}, rounding gives less than {TOLERANCE:g}): was "
            "a module replaced, a forward patched, or the config changed after loading?"
        )


def _parameters(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def _modules(model: nn.Module) -> Mapping[str, type]:
    """Name of a module → its type."""
    return {name or "model": type(module) for name, module in model.named_modules()}


def _refuse_hooks(model: nn.Module) -> None:
    for name, module in model.named_modules():
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            if getattr(hook, "__module__", "") != TRANSFORMERS_HOOKS:
                shown = getattr(hook, "__qualname__", type(hook).__name__)
                raise ValueError(
                    f"the model has a forward hook on {name or 'model'} ({shown}): χ would be of "
                    "the model without it; remove it (handle.remove())"
                )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each module's own mode again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
