"""One chain of one group: steps, draws, and ΔL of every draw (design §2, §4).

All components of a group step together on the chain's minibatch, each on a posterior of its
own: one prefix and one suffix pass serve them all. Steps are numbered from 0; draw t is the
state after step  num_burnin_steps + t · steps_between_draws  (as in devinterp), and the chain
ends with its last draw. A chain never looks at the tokens that are measured.

Shapes: M sampling sequences, E evaluation sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import Group
from spectro.models.delta import delta_losses, sequence_batches
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.sampling.keys import KeyedRandomness, Randomness
from spectro.sampling.samplers import Blocks, ChainState, Sampler

Draws = dict[str, Blocks]
"""Component → block → displacement from w* of every draw, [num_draws, *block shape]."""
FloatArray = npt.NDArray[np.float64]


class NonFiniteLossError(ValueError):
    """A chain's loss is not a number any more; its draws must not be used."""


@dataclass(frozen=True, kw_only=True)
class ChainConfig:
    """How long chains run and what they see."""

    num_chains: int = 4
    """Independent chains per component; ≥ 1. Reliability and standard errors need 2."""
    num_draws: int = 100
    """Draws per chain; ≥ 1."""
    steps_between_draws: int = 1
    """Steps from one draw to the next; ≥ 1."""
    num_burnin_steps: int = 0
    """Steps before the first draw's step; ≥ 0."""
    batch_size: int = 16
    """Sequences per minibatch; ≥ 1."""

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_draws", "steps_between_draws", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"chain.{name} must be at least 1, found {getattr(self, name)}")
        if self.num_burnin_steps < 0:
            raise ValueError(
                f"chain.num_burnin_steps must be at least 0, found {self.num_burnin_steps}"
            )

    def draw_of_step(self, step: int) -> int | None:
        """Index of the draw taken after a step, or None."""
        since = step - self.num_burnin_steps
        if since < 0 or since % self.steps_between_draws:
            return None
        return since // self.steps_between_draws

    def num_steps(self, sampler: Sampler) -> int:
        """Steps of one chain; a sampler without gradient draws independently, one step each."""
        if not sampler.needs_gradient:
            return self.num_draws
        return self.num_burnin_steps + (self.num_draws - 1) * self.steps_between_draws + 1


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """What a chain leaves behind."""

    draws: Draws
    """Displacements δ of every draw, by component and block."""
    delta_loss: dict[str, FloatArray]
    """Component → ΔL(t) = L(w_t) − L(w*) on the evaluation set, nats, [num_draws]."""
    step_loss: dict[str, FloatArray]
    """Component → minibatch loss before each step, nats, [num_steps]; empty without gradient."""
    squared_displacement: dict[str, FloatArray]
    """Component → ‖δ‖² at each draw, [num_draws]; γ·‖δ‖²/size is 1 at nβ = 0."""


def run_chain(
    model: GPTNeoX,
    group: Group,
    sampler: Sampler,
    config: ChainConfig,
    sampling_ids: Tensor,
    evaluation_ids: Tensor,
    *,
    chain: int,
    seed: int,
    randomness: Randomness | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> ChainResult:
    """Run one chain of a group's components: `run_group_chain` on the group of a GPT-NeoX model."""
    return run_group_chain(
        group_model(model, group),
        sampler,
        config,
        sampling_ids,
        evaluation_ids,
        chain=chain,
        randomness=randomness or KeyedRandomness(seed=seed),
        on_step=on_step,
    )


def run_group_chain(
    part: GroupModel[Any],
    sampler: Sampler,
    config: ChainConfig,
    sampling_ids: Tensor,
    evaluation_ids: Tensor,
    *,
    chain: int,
    randomness: Randomness,
    on_step: Callable[[int, int], None] | None = None,
) -> ChainResult:
    """Run one chain of a group's components.

    Args:
        part: the group's forward passes, of any architecture.
        sampler: update rule.
        config: length and minibatch size.
        sampling_ids: int64 [M, T+1], sequences of the sampling distribution for minibatches.
        evaluation_ids: int64 [E, T+1], the fixed sequences on which ΔL is taken.
        chain: index of the chain.
        randomness: where noise and minibatches come from.
        on_step: called with (steps done, steps in all).

    Raises:
        NonFiniteLossError: the loss of a component is infinite or not a number.
        ValueError: the sampling set has fewer sequences than a minibatch.
    """
    states = {name: sampler.init(part.weights(name)) for name in part.names}
    recorder = _Recorder(states, config)
    num_steps = config.num_steps(sampler)
    for step in range(num_steps):
        gradients: dict[str, Blocks] = {name: {} for name in part.names}
        if sampler.needs_gradient:
            chosen = randomness.minibatch(chain, step, len(sampling_ids), config.batch_size)
            losses, gradients = _gradients(
                part, states, sampling_ids[chosen.to(sampling_ids.device)]
            )
            recorder.losses(losses, chain, step)
        for name, state in states.items():
            noise = randomness.noise(name, chain, step, state.displacement)
            states[name], info = sampler.step(state, gradients[name], noise)
            draw = config.draw_of_step(step) if sampler.needs_gradient else step
            recorder.draw(name, draw, states[name], info.squared_displacement)
        if on_step is not None:
            on_step(step + 1, num_steps)
    delta_loss = _evaluate(part, recorder.draws, evaluation_ids)
    _require_finite(delta_loss, chain)
    return ChainResult(
        draws=recorder.draws,
        delta_loss=delta_loss,
        step_loss={name: np.array(trace) for name, trace in recorder.step_loss.items()},
        squared_displacement=recorder.squared_displacement,
    )


def _gradients(
    part: GroupModel[Any], states: Mapping[str, ChainState], ids_BT1: Tensor
) -> tuple[dict[str, float], dict[str, Blocks]]:
    """Minibatch loss of every component, and its gradient in that component's weights alone."""
    with torch.no_grad():
        clean = part.prepare(ids_BT1)
    displaced = {
        name: {
            block: (weight + states[name].displacement[block])[None].requires_grad_()
            for block, weight in part.weights(name).items()
        }
        for name in part.names
    }
    means = {name: loss.mean() for name, loss in part.losses(clean, displaced).items()}
    leaves = [tensor for blocks in displaced.values() for tensor in blocks.values()]
    found = iter(torch.autograd.grad(torch.stack(list(means.values())).sum(), leaves))
    gradients = {
        name: {block: next(found)[0] for block in blocks} for name, blocks in displaced.items()
    }
    return {name: float(mean.detach()) for name, mean in means.items()}, gradients


def _evaluate(part: GroupModel[Any], draws: Draws, evaluation_ids: Tensor) -> dict[str, FloatArray]:
    """ΔL(t): mean Δℓ over the evaluation set, for every draw; summed in float64."""
    num_tokens = evaluation_ids[:, 1:].numel()
    totals = {name: np.zeros(len(next(iter(blocks.values())))) for name, blocks in draws.items()}
    for batch in sequence_batches(evaluation_ids):
        for name, _, chosen, delta_RBT in delta_losses(part, evaluation_ids[batch], {0: draws}):
            totals[name][chosen] += delta_RBT.double().sum(dim=(1, 2)).cpu().numpy()
    return {name: total / num_tokens for name, total in totals.items()}


class _Recorder:
    """Collects draws and traces; allocated once, written in place."""

    def __init__(self, states: Mapping[str, ChainState], config: ChainConfig) -> None:
        self.draws: Draws = {
            name: {
                block: delta.new_empty((config.num_draws, *delta.shape))
                for block, delta in state.displacement.items()
            }
            for name, state in states.items()
        }
        self.step_loss: dict[str, list[float]] = {name: [] for name in states}
        self.squared_displacement = {name: np.zeros(config.num_draws) for name in states}

    def losses(self, losses: Mapping[str, float], chain: int, step: int) -> None:
        for name, loss in losses.items():
            if not np.isfinite(loss):
                raise NonFiniteLossError(
                    f"component {name}, chain {chain}, step {step}: the loss is {loss}; the "
                    "chain was stopped and nothing of it is kept. Lower sampler.step_size or "
                    "nbeta, or raise gamma"
                )
            self.step_loss[name].append(loss)

    def draw(self, name: str, draw: int | None, state: ChainState, squared: float) -> None:
        if draw is None:
            return
        for block, delta in state.displacement.items():
            self.draws[name][block][draw] = delta
        self.squared_displacement[name][draw] = squared


def _require_finite(delta_loss: Mapping[str, FloatArray], chain: int) -> None:
    for name, values in delta_loss.items():
        if not np.isfinite(values).all():
            draw = int(np.flatnonzero(~np.isfinite(values))[0])
            raise NonFiniteLossError(
                f"component {name}, chain {chain}, draw {draw}: the loss on the evaluation set is "
                f"{values[draw]}; nothing of this chain is kept. Lower sampler.step_size or nbeta, "
                "or raise gamma"
            )
