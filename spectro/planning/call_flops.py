"""Flops of every call of a `GroupModel`, counted by the real call on the meta device.

Counted are matrix products and attention, two flops per multiply-add (models/cost/flop_counter.py);
what is elementwise (norms, activations, rotary, softmax, noise, updates) is not. On the meta device
no weights are needed and nothing is computed.

Flops are linear in sequences and in variants, so one of each is counted. They are affine in the
number of layers below and above a component and of vocabulary entries, so calls of models of one
and two layers with a small vocabulary are extrapolated to any size; the tests hold that exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from spectro.models.components import FULL, Component, Group
from spectro.models.cost.flop_counter import FusedAttention, counting
from spectro.models.cost.weightless import weightless_model
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.losses import shortlisting_of
from spectro.models.scoring import ScoringConfig
from spectro.models.size import ModelSize
from spectro.models.top_k_softmax import TopKFit
from spectro.sampling.gradients import minibatch_gradients

Call = Callable[[GPTNeoX, Group, Tensor, int], Callable[[], object]]
"""(model, group, ids [B, T+1], K) → the call whose flops count; what it needs is made before."""
LEAST_VOCABULARY = 16
"""Entries of a small vocabulary, for each entry of a top-K list: with fewer there are no lists
(`ScoringConfig.lists`)."""


def model_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """Forward pass of the whole model, with its losses."""
    return losses_flops(size, FULL, num_seq, num_pos)


def prepare_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int) -> int:
    """`prepare`: the layers below, the layer itself, and each head of the group separately."""
    return num_seq * _flops(size, group, num_pos, _prepare)


def clean_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int) -> int:
    """`clean_losses`: from what `prepare` keeps, through the layers above, to the losses."""
    return num_seq * _flops(size, group, num_pos, _clean_losses)


def losses_flops(
    size: ModelSize, component: Component, num_seq: int, num_pos: int, list_size: int = 0
) -> int:
    """`losses` of one variant without gradient; by a top-K softmax where `list_size` is K."""
    return num_seq * _flops(size, _alone(component), num_pos, _losses, list_size)


def gradient_flops(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    """`losses` of one variant with gradient, and the backward pass into the component alone."""
    alone = _alone(component)
    step = _flops(size, alone, num_pos, _step)
    return num_seq * (step - _flops(size, alone, num_pos, _prepare))


def lists_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int, list_size: int) -> int:
    """What `prepare` does more where it makes top-K lists; they hold ℓ(w*) too."""
    listed = _flops(size, group, num_pos, _prepare, list_size)
    return num_seq * (listed - _flops(size, group, num_pos, _prepare))


def shortlisting_flops(size: ModelSize, num_seq: int, num_pos: int, list_size: int) -> int:
    """`shortlisting_of`, once per worker: the covariance outside the lists of some sequences."""
    group = Group(name=FULL.name, components=(FULL,))
    return _flops(size, group, num_pos, _shortlisting, list_size, num_seq)


def sums_flops(num_tokens: int) -> int:
    """Both running sums of one draw over tokens (susceptibility/score.py)."""
    return 4 * num_tokens


def _flops(
    size: ModelSize, group: Group, num_pos: int, call: Call, list_size: int = 0, num_seq: int = 1
) -> int:
    """Flops of a call, extrapolated from small models."""
    vocab_size = min(size.vocab_size, LEAST_VOCABULARY * max(1, list_size))

    def count(num_layers: int, layer: int = 0, vocab_size: int = vocab_size) -> int:
        small = replace(size, num_layers=num_layers, vocab_size=vocab_size)
        return _count(small, _in_layer(group, layer), num_pos, call, list_size, num_seq)

    found = smallest = count(1)
    layer = group.components[0].layer
    below = 0 if layer is None else layer
    above = size.num_layers - 1 - below
    if below:
        found += below * (count(2, layer=1) - smallest)
    if above:
        found += above * (count(2) - smallest)
    if rest := size.vocab_size - vocab_size:
        found += rest * (count(1, vocab_size=vocab_size + 1) - smallest)
    return found


@cache
def _count(
    size: ModelSize, group: Group, num_pos: int, call: Call, list_size: int, num_seq: int
) -> int:
    """Flops of one call."""
    with torch.device("meta"), FusedAttention():
        ids = torch.zeros((num_seq, num_pos + 1), dtype=torch.int64)
        with torch.no_grad():
            counted = call(_weightless(size), group, ids, list_size)
        with counting() as counter:
            counted()
    return int(counter.get_total_flops())


@cache
def _weightless(size: ModelSize) -> GPTNeoX:
    return weightless_model(size)


def _prepare(model: GPTNeoX, group: Group, ids: Tensor, list_size: int) -> Callable[[], object]:
    part, fit = group_model(model, group), _fit(model, group, list_size)
    return torch.no_grad()(lambda: part.prepare(ids, fit))


def _clean_losses(
    model: GPTNeoX, group: Group, ids: Tensor, list_size: int
) -> Callable[[], object]:
    part = group_model(model, group)
    clean = part.prepare(ids)
    return torch.no_grad()(lambda: part.clean_losses(clean))


def _losses(model: GPTNeoX, group: Group, ids: Tensor, list_size: int) -> Callable[[], object]:
    part = group_model(model, group)
    clean = part.prepare(ids, _fit(model, group, list_size))
    one_variant = {
        name: {block: tensor[None] for block, tensor in part.weights(name).items()}
        for name in part.names
    }
    return torch.no_grad()(lambda: part.losses(clean, one_variant))


def _step(model: GPTNeoX, group: Group, ids: Tensor, list_size: int) -> Callable[[], object]:
    part = group_model(model, group)
    at_rest = {
        name: [{block: torch.zeros_like(t) for block, t in part.weights(name).items()}]
        for name in part.names
    }
    return lambda: minibatch_gradients(part, at_rest, ids[None])


def _shortlisting(
    model: GPTNeoX, group: Group, ids: Tensor, list_size: int
) -> Callable[[], object]:
    return lambda: shortlisting_of(model, ScoringConfig(shortlist_size=list_size), ids)


def _fit(model: GPTNeoX, group: Group, list_size: int) -> TopKFit | None:
    """Lists for all components of the group; None for K = 0."""
    if not list_size:
        return None
    width = model.shape.hidden_size
    names = frozenset(component.name for component in group.components)
    return TopKFit(size=list_size, covariance_DD=torch.empty(width, width), components=names)


def _alone(component: Component) -> Group:
    return Group(name=component.group, components=(component,))


def _in_layer(group: Group, layer: int) -> Group:
    """The group's like in a layer of a shallow model: its heads are the first ones."""
    if group.components[0].layer is None:
        return group
    moved, name = [], f"l{layer}"
    for index, component in enumerate(group.components):
        head = None if component.head is None else index
        own = f"{name}mlp" if head is None else f"{name}h{head}"
        moved.append(replace(component, name=own, layer=layer, head=head))
    return Group(name=name, components=tuple(moved))
