"""One step of several chains of several components, each on a separate posterior.

All chains and components share one forward and backward pass (`gradients.py`); the update rule
then moves each by itself. The step of `mala` also accepts or rejects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.sampling.gradients import VocabularySample, minibatch_gradients
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala, MalaState
from spectro.sampling.samplers import ChainState, Stepper

States = dict[str, dict[int, ChainState]]
"""Component → chain → its state."""
START = -1
"""Step number of the noise that a `mala` chain starts from."""


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """Loss and acceptance of one step of one chain of one component."""

    loss: Tensor
    """L of the state, nats: of `mala` after accepting or rejecting, else before the step."""
    acceptance: Tensor | None
    """Probability with which `mala` accepted; None for other rules."""


def start(
    sampler: Stepper | Mala,
    weights: Mapping[str, Tensor],
    component: str,
    chain: int,
    randomness: Randomness,
) -> ChainState:
    """A chain before its first step: at w*, or for `mala` about to look at a Gaussian draw."""
    if isinstance(sampler, Mala):
        return sampler.start(randomness.noise(component, chain, START, weights))
    return sampler.init(weights)


def advance(
    part: GroupModel[Any],
    samplers: Mapping[str, Stepper | Mala],
    states: States,
    ids_CBT1: Tensor,
    step: int,
    randomness: Randomness,
    *,
    adjusted: Mapping[str, bool],
    budget: RowBudget | None = None,
    sample: VocabularySample | None = None,
) -> tuple[States, dict[str, dict[int, StepInfo]]]:
    """Move every chain of every component by one step.

    Args:
        part: the group.
        samplers: component → update rule.
        states: all components have the same chains.
        ids_CBT1: int64 [C, B, T+1], what each chain sees; of `mala` the evaluation set.
        step: number of the step, a part of the keys of its noise.
        randomness: where noise comes from.
        adjusted: component → whether `mala` steps are corrected; see `Mala.step`.
        budget: rows at once where gradients are.
        sample: next tokens from which gradients are estimated; `mala` steps have none.
    """
    where = {name: [state.evaluated for state in own.values()] for name, own in states.items()}
    losses, gradients = minibatch_gradients(part, where, ids_CBT1, budget, sample)
    moved: States = {name: {} for name in states}
    found: dict[str, dict[int, StepInfo]] = {name: {} for name in states}
    for name, own in states.items():
        sampler = samplers[name]
        for index, (chain, state) in enumerate(own.items()):
            loss = losses[name][index]
            gradient = {block: g[index] for block, g in gradients[name].items()}
            noise = randomness.noise(name, chain, step, state.displacement)
            if isinstance(sampler, Mala):
                assert isinstance(state, MalaState)
                uniform = randomness.uniform(name, chain, step)
                new, acceptance = sampler.step(
                    state, loss, gradient, noise, uniform, adjusted=adjusted[name]
                )
                moved[name][chain] = new
                found[name][chain] = StepInfo(loss=new.loss, acceptance=acceptance)
            else:
                moved[name][chain] = sampler.step(state, gradient, noise)
                found[name][chain] = StepInfo(loss=loss, acceptance=None)
    return moved, found
