"""Gradients of minibatches: every component of every chain, each on a separate posterior.

Chains that step together are the paired variants of `GroupModel.losses`: the minibatches of all
chains go through prefix and suffix as one batch, and only a component's own products are taken
chain by chain.

Shapes: C chains, B sequences of each chain's minibatch, T positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget, fit
from spectro.models.sampled_softmax import SampledSoftmax
from spectro.sampling.samplers import Blocks

Displacements = Mapping[str, Sequence[Blocks]]
"""Component → chain → block → displacement from w*."""
Gradients = tuple[dict[str, Tensor], dict[str, Blocks]]
"""Component → loss of every chain [C]; component → block → gradient of every chain [C, *shape]."""


@dataclass(frozen=True)
class VocabularySample:
    """Where losses of a step are estimated from a sample of the vocabulary."""

    softmax: SampledSoftmax
    shifts_CB: Sequence[Sequence[float]]
    """The u of every chain's every sequence."""

    def part(self, chains: slice, sequences: slice) -> VocabularySample:
        """Of some chains and sequences."""
        return VocabularySample(self.softmax, [own[sequences] for own in self.shifts_CB[chains]])


def minibatch_gradients(
    part: GroupModel[Any],
    displacements: Displacements,
    ids_CBT1: Tensor,
    budget: RowBudget | None = None,
    sample: VocabularySample | None = None,
) -> Gradients:
    """Mean loss of each chain's minibatch under each component's displacement, and its gradient.

    The gradient is in that component's weights of that chain alone. Where all of it together does
    not fit the budget, sequences are taken in micro-batches, the same number of each chain, and
    their gradients added up; chains are taken apart only where one sequence of each is too much.

    Args:
        part: the group.
        displacements: where each chain of each component is; all have the same chains.
        ids_CBT1: int64 [C, B, T+1], the chains' minibatches.
        budget: rows (positions × components × chains) at once; all of them if None.
        sample: loss and gradient are estimates from these next tokens; None: they are exact.
    """
    if budget is None:
        return _micro_batch_gradients(part, displacements, ids_CBT1, sample)
    return fit(
        budget, lambda: _accumulated_gradients(part, displacements, ids_CBT1, budget.rows, sample)
    )


def _accumulated_gradients(
    part: GroupModel[Any],
    displacements: Displacements,
    ids_CBT1: Tensor,
    rows: int,
    sample: VocabularySample | None,
) -> Gradients:
    num_chains, _, length = ids_CBT1.shape
    sequences = rows // ((length - 1) * len(displacements))
    together = min(num_chains, max(1, sequences))
    found = [
        _sum_of_micro_batches(
            part,
            {name: own[start : start + together] for name, own in displacements.items()},
            ids_CBT1[start : start + together],
            max(1, sequences // together),
            sample and sample.part(slice(start, start + together), slice(None)),
        )
        for start in range(0, num_chains, together)
    ]
    if len(found) == 1:
        return found[0]
    losses = {name: torch.cat([own[name] for own, _ in found]) for name in displacements}
    gradients = {
        name: {b: torch.cat([own[name][b] for _, own in found]) for b in found[0][1][name]}
        for name in displacements
    }
    return losses, gradients


def _sum_of_micro_batches(
    part: GroupModel[Any],
    displacements: Displacements,
    ids_CBT1: Tensor,
    size: int,
    sample: VocabularySample | None,
) -> Gradients:
    """Sum over micro-batches of `size` sequences of each chain."""
    num_seq = ids_CBT1.shape[1]
    if size >= num_seq:
        return _micro_batch_gradients(part, displacements, ids_CBT1, sample)
    losses: dict[str, Tensor] = {}
    gradients: dict[str, Blocks] = {}
    for start in range(0, num_seq, size):
        micro_batch = ids_CBT1[:, start : start + size]
        share = micro_batch.shape[1] / num_seq
        micro_losses, micro_gradients = _micro_batch_gradients(
            part,
            displacements,
            micro_batch,
            sample and sample.part(slice(None), slice(start, start + size)),
        )
        for name, loss in micro_losses.items():
            losses[name] = losses[name] + share * loss if start else share * loss
            gradients[name] = {
                block: gradients[name][block].add_(gradient, alpha=share)
                if start
                else gradient * share
                for block, gradient in micro_gradients[name].items()
            }
    return losses, gradients


def _micro_batch_gradients(
    part: GroupModel[Any],
    displacements: Displacements,
    ids_CBT1: Tensor,
    sample: VocabularySample | None,
) -> Gradients:
    with torch.no_grad():
        ids_BT1, sampled = ids_CBT1.flatten(0, 1), None
        if sample is not None:
            shifts = [shift for own in sample.shifts_CB for shift in own]
            sampled = sample.softmax.batch(ids_BT1, shifts)
        clean = part.prepare(ids_BT1, sampled=sampled)
    displaced = {
        name: {
            block: _displaced(weight, [blocks[block] for blocks in own]).requires_grad_()
            for block, weight in part.weights(name).items()
        }
        for name, own in displacements.items()
    }
    means = {
        name: loss_CBT.mean(dim=(1, 2))
        for name, loss_CBT in part.losses(clean, displaced, paired=True).items()
    }
    leaves = [tensor for blocks in displaced.values() for tensor in blocks.values()]
    found = iter(torch.autograd.grad(torch.stack(list(means.values())).sum(), leaves))
    gradients = {name: {block: next(found) for block in own} for name, own in displaced.items()}
    return {name: mean.detach() for name, mean in means.items()}, gradients


def _displaced(weight: Tensor, deltas: Sequence[Tensor]) -> Tensor:
    """w* + δ of every chain, [C, *shape], written in place: no second copy is joined."""
    found = weight.new_empty(len(deltas), *weight.shape)
    for delta, out in zip(deltas, found, strict=True):
        torch.add(weight, delta, out=out)
    return found
