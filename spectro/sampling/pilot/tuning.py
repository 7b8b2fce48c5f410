"""The step of Metropolis-adjusted chains, and the moments of a posterior along such chains.

Both belong to the pilot and use separate chain numbers, so that nothing that is decided here
rests on the draws that are measured.

Shapes: E evaluation sequences, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.effective_sample_size import ess_of_trace
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala, steps_to_decorrelate, tuned
from spectro.sampling.pilot.importance_weights import deviation_error
from spectro.sampling.pilot.passes import Pass, Passes
from spectro.sampling.pilot.pilot_sizes import MIN_START_STEPS, NUM_TRIAL_STEPS
from spectro.sampling.pilot.traced_chains import TracedChains
from spectro.sampling.samplers import zeros_like

FloatArray = npt.NDArray[np.float64]
MIN_ACCEPTANCE = 0.5
"""Below, the step is halved; MALA mixes best near 0.57 (Roberts & Rosenthal 1998)."""
MAX_HALVINGS = 9
"""ρ then is 0.997 from 0.2: a chain whose draws are hundreds of steps apart."""
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
    passes: Passes | None = None,
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
        passes: of the pilot; the trial of each step is one.
    """
    passes = passes or Passes()
    found: dict[str, Tuned] = {}
    rho, waiting, num_steps = sampler.rho, list(names), 0
    for trial in range(MAX_HALVINGS + 1):
        if not waiting or (max_steps is not None and num_steps >= max_steps):
            break
        num_start = max(MIN_START_STEPS, steps_to_decorrelate(rho, 1.0, FORGOTTEN))
        total = num_start + 1 + NUM_FIRST_STEPS + NUM_TRIAL_STEPS

        def tried(
            own: Pass,
            samplers: Mapping[str, Mala] = dict.fromkeys(waiting, tuned(sampler, rho)),
            start: int = num_start,
            most: int = total,
        ) -> Checkpoint:
            run = TracedChains(
                part, samplers, [TUNING_CHAIN], evaluation_ids, randomness, budget,
                own=own, num_steps=most,
            )  # fmt: skip
            return _acceptance(run, start)

        values = passes.run(f"tuning-{trial}", stepping_work(waiting, total), tried).values
        num_steps += values["num_steps"]
        for name in waiting:
            acceptance = values["acceptance"][name]
            found[name] = Tuned(rho=rho, acceptance=acceptance, num_steps=num_steps)
        waiting = [name for name in waiting if not found[name].works]
        rho = math.sqrt(rho)
    return found


def _acceptance(run: TracedChains, num_start: int) -> Checkpoint:
    """Mean acceptance of every component once the chains have left the Gaussian."""
    run.step(num_start, adjusted=False)
    run.step(1)  # the proposal of the last uncorrected step
    mean = run.step(NUM_FIRST_STEPS).mean_acceptance
    if max(mean.values()) >= HOPELESS:
        mean = run.step(NUM_TRIAL_STEPS).mean_acceptance
    return Checkpoint(values={"acceptance": mean, "num_steps": run.num_steps})


def reference(
    part: GroupModel[Any],
    sampler: Mala,
    found: Mapping[str, Tuned],
    evaluation_ids: Tensor,
    randomness: Randomness,
    budget: RowBudget | None,
    *,
    max_steps: int,
    passes: Passes | None = None,
) -> tuple[dict[str, Reference | None], int]:
    """Moments of ΔL of every component whose step could be tuned; None where chains do not mix.

    Args:
        part: the group.
        sampler: its γ and nβ.
        found: what `tune` found.
        evaluation_ids, randomness, budget: see `tune`.
        max_steps: gradients of tuning, burn-in and both chains together.
        passes: of the pilot; the chains are one.

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
    total = 2 * burnin + num_steps

    def traced(own: Pass) -> Checkpoint:
        run = TracedChains(
            part, samplers, REFERENCE_CHAINS, evaluation_ids, randomness, budget,
            own=own, num_steps=total,
        )  # fmt: skip
        run.step(burnin, adjusted=False)
        run.step(burnin)
        loss = run.step(num_steps).loss
        at_rest = {name: [zeros_like(part.weights(name))] for name in samplers}
        clean, _ = minibatch_gradients(part, at_rest, evaluation_ids[None], budget)
        known = {n: _moments(loss[n] - float(clean[n][0].double())) for n in samplers}
        return Checkpoint(values={n: own and asdict(own) for n, own in known.items()})

    work = stepping_work(samplers, len(REFERENCE_CHAINS) * total)
    values = (passes or Passes()).run("reference", work, traced).values
    result |= {name: own and Reference(**own) for name, own in values.items()}
    return result, len(REFERENCE_CHAINS) * total + 1


def stepping_work(names: Collection[str], num_steps: int) -> float:
    """Steps of some components in forward passes: a gradient takes two more."""
    return 3.0 * len(names) * num_steps


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
