"""The step of Metropolis-adjusted chains, and the moments of a posterior along such chains.

Both belong to the pilot and use separate chain numbers, so that nothing that is decided here
rests on the draws that are measured.

Shapes: E evaluation sequences, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.sampling.advance import States, advance, start
from spectro.sampling.component_trace import numbers
from spectro.sampling.effective_sample_size import ess_of_trace
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala, steps_to_decorrelate, tuned
from spectro.sampling.pilot.importance_weights import deviation_error
from spectro.sampling.samplers import zeros_like

FloatArray = npt.NDArray[np.float64]
MIN_ACCEPTANCE = 0.5
"""Below, the step is halved; MALA mixes best near 0.57 (Roberts & Rosenthal 1998)."""
MAX_HALVINGS = 9
"""ρ then is 0.997 from 0.2: a chain whose draws are hundreds of steps apart."""
MIN_START_STEPS = 8
"""Steps on the way from the Gaussian into the posterior, at least."""
NUM_TRIAL_STEPS = 16
"""Metropolis steps whose mean acceptance is taken, after decorrelation from the start."""
NUM_FIRST_STEPS, HOPELESS = 4, 0.1
"""A trial ends after its first steps where no component has this acceptance."""
FORGOTTEN = 0.1
"""Correlation with the start at which it counts as decorrelated."""
TUNING_CHAIN, REFERENCE_CHAINS = -2, (-3, -4)
"""Chain numbers of their noise; the pilot's is −1."""
NUM_REFERENCE_STEPS, MIN_REFERENCE_STEPS = 256, 48
"""Steps of each reference chain after burn-in, at most and at least."""
MIN_REFERENCE_ESS = 20.0
"""Effective sample size of both reference chains below which their mean is not used."""
MAX_REFERENCE_RHAT = 1.1
"""R̂ above which the two reference chains do not sample the same law."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The step of one component."""

    rho: float
    """ρ of the largest step of which at least half are accepted; the smallest tried if none is."""
    acceptance: float
    """Mean acceptance probability at it."""
    num_steps: int
    """Gradients that finding it took."""

    @property
    def works(self) -> bool:
        """Whether enough proposals are accepted."""
        return self.acceptance >= MIN_ACCEPTANCE


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Moments of ΔL along Metropolis-adjusted chains, nats."""

    mean: float
    """E[ΔL] of the posterior."""
    error: float
    """Its Monte-Carlo standard error."""
    deviation: float
    """Standard deviation of ΔL under the posterior."""
    deviation_error: float
    """Its Monte-Carlo standard error."""


def tune(
    part: GroupModel[Any],
    sampler: Mala,
    names: Sequence[str],
    evaluation_ids: Tensor,
    randomness: Randomness,
    budget: RowBudget | None,
    *,
    max_steps: int | None = None,
    on_step: Callable[[], None] | None = None,
) -> dict[str, Tuned]:
    """Halve the step of each component until enough proposals are accepted.

    Args:
        part: the group.
        sampler: its γ, nβ and the first ρ.
        names: the components.
        evaluation_ids: int64 [E, T+1].
        randomness: where noise comes from.
        budget: rows at once where gradients are.
        max_steps: no further step is tried after so many gradients; None: no limit.
        on_step: called after every gradient step.
    """
    found: dict[str, Tuned] = {}
    rho, waiting, num_steps = sampler.rho, list(names), 0
    for _ in range(MAX_HALVINGS + 1):
        if not waiting or (max_steps is not None and num_steps >= max_steps):
            break
        steps = steps_to_decorrelate(rho, 1.0, FORGOTTEN)
        run = _Chains(
            part, dict.fromkeys(waiting, tuned(sampler, rho)), evaluation_ids, randomness, on_step
        )
        run.step(max(MIN_START_STEPS, steps), [TUNING_CHAIN], budget, adjusted=False)
        run.step(1, [TUNING_CHAIN], budget)  # the proposal of the last uncorrected step
        mean = run.step(NUM_FIRST_STEPS, [TUNING_CHAIN], budget).mean_acceptance
        if max(mean.values()) >= HOPELESS:
            mean = run.step(NUM_TRIAL_STEPS, [TUNING_CHAIN], budget).mean_acceptance
        num_steps += run.num_steps
        for name in waiting:
            found[name] = Tuned(rho=rho, acceptance=mean[name], num_steps=num_steps)
        waiting = [name for name in waiting if not found[name].works]
        rho = math.sqrt(rho)
    return found


def reference(
    part: GroupModel[Any],
    sampler: Mala,
    found: Mapping[str, Tuned],
    evaluation_ids: Tensor,
    randomness: Randomness,
    budget: RowBudget | None,
    *,
    max_steps: int,
    on_step: Callable[[], None] | None = None,
) -> tuple[dict[str, Reference | None], int]:
    """Moments of ΔL of every component whose step could be tuned; None where chains do not mix.

    Args:
        part: the group.
        sampler: its γ and nβ.
        found: what `tune` found.
        evaluation_ids, randomness, budget: see `tune`.
        max_steps: gradients of tuning, burn-in and both chains together.
        on_step: called after every gradient step.

    Returns them and the gradients that each took.
    """
    samplers = {name: tuned(sampler, each.rho) for name, each in found.items() if each.works}
    result: dict[str, Reference | None] = dict.fromkeys(found)
    if not samplers:
        return result, 0
    burnin = max(
        steps_to_decorrelate(s.rho, found[n].acceptance, FORGOTTEN) for n, s in samplers.items()
    )
    left = max_steps - max(each.num_steps for each in found.values())
    num_steps = min(NUM_REFERENCE_STEPS, left // len(REFERENCE_CHAINS) - 2 * burnin)
    if num_steps < MIN_REFERENCE_STEPS:
        return result, 0
    run = _Chains(part, samplers, evaluation_ids, randomness, on_step)
    run.step(burnin, REFERENCE_CHAINS, budget, adjusted=False)
    run.step(burnin, REFERENCE_CHAINS, budget)
    traces = run.step(num_steps, REFERENCE_CHAINS, budget).loss
    at_rest = {name: [zeros_like(part.weights(name))] for name in samplers}
    clean, _ = minibatch_gradients(part, at_rest, evaluation_ids[None], budget)
    for name in samplers:
        trace = traces[name] - float(clean[name][0].double())
        result[name] = _moments(trace)
    return result, len(REFERENCE_CHAINS) * run.num_steps + 1


def _moments(trace_CS: FloatArray) -> Reference | None:
    """Of the traces of both chains; None where they do not agree or repeat themselves too much."""
    if not np.isfinite(trace_CS).all():
        return None
    size = sum(ess_of_trace(trace) for trace in trace_CS)
    within = float(trace_CS.var(axis=1, ddof=1).mean())
    between = float(trace_CS.mean(axis=1).var(ddof=1))
    if size < MIN_REFERENCE_ESS or within <= 0:
        return None
    if math.sqrt(1 + between / within) > MAX_REFERENCE_RHAT:
        return None
    return Reference(
        mean=float(trace_CS.mean()),
        error=math.sqrt(max(within / size, between / len(trace_CS))),
        deviation=math.sqrt(within),
        deviation_error=deviation_error(trace_CS, size),
    )


@dataclass(frozen=True, kw_only=True)
class _Traces:
    """What some steps reported, component → [C, S]."""

    loss: dict[str, FloatArray]
    acceptance: dict[str, FloatArray]

    @property
    def mean_acceptance(self) -> dict[str, float]:
        """By component."""
        return {name: float(own.mean()) for name, own in self.acceptance.items()}


class _Chains:
    """Chains of some components on the evaluation set, whose states are not kept."""

    def __init__(
        self,
        part: GroupModel[Any],
        samplers: Mapping[str, Mala],
        evaluation_ids: Tensor,
        randomness: Randomness,
        on_step: Callable[[], None] | None,
    ) -> None:
        self._part, self._samplers, self._randomness = part, samplers, randomness
        self._on_step = on_step
        self._ids = evaluation_ids
        self._states: States = {}
        self.num_steps = 0

    def step(
        self,
        num_steps: int,
        chains: Sequence[int],
        budget: RowBudget | None,
        *,
        adjusted: bool = True,
    ) -> _Traces:
        """Take steps; the first ever starts the chains."""
        if not self._states:
            self._states = {
                name: {
                    c: start(s, self._part.weights(name), name, c, self._randomness) for c in chains
                }
                for name, s in self._samplers.items()
            }
        ids_CET1 = self._ids.expand(len(chains), *self._ids.shape)
        loss: dict[str, list[list[Tensor]]] = {n: [[] for _ in chains] for n in self._samplers}
        accepted: dict[str, list[list[Tensor]]] = {n: [[] for _ in chains] for n in self._samplers}
        for _ in range(num_steps):
            self._states, moved = advance(
                self._part,
                self._samplers,
                self._states,
                ids_CET1,
                self.num_steps,
                self._randomness,
                adjusted=dict.fromkeys(self._samplers, adjusted),
                budget=budget,
            )
            self.num_steps += 1
            if self._on_step is not None:
                self._on_step()
            for name, own in moved.items():
                for row, each in enumerate(own.values()):
                    assert each.acceptance is not None
                    loss[name][row].append(each.loss)
                    accepted[name][row].append(each.acceptance)
        return _Traces(loss=_arrays(loss), acceptance=_arrays(accepted))


def _arrays(traces: Mapping[str, list[list[Tensor]]]) -> dict[str, FloatArray]:
    """Fetched from the device together."""
    return {name: np.stack([numbers(row) for row in rows]) for name, rows in traces.items()}
