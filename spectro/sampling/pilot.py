"""The pilot of a group: moments of every posterior, before anything is measured (design §2).

Independent draws from N(w*, 1/γ) with weights exp(−nβ ΔL) give, of every component,
- the effective fraction of the draws: where it is large enough, `reweighted` needs no chain;
- where at least half of the draws count, E[ΔL] of the posterior with its Monte-Carlo error.
Elsewhere E[ΔL] comes from Metropolis-adjusted chains (`tuning.py`), where they mix; their step is
tuned here too. What a chain of another update rule has beyond that E[ΔL] is its sampler bias
(`sampler_bias.py`). The pilot's draws and chains have chain numbers of their own and are not used
again: a choice made with the very draws that are measured would bias them.

Shapes: P draws, N evaluation tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.budget import CPU_ROWS, RowBudget
from spectro.models.scoring import Scoring, ScoringConfig
from spectro.models.shortlist import Shortlisting
from spectro.sampling.config import ChainConfig
from spectro.sampling.damage import DAMAGED, MIN_HEADROOM, damage
from spectro.sampling.draws import GaussianDraws
from spectro.sampling.evaluate import Evaluated, evaluate
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Gaussian
from spectro.sampling.tuning import (
    MIN_REFERENCE_STEPS,
    REFERENCE_CHAINS,
    Tuned,
    reference,
    tune,
)
from spectro.sampling.weights import effective_number, importance_weights

FloatArray = npt.NDArray[np.float64]
PILOT_CHAIN = -1
"""Chain number of the pilot's noise."""
NUM_PILOT_DRAWS = 32
"""P where the pilot decides who needs a chain."""
NUM_JUDGING_DRAWS = 128
"""P where it judges chains: the error of E[ΔL] is then a tenth of the posterior's deviation."""
NUM_DAMAGE_DRAWS = 4
"""P where nothing is to be decided or judged but whether γ leaves a model at all."""
WITHOUT_LISTS = ("unembed", "full")
"""Groups that move the output product itself: their losses are always exact."""
MIN_KNOWN_FRACTION = 0.5
"""Effective fraction of the draws below which weights do not give E[ΔL]: few draws then carry the
sum, and its error is itself unknown."""
UNLIMITED = 10**9
"""Gradients of a pilot that may take as many as it needs."""
GAMMA_FACTOR, NUM_GAMMAS = math.sqrt(10), 8
"""γ is raised by this factor, so often at most, to find one that leaves the model whole."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What the exact posterior of one component looks like; NaN where it is not known."""

    effective_fraction: float
    """(Σω)²/(P Σω²), in (0, 1]."""
    prior_delta_loss: float
    """Mean ΔL of the unweighted draws, nats: the center of importance weights."""
    delta_loss: float
    """E[ΔL] of the posterior, nats."""
    delta_loss_error: float
    """Its Monte-Carlo standard error."""
    delta_loss_deviation: float
    """Standard deviation of ΔL under the posterior, nats."""
    delta_loss_deviation_error: float = float("nan")
    """Its Monte-Carlo standard error."""
    source: str = ""
    """Where E[ΔL] is from: `weights` of independent draws, `metropolis` chains, or empty."""
    rho: float = float("nan")
    """ρ of the tuned `mala` step; NaN where none was tuned."""
    acceptance: float = float("nan")
    """Its acceptance probability."""
    num_steps: int = 0
    """Gradients over the evaluation set that tuning and reference chains took."""
    headroom: float = float("nan")
    """ln V − L(w*) on the evaluation set, nats: a posterior with this E[ΔL] knows no more than a
    uniform guess."""
    gamma_needed: float = float("nan")
    """γ at which draws lose less than half of `headroom`, where they lose more at the run's γ."""
    shortlist_error: float = float("nan")
    """Error of Δℓ from short lists, as a share of its size; NaN where lists were not tried."""


def run_pilot(
    part: GroupModel[Any],
    sampler: Sampler,
    evaluation_ids: Tensor,
    randomness: Randomness,
    *,
    budget: RowBudget | None = None,
    stepping: RowBudget | None = None,
    candidate: Shortlisting | None = None,
    headroom: float = math.nan,
    config: ChainConfig | None = None,
    on_step: Callable[[], None] | None = None,
) -> dict[str, Moments]:
    """Moments of every component's exact posterior.

    Args:
        part: the group.
        sampler: its γ and nβ are used.
        evaluation_ids: int64 [E, T+1], the sequences on which ΔL is taken.
        randomness: where noise comes from.
        budget: how much is computed at once.
        stepping: the same where gradients are.
        candidate: short lists, whose error is measured where they can be used.
        headroom: ln V − L(w*) on the evaluation set, nats.
        config: of the chains that will be judged: reference chains take no more gradients than
            they will; a posterior that so few do not give stays unknown. No limit if None.
        on_step: called after every gradient step; may raise to break the pilot off.

    Raises ValueError, naming the component, where `mala` must step and no step is accepted.
    """
    rows = budget or RowBudget(rows=CPU_ROWS)
    pilot = _Pilot(part, sampler, evaluation_ids, randomness, rows, on_step)
    num_draws = num_pilot_draws(sampler, listed=candidate is not None)
    drawn = pilot.evaluated(sampler.gamma, part.names, num_draws)
    errors = pilot.shortlist_errors(drawn, candidate)
    found = {
        name: dataclasses.replace(
            _moments(own.delta_loss, sampler.nbeta),
            shortlist_error=errors[name],
            headroom=headroom,
        )
        for name, own in drawn.items()
    }
    gammas = pilot.gammas_needed([n for n, m in found.items() if _is_damaged(m)], headroom)
    found = {
        n: dataclasses.replace(m, gamma_needed=gammas.get(n, math.nan)) for n, m in found.items()
    }
    if isinstance(sampler, Gaussian):
        return found
    return found | pilot.with_chains(found, stepping, config)


def num_pilot_draws(sampler: Sampler, *, listed: bool) -> int:
    """P: how many draws a pilot takes of every component."""
    if isinstance(sampler, Gaussian) and not listed:
        return NUM_DAMAGE_DRAWS
    return NUM_PILOT_DRAWS if isinstance(sampler, Gaussian | Mala) else NUM_JUDGING_DRAWS


def independent_components(sampler: Sampler, pilot: Mapping[str, Moments]) -> frozenset[str]:
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


def listed_components(config: ScoringConfig, pilot: Mapping[str, Moments]) -> frozenset[str]:
    """Components whose losses are taken from short lists: NaN, not tried, is never small."""
    limit = config.max_shortlist_error
    return frozenset(name for name, m in pilot.items() if m.shortlist_error <= limit)


@dataclass(frozen=True)
class _Pilot:
    """What all parts of a pilot work on."""

    part: GroupModel[Any]
    sampler: Sampler
    evaluation_ids: Tensor
    randomness: Randomness
    budget: RowBudget
    on_step: Callable[[], None] | None

    def evaluated(
        self,
        gamma: float,
        names: Sequence[str],
        num_draws: int,
        lists: Shortlisting | None = None,
    ) -> dict[str, Evaluated]:
        """Losses along the first draws of N(w*, 1/γ), the same noise for every γ."""
        source = GaussianDraws(
            weights={name: self.part.weights(name) for name in self.part.names},
            gamma=gamma,
            antithetic=False,
            chain=PILOT_CHAIN,
            randomness=self.randomness,
        )
        wanted = dict.fromkeys(names, slice(0, num_draws))
        scoring = Scoring(budget=self.budget, shortlisting=lists)
        return evaluate(self.part, source, wanted, self.evaluation_ids, scoring)

    def shortlist_errors(
        self, exact: Mapping[str, Evaluated], candidate: Shortlisting | None
    ) -> dict[str, float]:
        """Error of Δℓ from short lists by component; NaN where lists cannot be used."""
        if candidate is None or self.part.names[0] in WITHOUT_LISTS:
            return dict.fromkeys(self.part.names, math.nan)
        lists = dataclasses.replace(candidate, components=frozenset(self.part.names))
        num_draws = len(next(iter(exact.values())).delta_loss)
        found = self.evaluated(self.sampler.gamma, self.part.names, num_draws, lists)
        return {n: _error(own.delta_RN, exact[n].delta_RN) for n, own in found.items()}

    def gammas_needed(self, names: Sequence[str], headroom: float) -> dict[str, float]:
        """Component → the smallest γ tried at which its draws leave the model whole."""
        found: dict[str, float] = {}
        gamma, left = self.sampler.gamma, list(names)
        for _ in range(NUM_GAMMAS):
            if not left:
                break
            gamma *= GAMMA_FACTOR
            drawn = self.evaluated(gamma, left, NUM_DAMAGE_DRAWS)
            whole = [n for n in left if drawn[n].delta_loss.mean() < DAMAGED * headroom]
            found |= dict.fromkeys(whole, gamma)
            left = [name for name in left if name not in whole]
        return found

    def with_chains(
        self,
        found: Mapping[str, Moments],
        stepping: RowBudget | None,
        config: ChainConfig | None,
    ) -> dict[str, Moments]:
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
        steps_found = tune(self.part, mala, names, *shared, max_steps=limit, on_step=self.on_step)
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
            self.part, mala, steps_found, *shared, max_steps=most, on_step=self.on_step
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
    sampler: Mala, found: Mapping[str, Tuned], moments: Mapping[str, Moments]
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


def _is_damaged(moments: Moments) -> bool:
    """Whether draws lose more of what the model has learnt than they may, or are not finite."""
    known = moments.delta_loss if moments.source else moments.prior_delta_loss
    share = damage(known, moments.headroom)
    return not share < DAMAGED and moments.headroom >= MIN_HEADROOM


def _error(approximate_RN: Tensor, exact_RN: Tensor) -> float:
    """Root mean square of the difference over that of Δℓ."""
    scale = float(exact_RN.double().pow(2).mean().sqrt())
    if scale == 0:
        return math.nan
    return float((approximate_RN - exact_RN).double().pow(2).mean().sqrt()) / scale


def _moments(delta_loss_P: FloatArray, nbeta: float) -> Moments:
    """Self-normalised mean and deviation of ΔL, where enough draws count."""
    weight_P = importance_weights(delta_loss_P, nbeta, float(delta_loss_P.min()))
    share_P = weight_P / weight_P.sum()
    fraction = effective_number(weight_P) / len(weight_P)
    known = fraction >= MIN_KNOWN_FRACTION and len(weight_P) > NUM_DAMAGE_DRAWS
    mean = float(share_P @ delta_loss_P)
    known = known and math.isfinite(mean)
    residual_P = delta_loss_P - mean
    deviation = float(np.sqrt(share_P @ residual_P**2))
    variance_error = float(np.sqrt(((share_P * (residual_P**2 - deviation**2)) ** 2).sum()))
    return Moments(
        effective_fraction=fraction,
        prior_delta_loss=float(delta_loss_P.mean()),
        delta_loss=mean if known else math.nan,
        delta_loss_error=float(np.sqrt(((share_P * residual_P) ** 2).sum())) if known else math.nan,
        delta_loss_deviation=deviation if known else math.nan,
        delta_loss_deviation_error=variance_error / (2 * deviation)
        if known and deviation > 0
        else math.nan,
        source="weights" if known else "",
    )
