"""Peak memory of scoring and stepping, counted by the real calls on the meta device (ADR 085).

What is alive at once is counted (models/cost/live_bytes.py), from the first tensor of a call to its
last: the peak is the largest moment, be it preparing, the forward pass with what it keeps, the
loss, the backward pass or the update. So a change of the engine changes the plan. The resident
model is not in these figures (models/cost/memory.py). Products in bfloat16 are counted as a CPU
takes them, which multiplies copies in float32.

Each call is counted as the run makes it, but with no more micro-batches, packs of draws, layers
and blocks of logits than make the peak: what comes after the second takes the place of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL, Component, ComponentKind, Group
from spectro.models.config import Precision
from spectro.models.cost.budget import RowBudget, draws_at_once
from spectro.models.cost.flop_counter import FusedAttention, WholeSequences
from spectro.models.cost.live_bytes import LiveBytes
from spectro.models.cost.weightless import weightless_model
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.engine import Engine, refuse_rounded
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.models.size import ModelSize
from spectro.models.token_loss import BLOCK
from spectro.models.top_k_softmax import LOSS_CHUNK, TopKFit
from spectro.models.universal import UniversalModel
from spectro.sampling.advance import advance, start
from spectro.sampling.mala import Mala
from spectro.sampling.samplers import SLICE, Blocks, Stepper

META = "meta"
NUM_REPEATS = 2
"""Micro-batches and packs of draws that are counted: in the second, results of the first are
there."""


@dataclass(frozen=True, kw_only=True)
class CallShape:
    """What the memory of a call depends on, beside the group."""

    size: ModelSize
    """The model."""
    precision: str = "float32"
    """Type of the products."""
    device_type: str = "cuda"
    """Where it runs: blocks of logits have other sizes on a CPU."""
    context: int
    """T."""
    rows: int
    """Of the budget: positions × draws, or positions × components × chains."""


@cache
def scoring_bytes(
    call: CallShape,
    component: Component,
    num_seq: int,
    list_size: int = 0,
    num_draws: int | None = None,
) -> int:
    """Peak of scoring one component's draws on n sequences that are prepared together.

    Draws are made from their keys; stored ones take the same place. `num_draws` is how many there
    are in all; None: more than a pass takes.
    """
    call = _shortened(call, component, has_lists=list_size > 0)
    with _model_of(call) as model:
        part = _part(model, (component,))
        ids = _ids(num_seq, call.context)
        (name,) = part.names
        weights = part.weights(name)
        draw_bytes = sum(t.numel() * t.element_size() for t in weights.values())
        together = draws_at_once(call.rows, num_seq * call.context, draw_bytes)
        counted = min(num_draws or NUM_REPEATS * together, NUM_REPEATS * together)
        wanted = [DrawSlice(0, name, slice(0, counted))]
        fit = _top_k(call.size, part.names, list_size) if list_size else None
        scoring = Scoring(budget=RowBudget(rows=call.rows), top_k=fit)

        def score() -> None:
            for _ in pack_losses(part, ids, {0: _Draws(weights)}, wanted, scoring):
                pass

        return _peak(score)


@cache
def clean_bytes(call: CallShape, num_seq: int) -> int:
    """Peak of ℓ(w*) of n sequences."""
    size = call.size
    if not size.is_universal:
        size = replace(size, num_layers=min(size.num_layers, 1 + NUM_REPEATS))
    with _model_of(replace(call, size=size)) as model, torch.no_grad():
        ids = _ids(num_seq, call.context)
        return _peak(lambda: model.clean_losses(ids))


@cache
def step_bytes(
    call: CallShape,
    components: tuple[Component, ...],
    sampler: Hashable,
    num_seq: int,
    num_chains: int = 1,
) -> int:
    """Peak of one step of some components of a group, each in so many chains, states included.

    Gradients of n sequences of each chain in micro-batches of `call.rows`, then the update by
    `sampler` (a `Stepper` or `Mala`), whose old and new states are there together.
    """
    rows_of_one = call.context * len(components)
    sequences = call.rows // rows_of_one
    micro_batch = max(1, sequences // min(num_chains, max(1, sequences)))
    num_counted = min(num_seq, NUM_REPEATS * micro_batch)
    rule = cast(Stepper | Mala, sampler)
    with _model_of(call) as model:
        part = _part(model, components)
        ids = _ids(num_chains * num_counted, call.context).view(num_chains, num_counted, -1)
        rules = dict.fromkeys(part.names, rule)

        def step() -> None:
            states = {
                name: {
                    chain: start(rule, part.weights(name), name, chain, _NONE)
                    for chain in range(num_chains)
                }
                for name in part.names
            }
            advance(
                part, rules, states, ids, 0, _NONE,
                adjusted=dict.fromkeys(part.names, True), budget=RowBudget(rows=call.rows),
            )  # fmt: skip

        return _peak(step)


def state_bytes(call: CallShape, component: Component, sampler: Stepper | Mala) -> int:
    """State of one chain of one component between two steps."""
    with _model_of(call) as model:
        part = _part(model, (component,))
        (name,) = part.names
        state = start(sampler, part.weights(name), name, 0, _NONE)
    kept = [blocks for blocks in vars(state).values() if isinstance(blocks, dict)]
    return sum(t.numel() * t.element_size() for blocks in kept for t in blocks.values())


def _shortened(call: CallShape, component: Component, *, has_lists: bool) -> CallShape:
    """Without layers and vocabulary that change no peak of a pass without gradients.

    The vocabulary acts by the block of logits alone, but on lists and on what has its size.
    """
    size = call.size
    if component.kind in (ComponentKind.FULL, ComponentKind.DEFINED) or size.is_universal:
        return call
    num_layers = min(size.num_layers, (component.layer or 0) + 1 + NUM_REPEATS)
    vocab_size = size.vocab_size
    if component.layer is not None and not has_lists:
        _, columns = BLOCK.get(call.device_type, BLOCK["cuda"])
        vocab_size = min(vocab_size, NUM_REPEATS * columns)
    return replace(call, size=replace(size, num_layers=num_layers, vocab_size=vocab_size))


def _peak(call: Callable[[], object]) -> int:
    live = LiveBytes()
    with torch.device(META), FusedAttention(), WholeSequences(), live:
        call()
    return live.peak


@contextmanager
def _model_of(call: CallShape) -> Iterator[Engine]:
    """The model without values, whose products are rounded as the run's, on a device's blocks."""
    BLOCK[META] = BLOCK.get(call.device_type, BLOCK["cuda"])
    LOSS_CHUNK[META] = LOSS_CHUNK.get(call.device_type, LOSS_CHUNK["cuda"])
    if call.device_type in SLICE:
        SLICE[META] = SLICE[call.device_type]
    try:
        yield _weightless(call.size, call.precision)
    finally:
        for sizes in (BLOCK, LOSS_CHUNK, SLICE):
            sizes.pop(META, None)


@cache
def _weightless(size: ModelSize, precision: str) -> Engine:
    with torch.device(META):
        plain = weightless_model(size)
        dtype = torch.float64 if precision == "float64" else torch.float32
        if isinstance(plain, UniversalModel):
            refuse_rounded(size.family, Precision(precision))
            return plain
        params = {name: tensor.to(dtype) for name, tensor in plain.params.items()}
        products = Precision.FLOAT32 if precision == "float64" else Precision(precision)
        model = type(plain).of_parts(size, params, plain.unembed_name, products)
        for name in params:  # resident copies are no part of a call
            model.operand(name)
    return model


def _part(model: Engine, components: tuple[Component, ...]) -> GroupModel[Any]:
    if components[0].kind is ComponentKind.DEFINED:  # at most what all weights take
        components = (FULL,)
    group = Group(name=components[0].group, components=components)
    return group_model(model, group)


def _ids(num_seq: int, num_pos: int) -> Tensor:
    return torch.zeros((num_seq, num_pos + 1), dtype=torch.int64, device=META)


def _top_k(size: ModelSize, names: Sequence[str], list_size: int) -> TopKFit:
    width = size.hidden_size
    covariance = torch.empty(width, width, device=META)
    return TopKFit(size=list_size, covariance_DD=covariance, components=frozenset(names))


@dataclass(frozen=True)
class _Draws:
    """`GaussianDraws` that holds as much at once, without a call for each draw."""

    weights: Mapping[str, Tensor]

    def read(self, component: str, draws: slice) -> Blocks:
        noise = {block: torch.empty_like(tensor) for block, tensor in self.weights.items()}
        num_draws = draws.stop - draws.start
        single = {block: _stack(tensor, num_draws) for block, tensor in noise.items()}
        return {block: torch.empty_like(tensors) for block, tensors in single.items()}


def _stack(like: Tensor, number: int) -> Tensor:
    return torch.empty((number, *like.shape), dtype=like.dtype, device=META)


class _NoValues:
    """`Randomness` on the meta device."""

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {name: torch.empty_like(tensor) for name, tensor in like.items()}

    def uniform(self, component: str, chain: int, step: int) -> float:
        return 0.5

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, dtype=torch.int64, device=META)

    def vocabulary_shift(self, chain: int, step: int, index: int) -> float:
        return 0.5


_NONE = _NoValues()
