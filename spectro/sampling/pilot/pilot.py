"""The pilot of a group: moments of every posterior, before anything is measured (design §2).

Independent draws from N(w*, 1/γ) with weights exp(−nβ ΔL) give, of every component,
- the effective fraction of the draws: where it is large enough, `reweighted` needs no chain;
- where at least half of the draws count, E[ΔL] of the posterior with its Monte-Carlo error.
Elsewhere E[ΔL] comes from Metropolis-adjusted chains (`tuning.py`), where they mix; their step is
tuned here too. The difference of another update rule's chains from that E[ΔL] is their sampler bias
(`sampler_bias.py`). The pilot's draws and chains have separate chain numbers and are not used
again: a choice made with the very draws that are measured would bias them.

Shapes: P draws, N evaluation tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.config import ScoringConfig
from spectro.models.cost.budget import CPU_ROWS, RowBudget
from spectro.models.top_k_softmax import TopKFit
from spectro.sampling.checkpoint import Checkpoints
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.damage import DAMAGED, MIN_HEADROOM, damage
from spectro.sampling.pilot.passes import OnShare, Passes
from spectro.sampling.pilot.pilot_draws import PilotDraws
from spectro.sampling.pilot.pilot_sizes import MIN_START_STEPS, NUM_TRIAL_STEPS, num_pilot_draws
from spectro.sampling.pilot.posterior_moments import NUM_DAMAGE_DRAWS, PosteriorMoments, moments_of
from spectro.sampling.pilot.tuning import (
    MIN_REFERENCE_STEPS,
    REFERENCE_CHAINS,
    Tuned,
    reference,
    stepping_work,
    tune,
)
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Gaussian

WITHOUT_TOP_K = ("unembed", "full")
"""Groups that move the output product itself: their losses are always exact."""
UNLIMITED = 10**9
"""Gradients of a pilot that may take as many as it needs."""
GAMMA_FACTOR, NUM_GAMMAS = math.sqrt(10), 8
"""γ is raised by this factor, so often at most, to find one that leaves the model whole."""


def run_pilot(
    part: GroupModel[Any],
    sampler: Sampler,
    evaluation_ids: Tensor,
    randomness: Randomness,
    *,
    budget: RowBudget | None = None,
    stepping: RowBudget | None = None,
    candidate: TopKFit | None = None,
    headroom: float = math.nan,
    config: ChainConfig | None = None,
    known: Mapping[str, PosteriorMoments] | None = None,
    on_progress: OnShare | None = None,
    checkpoints: Checkpoints | None = None,
) -> dict[str, PosteriorMoments]:
    """Moments of every component's exact posterior.

    Args:
        part: the group.
        sampler: its γ and nβ are used.
        evaluation_ids: int64 [E, T+1], the sequences on which ΔL is taken.
        randomness: where noise comes from.
        budget: how much is computed at once.
        stepping: the same where gradients are.
        candidate: top-K softmax, whose error is measured where it can be used.
        headroom: ln V − L(w*) on the evaluation set, nats.
        config: of the chains that will be judged: reference chains take no more gradients than
            they will; a posterior that so few do not give stays unknown. No limit if None.
        known: the pilot of the same draws at another nβ: no draw is evaluated again.
        on_progress: see `Passes`.
        checkpoints: where the pilot resumes, and where its checkpoints go, after any pass of
            draws and any step.

    Raises ValueError, naming the component, where `mala` must step and no step is accepted.
    """
    rows = budget or RowBudget(rows=CPU_ROWS)
    passes = Passes(checkpoints, on_progress)
    draws = PilotDraws(part, evaluation_ids, randomness, rows, passes)
    pilot = _Pilot(part, sampler, evaluation_ids, randomness, draws, passes)
    found = pilot.at_nbeta(known) if known else pilot.measured(candidate, headroom)
    if isinstance(sampler, Gaussian):
        return found
    return found | pilot.with_chains(found, stepping, config)


def independent_components(
    sampler: Sampler, pilot: Mapping[str, PosteriorMoments]
) -> frozenset[str]:
    """Components that are drawn without a chain.

    One whose unweighted draws have no finite mean ΔL is never: it has no center of weights.
    """
    if isinstance(sampler, Gaussian):
        return frozenset(pilot)
    if not isinstance(sampler, Reweighted):
        return frozenset()
    least = sampler.min_effective_fraction
    return frozenset(
        name
        for name, m in pilot.items()
        if m.effective_fraction >= least and math.isfinite(m.prior_delta_loss)
    )


def top_k_components(
    config: ScoringConfig, pilot: Mapping[str, PosteriorMoments]
) -> frozenset[str]:
    """Components whose losses are taken from the top-K softmax: its error is measured and small."""
    limit = config.max_shortlist_error
    return frozenset(name for name, m in pilot.items() if m.shortlist_error <= limit)


@dataclass(frozen=True)
class _Pilot:
    """The pilot of one group."""

    part: GroupModel[Any]
    sampler: Sampler
    evaluation_ids: Tensor
    randomness: Randomness
    draws: PilotDraws
    passes: Passes

    def measured(self, candidate: TopKFit | None, headroom: float) -> dict[str, PosteriorMoments]:
        """Moments of all components from new draws."""
        sampler = self.sampler
        if isinstance(sampler, Mala) and not isinstance(sampler, Reweighted):
            num_steps = MIN_START_STEPS + NUM_TRIAL_STEPS
            self.passes.plan("tuning-0", stepping_work(self.part.names, num_steps))
        num_draws = num_pilot_draws(sampler, listed=candidate is not None)
        top_k = None if self.part.names[0] in WITHOUT_TOP_K else candidate
        losses, errors = self.draws.delta_losses(sampler.gamma, num_draws, top_k)
        found = {
            name: dataclasses.replace(
                moments_of(np.array(own), sampler.nbeta),
                shortlist_error=errors[name],
                headroom=headroom,
                prior_delta_losses=own if isinstance(sampler, Reweighted) else [],
            )
            for name, own in losses.items()
        }
        return self.with_gammas_needed(found)

    def at_nbeta(self, known: Mapping[str, PosteriorMoments]) -> dict[str, PosteriorMoments]:
        """The same from the draws of another nβ's pilot."""
        found = {
            name: dataclasses.replace(
                moments_of(np.array(own.prior_delta_losses), self.sampler.nbeta),
                shortlist_error=own.shortlist_error,
                headroom=own.headroom,
                gamma_needed=own.gamma_needed,
                prior_delta_losses=own.prior_delta_losses,
            )
            for name, own in known.items()
        }
        return self.with_gammas_needed(found)

    def with_gammas_needed(
        self, found: Mapping[str, PosteriorMoments]
    ) -> dict[str, PosteriorMoments]:
        """The same, with the γ that components need where draws damage the model."""
        damaged = [n for n, m in found.items() if _is_damaged(m) and math.isnan(m.gamma_needed)]
        headroom = next(iter(found.values())).headroom
        gammas = self.gammas_needed(damaged, headroom)
        return {
            n: dataclasses.replace(m, gamma_needed=gammas.get(n, m.gamma_needed))
            for n, m in found.items()
        }

    def gammas_needed(self, names: Sequence[str], headroom: float) -> dict[str, float]:
        """Component → the smallest γ tried at which its draws leave the model whole."""
        found: dict[str, float] = {}
        gamma, left = self.sampler.gamma, list(names)
        for index in range(NUM_GAMMAS):
            if not left:
                break
            gamma *= GAMMA_FACTOR
            mean = self.draws.mean_delta_loss(f"gamma-{index}", gamma, left, NUM_DAMAGE_DRAWS)
            whole = [n for n in left if mean[n] < DAMAGED * headroom]
            found |= dict.fromkeys(whole, gamma)
            left = [name for name in left if name not in whole]
        return found

    def with_chains(
        self,
        found: Mapping[str, PosteriorMoments],
        stepping: RowBudget | None,
        config: ChainConfig | None,
    ) -> dict[str, PosteriorMoments]:
        """Moments of the components that step, or whose E[ΔL] the weights do not give."""
        sampler = self.sampler
        assert not isinstance(sampler, Gaussian)
        steps = set(found) - independent_components(sampler, found)
        most = None
        if not isinstance(sampler, Mala):
            steps = {name for name in steps if not found[name].source}
            most = affordable_steps(config, len(self.evaluation_ids))
            if most < len(REFERENCE_CHAINS) * MIN_REFERENCE_STEPS:
                return {}
        mala = (
            sampler if isinstance(sampler, Mala) else Mala(gamma=sampler.gamma, nbeta=sampler.nbeta)
        )
        names = [name for name in found if name in steps]
        shared = (self.evaluation_ids, self.randomness, stepping)
        limit = None if most is None else most // 2
        steps_found = tune(self.part, mala, names, *shared, max_steps=limit, passes=self.passes)
        result = {
            n: dataclasses.replace(
                found[n], rho=t.rho, acceptance=t.acceptance, num_steps=t.num_steps
            )
            for n, t in steps_found.items()
        }
        if isinstance(sampler, Mala):
            _require_steps(sampler, steps_found, found)
            return result
        assert most is not None
        references, num_steps = reference(
            self.part, mala, steps_found, *shared, max_steps=most, passes=self.passes
        )
        for name, own in references.items():
            if steps_found[name].works:
                taken = result[name].num_steps + num_steps
                result[name] = dataclasses.replace(result[name], num_steps=taken)
            if own is not None:
                result[name] = dataclasses.replace(
                    result[name],
                    delta_loss=own.mean,
                    delta_loss_error=own.error,
                    delta_loss_deviation=own.deviation,
                    delta_loss_deviation_error=own.deviation_error,
                    source="metropolis",
                )
        return result


def affordable_steps(config: ChainConfig | None, num_evaluation: int) -> int:
    """Gradients over the evaluation set that cost as much as the chains that they judge."""
    if config is None:
        return UNLIMITED
    between = config.steps_between_draws or 1
    steps = config.num_burnin_steps + (config.num_draws - 1) * between + 1
    return config.num_chains * steps * config.batch_size // num_evaluation


def _require_steps(
    sampler: Mala, found: Mapping[str, Tuned], moments: Mapping[str, PosteriorMoments]
) -> None:
    for name, tuned in found.items():
        if not tuned.works:
            needed = moments[name].gamma_needed
            to = "" if math.isnan(needed) else f", to {needed:.3g}"
            raise ValueError(
                f"component {name}: Metropolis steps are accepted with probability "
                f"{tuned.acceptance:.2f} even where they keep {tuned.rho:.1%} of the displacement, "
                "so that no chain of its posterior can be run without bias: raise sampler.gamma "
                f"({sampler.gamma:g}{to}), lower sampler.nbeta ({sampler.nbeta:g}), or leave it "
                "out (components; `full` with estimator.kind=restricted)"
            )


def _is_damaged(moments: PosteriorMoments) -> bool:
    """Whether draws lose more of what the model has learnt than they may, or are not finite."""
    known = moments.delta_loss if moments.source else moments.prior_delta_loss
    share = damage(known, moments.headroom)
    return not share < DAMAGED and moments.headroom >= MIN_HEADROOM
