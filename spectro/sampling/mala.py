"""Metropolis-adjusted Langevin steps (MALA): chains without a bias of their step size.

The posterior of a component is the Gaussian N(w*, 1/γ) times exp(−nβ L). The proposal integrates
the Gaussian exactly and takes the gradient from the current state,

    δ' = ρ δ − ((1−ρ)/γ) nβ g(δ) + √((1−ρ²)/γ) ξ,      ρ = exp(−εγ/2),

and is accepted with probability min(1, r),

    log r = −nβ (L' − L) − nβ/(1+ρ) [(δ − ρδ')·g' − (δ' − ρδ)·g]
            − nβ² (1−ρ)/(2γ(1+ρ)) (‖g'‖² − ‖g‖²).

Everything that grows with the number of weights has cancelled in r, and without a loss every
proposal is accepted (∞-MALA: Beskos et al. 2008; Cotter, Roberts, Stuart & White 2013, "pCNL").
L and g are taken over the whole evaluation set, the set whose ΔL weights independent draws, so
that both ways of drawing have the same law. There is no preconditioner that adapts: it would move
the stationary law (ADR 064).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectro.sampling.samplers import (
    Blocks,
    ChainState,
    require_at_least_0,
    require_positive,
    zeros_like,
)

if TYPE_CHECKING:  # as in samplers.py
    from torch import Tensor

MAX_START_HALVINGS = 12
"""How often a chain may halve its step on its way into the posterior."""


@dataclass(frozen=True, kw_only=True)
class MalaState(ChainState):
    """A chain between two steps: where it is, and the proposal that is evaluated next."""

    proposal: Blocks
    """δ'."""
    gradient: Blocks
    """g at `displacement`."""
    loss: Tensor
    """L at `displacement`, nats, a float64 scalar; +∞ before the first is known."""
    halvings: Tensor
    """How often the step of the proposal was halved; a float64 scalar, 0 after burn-in."""

    @property
    def evaluated(self) -> Blocks:
        """δ'."""
        return self.proposal


@dataclass(frozen=True, kw_only=True)
class Mala:
    """Metropolis-adjusted Langevin, exact for every step size; the pilot tunes the step."""

    gamma: float = 300.0
    """γ, localisation strength per squared weight; > 0."""
    nbeta: float = 10.0
    """nβ, effective inverse temperature; ≥ 0."""
    rho: float = 0.2
    """ρ, the share of the displacement that a proposal keeps, in (0, 1): where the pilot begins.
    It halves the step (ρ becomes √ρ) until at least half of the proposals are accepted."""

    def __post_init__(self) -> None:
        require_positive("sampler.gamma", self.gamma)
        require_at_least_0("sampler.nbeta", self.nbeta)
        if not 0 < self.rho < 1:
            raise ValueError(f"sampler.rho must be between 0 and 1, found {self.rho}")

    def start(self, noise: Blocks) -> MalaState:
        """A chain that will evaluate a draw of N(w*, 1/γ) first; w* until then."""
        at_rest = zeros_like(noise)
        scalar = next(iter(noise.values())).new_zeros(()).double()
        return MalaState(
            displacement=at_rest,
            proposal={block: xi / math.sqrt(self.gamma) for block, xi in noise.items()},
            gradient=dict(at_rest),
            loss=scalar + math.inf,
            halvings=scalar,
        )

    def step(
        self,
        state: MalaState,
        loss: Tensor,
        gradient: Blocks,
        noise: Blocks,
        uniform: float,
        *,
        adjusted: bool,
    ) -> tuple[MalaState, Tensor]:
        """Accept or reject the proposal that was evaluated, then propose the next.

        Args:
            state: of the chain.
            loss: L at the proposal, nats, a scalar.
            gradient: of L at the proposal.
            noise: ξ of the next proposal.
            uniform: in (0, 1); the proposal is accepted where it is below r.
            adjusted: False on the way from the Gaussian into the posterior, where r alone holds a
                chain fast: proposals that lower the loss are accepted too, and the step is halved
                after each rejection and doubled, up to its own size, after each acceptance.

        Returns the new state and min(1, r), a scalar on the device; nothing waits for it.
        """
        new_loss = loss.double()
        ratio = self._log_ratio(state, new_loss - state.loss, gradient)
        finite = new_loss.isfinite() & ~ratio.isnan()
        accepted = finite & (ratio > math.log(uniform))
        halvings = state.halvings.new_zeros(state.halvings.shape)
        if not adjusted:
            accepted = accepted | (finite & (new_loss <= state.loss))
            change = 1.0 - 2.0 * accepted.double()
            halvings = (state.halvings + change).clamp(0, MAX_START_HALVINGS)

        def chosen(new: Blocks, old: Blocks) -> Blocks:
            return {block: new[block].where(accepted, old[block]) for block in old}

        displacement = chosen(state.proposal, state.displacement)
        current = chosen(gradient, state.gradient)
        return MalaState(
            displacement=displacement,
            proposal=self._propose(displacement, current, noise, halvings),
            gradient=current,
            loss=new_loss.where(accepted, state.loss),
            halvings=halvings,
        ), ratio.clamp(max=0.0).exp().where(finite, 0.0)

    def _rho(self, halvings: Tensor) -> Tensor:
        """ρ of a step that was halved so often, a float64 scalar."""
        return (math.log(self.rho) * 0.5**halvings).exp()

    def _propose(self, delta: Blocks, gradient: Blocks, noise: Blocks, halvings: Tensor) -> Blocks:
        rho = self._rho(halvings)
        pull = (1 - rho) * self.nbeta / self.gamma
        spread = ((1 - rho**2) / self.gamma).sqrt()
        dtype = next(iter(delta.values())).dtype
        rho, pull, spread = (scalar.to(dtype) for scalar in (rho, pull, spread))
        return {
            block: rho * d - pull * gradient[block] + spread * noise[block]
            for block, d in delta.items()
        }

    def _log_ratio(self, state: MalaState, difference: Tensor, gradient: Blocks) -> Tensor:
        """log r of L' − L; +∞ for a chain's first state, whose loss is not known yet."""
        rho = self._rho(state.halvings)
        cross, squares = (difference.new_zeros(difference.shape) for _ in range(2))
        for block, old in state.displacement.items():
            new, g_old, g_new = state.proposal[block], state.gradient[block], gradient[block]
            share = rho.to(old.dtype)
            back, ahead = old - share * new, new - share * old
            cross += (back * g_new - ahead * g_old).double().sum()
            squares += (g_new.double().square() - g_old.double().square()).sum()
        factor = self.nbeta / (1 + rho)
        ratio = -self.nbeta * difference - factor * cross
        ratio = ratio - factor * self.nbeta * (1 - rho) / (2 * self.gamma) * squares
        return ratio.where(~difference.isneginf(), math.inf)


def steps_to_decorrelate(rho: float, acceptance: float, correlation: float) -> int:
    """Steps after which two states of a chain correlate by no more than this; ≥ 1.

    A step keeps ρ of the displacement where it is accepted, all of it where it is not.
    """
    assert 0 < acceptance <= 1, acceptance
    kept = 1 - acceptance * (1 - rho)
    return max(1, math.ceil(math.log(correlation) / math.log(kept)))


def tuned(sampler: Mala, rho: float) -> Mala:
    """The same posterior with the step that a pilot has found; unchanged if it found none (NaN)."""
    if math.isnan(rho):
        return sampler
    return Mala(gamma=sampler.gamma, nbeta=sampler.nbeta, rho=rho)
