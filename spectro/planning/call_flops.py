"""Flops of every call of a `GroupModel`, counted by the real call on the meta device.

Counted are matrix products and attention, two flops per multiply-add (models/cost/flop_counter.py);
what is elementwise (norms, activations, rotary, softmax, noise, updates) is not. On the meta device
no weights are needed and nothing is computed.

Flops are linear in sequences and in variants, so one of each is counted. They are affine in the
number of layers below and above a component and of vocabulary entries, so calls of models of one
and two layers with a small vocabulary are extrapolated to any size; the tests hold that exact.
A model of the universal engine is counted whole, for components of its first and its last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from spectro.models.components import FULL_GROUP, Component, ComponentKind, Group, in_layer
from spectro.models.config import ScoringConfig
from spectro.models.cost.flop_counter import FusedAttention, WholeSequences, counting
from spectro.models.cost.weightless import weightless_model
from spectro.models.engine import Engine
from spectro.models.groups import group_model
from spectro.models.size import ModelSize
from spectro.models.top_k_softmax import TopKFit
from spectro.models.transformer import Transformer
from spectro.models.variant_losses import fit_top_k
from spectro.sampling.gradients import minibatch_gradients

Flops = npt.NDArray[np.int64]
SMALL_VOCABULARY = 16
"""Entries of a small vocabulary, for each entry of a top-K list: with fewer there are no lists
(`ScoringConfig.lists`)."""


class CallFlops(NamedTuple):
    """Flops of the calls of a group, with one variant of each component."""

    prepare: int
    """`prepare`, with the top-K lists if there are any."""
    clean_losses: int
    """`clean_losses`: none from lists, which hold ℓ(w*)."""
    losses: int
    """`losses` without gradient."""
    gradient: int
    """`losses` with gradient, and the backward pass into the components; 0 where K > 0, for steps
    never use lists."""


@cache
def call_flops(
    size: ModelSize, group: Group, num_seq: int, num_pos: int, list_size: int = 0
) -> CallFlops:
    """Flops of a group's calls on n sequences of T positions; by a top-K softmax where K > 0."""
    if group.components[0].kind is ComponentKind.DEFINED:  # at most what all weights take
        group = FULL_GROUP
    if size.is_universal:
        found = _of_whole_models(size, group, num_pos)
        return CallFlops(*(num_seq * int(flops) for flops in found))
    found = _extrapolated(size, group, list_size, lambda s, g: _count(s, g, num_pos, list_size))
    return CallFlops(*(num_seq * int(flops) for flops in found))


def component_flops(
    size: ModelSize, component: Component, num_seq: int, num_pos: int, list_size: int = 0
) -> CallFlops:
    """`call_flops` of a component without the others of its group."""
    alone = Group(name=component.group, components=(component,))
    return call_flops(size, alone, num_seq, num_pos, list_size)


def has_prefix(size: ModelSize, group: Group) -> bool:
    """Whether preparing a batch computes anything (`GroupModel.has_prefix`)."""
    if group.components[0].kind is ComponentKind.DEFINED:  # it may
        return True
    return call_flops(size, group, 1, 1).prepare > 0


def model_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """Forward pass of the whole model, with its losses."""
    return call_flops(size, FULL_GROUP, num_seq, num_pos).losses


def list_setup_flops(size: ModelSize, num_seq: int, num_pos: int, list_size: int) -> int:
    """`fit_top_k`, once per worker: the covariance outside the lists of some sequences."""

    def count(small: ModelSize, _: Group) -> Flops:
        ids = torch.zeros((num_seq, num_pos + 1), dtype=torch.int64, device="meta")
        config = ScoringConfig(shortlist_size=list_size)
        return np.array([_flops(lambda: fit_top_k(cast(Transformer, _model(small)), config, ids))])

    return int(_extrapolated(size, FULL_GROUP, list_size, count)[0])


def sums_flops(num_tokens: int) -> int:
    """Both running sums of one draw over tokens (susceptibility/score.py)."""
    return 4 * num_tokens


def sampling_saves(size: ModelSize, num_seq: int, num_pos: int, sample: int) -> int:
    """Flops that a gradient of one component lacks where S entries stand for the vocabulary: of
    its losses and of theirs in the final stream."""
    return 4 * num_seq * num_pos * size.hidden_size * (size.vocab_size - sample)


def sampling_costs(
    size: ModelSize, num_seq: int, num_distinct: int, num_pos: int, sample: int
) -> int:
    """Flops of the sampled softmax of some sequences, so many of them distinct: weights of every
    sample, and once for each a clean pass and μ. What a worker has kept from before is not less."""
    mean = 2 * num_pos * size.hidden_size * size.vocab_size
    each = 2 * num_seq * num_pos * size.hidden_size * sample
    return each + num_distinct * (model_flops(size, 1, num_pos) + mean)


def _of_whole_models(size: ModelSize, group: Group, num_pos: int) -> Flops:
    """Counts of the universal engine: a pass for each component, and one for all without any."""
    each = np.stack([_of_whole_model(size, c, num_pos) for c in group.components])
    found: Flops = np.append(each[0, :2], each[:, 2:].sum(0))
    return found


def _of_whole_model(size: ModelSize, component: Component, num_pos: int) -> Flops:
    """Counts of one component: its gradient is affine in the layer."""

    def count(layer: int) -> Flops:
        group = _in_layer(Group(name=component.group, components=(component,)), layer)
        return _count(size, group, num_pos, 0)

    lowest, top = count(0), size.num_layers - 1
    if not component.layer:
        return lowest
    return lowest + component.layer * (count(top) - lowest) // top


def _extrapolated(
    size: ModelSize, group: Group, list_size: int, count_small: Callable[[ModelSize, Group], Flops]
) -> Flops:
    """Counts of a model from those of models of one and two layers and few vocabulary entries."""
    vocab_size = min(size.vocab_size, SMALL_VOCABULARY * max(1, list_size))

    def count(num_layers: int, layer: int = 0, vocab_size: int = vocab_size) -> Flops:
        small = replace(size, num_layers=num_layers, vocab_size=vocab_size)
        return count_small(small, _in_layer(group, layer))

    found = smallest = count(1)
    below = group.components[0].layer or 0
    if below:
        found = found + below * (count(2, layer=1) - smallest)
    if above := size.num_layers - 1 - below:
        found = found + above * (count(2) - smallest)
    if rest := size.vocab_size - vocab_size:
        found = found + rest * (count(1, vocab_size=vocab_size + 1) - smallest)
    return found


@cache
def _count(size: ModelSize, group: Group, num_pos: int, list_size: int) -> Flops:
    """Flops of every call on one sequence."""
    model = _model(size)
    part, width = group_model(model, group), size.hidden_size
    fit = TopKFit(
        size=list_size,
        covariance_DD=torch.empty(width, width, device="meta"),
        components=frozenset(part.names) if list_size else frozenset(),
    )
    ids = torch.zeros((1, num_pos + 1), dtype=torch.int64, device="meta")
    weights = {
        name: {block: tensor[None] for block, tensor in part.weights(name).items()}
        for name in part.names
    }
    at_rest = {name: [part.weights(name)] for name in part.names}
    with torch.no_grad(), torch.device("meta"), FusedAttention(), WholeSequences():
        clean = part.prepare(ids, fit)
        forward = [
            _flops(lambda: part.prepare(ids, fit)),
            _flops(lambda: part.clean_losses(clean)),
            _flops(lambda: part.losses(clean, weights)),
        ]
    if list_size:
        return np.array([*forward, 0])
    with torch.enable_grad():  # whatever the caller's mode is
        step = _flops(lambda: minibatch_gradients(part, at_rest, ids[None]))
    return np.array([*forward, step - forward[0]])


def _flops(call: Callable[[], object]) -> int:
    with torch.device("meta"), FusedAttention(), WholeSequences(), counting() as counter:
        call()
    return int(counter.get_total_flops())


@cache
def _model(size: ModelSize) -> Engine:
    with torch.device("meta"):
        return weightless_model(size)


def _in_layer(group: Group, layer: int) -> Group:
    """The group's like in a layer of a small model: its heads are the first ones."""
    if group.components[0].layer is None:
        return group
    moved = []
    for component in group.components:
        same_kind = [c.name for c in group.components if c.shape_kind == component.shape_kind]
        head = None if component.head is None else same_kind.index(component.name)
        moved.append(in_layer(component.kind, layer, head, component.part))
    return Group(name=f"l{layer}", components=tuple(moved))
