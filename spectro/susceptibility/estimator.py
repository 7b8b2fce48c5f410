"""The estimator: susceptibilities from running sums (design §1; Baker et al. 2025, app. C.4).

With Δℓ_i(t) = ℓ_i(w_t) − ℓ_i(w*), ΔL(t) its mean over the evaluation set, φ_t the observable
(`sampling/observable.py`), E_C the mean over a component's chains and draws, E_full that over the
unrestricted chains:

    two_chain   χ_i = −E_C[φ (Δℓ_i − ΔL)] + E_C[φ] · B_i,      B_i = E_full[Δℓ_i − ΔL]
    one_chain   the same with E_C in the place of E_full: a plain covariance
    restricted  χ_i = −E_C[φ (Δℓ_i − ΔL)]: the first term alone, what is the component's own

B is one vector of the tokens, the same in every column: with E_C[φ] times as much of it each column
of `two_chain` is nearly that vector. `restricted` needs no unrestricted chains. The offset o of an
unpaired baseline adds o · (B_i − E_C[Δℓ_i − ΔL]).

E_C gives every draw its importance weight ω_t, normalised over the draws it is taken over.

Shapes: N tokens, C chains, T draws per chain. Units: χ in nats², B in nats. Source: Baker et al.,
arXiv 2504.18274.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from spectro.sampling.observable import observable
from spectro.settings import refuse_without_effect

FloatArray = npt.NDArray[np.float64]


class EstimatorKind(StrEnum):
    """Which expectation the second term uses, if there is one; see `reference`."""

    TWO_CHAIN = "two_chain"
    ONE_CHAIN = "one_chain"
    RESTRICTED = "restricted"

    @property
    def needs_full(self) -> bool:
        """Whether unrestricted chains are needed."""
        return self is EstimatorKind.TWO_CHAIN

    def reference(self, own: ChainMeans, full: ChainMeans | None) -> ChainMeans | None:
        """The means whose response multiplies E_C[φ]: E_full, E_C, or none.

        Raises ValueError if unrestricted chains are needed and not given.
        """
        if self is EstimatorKind.RESTRICTED:
            return None
        if self is EstimatorKind.ONE_CHAIN:
            return own
        if full is None:
            raise ValueError("estimator two_chain needs sums of unrestricted chains, found none")
        return full


class Baseline(StrEnum):
    """What φ is measured against."""

    PAIRED = "paired"
    UNPAIRED = "unpaired"


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """How sums become susceptibilities."""

    kind: EstimatorKind = EstimatorKind.TWO_CHAIN
    """`two_chain` (published), `one_chain` (a plain covariance) or `restricted` (the component's
    own term, without what all columns share)."""
    baseline: Baseline = Baseline.PAIRED
    """`paired`: ΔL on the same sequences; `unpaired` only for parity with devinterp."""
    num_baseline_batches: int = 32
    """Minibatches over which `unpaired` takes its L(w*); as devinterp's num_init_loss_batches."""

    def __post_init__(self) -> None:
        # A plain "unpaired" would otherwise pass for paired: members are compared by identity.
        object.__setattr__(self, "kind", EstimatorKind(self.kind))
        object.__setattr__(self, "baseline", Baseline(self.baseline))
        if self.num_baseline_batches < 1:
            raise ValueError(
                f"estimator.num_baseline_batches must be at least 1, "
                f"found {self.num_baseline_batches}"
            )
        if self.baseline is Baseline.PAIRED:
            reason = "with estimator.baseline paired, which takes no other batches"
            refuse_without_effect(self, "estimator.", {"num_baseline_batches": reason})


@dataclass(frozen=True, kw_only=True)
class ChainSums:
    """One component's sums over draws, per chain."""

    weighted_CN: npt.NDArray[np.floating]
    """Σ_t ω_t φ_t Δℓ_i(t), nats²."""
    plain_CN: npt.NDArray[np.floating]
    """Σ_t ω_t Δℓ_i(t), nats."""
    delta_loss: Sequence[FloatArray]
    """Per chain: ΔL(t) of every draw; chains may have different numbers of draws."""
    weight: Sequence[FloatArray]
    """Per chain: ω_t of every draw, 1 where draws are not importance-weighted."""
    observed: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    """Further observable → Σ_t ω_t φ_q(t) Δℓ_i(t), [C, N]."""
    observables: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    """Further observable → per chain: φ_q(t) of every draw."""

    @property
    def num_chains(self) -> int:
        """C."""
        return len(self.delta_loss)

    def of_chains(self, chains: Sequence[int]) -> ChainMeans:
        """Means over the draws of some of the chains, each draw with its weight."""
        chosen = list(chains)
        delta_loss = np.concatenate([self.delta_loss[c] for c in chosen])
        weight = np.concatenate([self.weight[c] for c in chosen])
        phi = observable(delta_loss)
        total = float(weight.sum())
        return ChainMeans(
            weighted_N=self.weighted_CN[chosen].sum(0, dtype=np.float64) / total,
            plain_N=self.plain_CN[chosen].sum(0, dtype=np.float64) / total,
            delta_loss=float(weight @ delta_loss) / total,
            phi=float(weight @ phi) / total,
            phi_delta_loss=float(weight @ (phi * delta_loss)) / total,
        )

    def influence(self, name: str, chains: Sequence[int]) -> FloatArray:
        """Bayesian influence −Cov(φ_q, ℓ_i) over the draws of some of the chains, [N].

        −(E[φ_q Δℓ_i] − E[φ_q] E[Δℓ_i]), each draw with its weight: the derivative of E[φ_q] by the
        weight of token i in the posterior (Kreer et al., arXiv 2509.26544, eq. 4). Nats times the
        observable's unit.
        """
        chosen = list(chains)
        weight = np.concatenate([self.weight[c] for c in chosen])
        phi = np.concatenate([self.observables[name][c] for c in chosen])
        total = float(weight.sum())
        observed_N = self.observed[name][chosen].sum(0, dtype=np.float64) / total
        plain_N = self.plain_CN[chosen].sum(0, dtype=np.float64) / total
        found: FloatArray = float(weight @ phi) / total * plain_N - observed_N
        return found


@dataclass(frozen=True, kw_only=True)
class ChainMeans:
    """One component's means over chains and draws."""

    weighted_N: FloatArray
    """E[φ Δℓ_i], nats²."""
    plain_N: FloatArray
    """E[Δℓ_i], nats."""
    delta_loss: float
    """E[ΔL], nats."""
    phi: float
    """E[φ] without offset, nats."""
    phi_delta_loss: float
    """E[φ ΔL], nats²."""

    @property
    def response_N(self) -> FloatArray:
        """E[Δℓ_i − ΔL]; of the unrestricted chains this is B_i."""
        return self.plain_N - self.delta_loss


def susceptibility(
    component: ChainMeans, reference: ChainMeans | None, *, phi_offset: float = 0.0
) -> FloatArray:
    """χ_i = −E_C[φ (Δℓ_i − ΔL)] + E_C[φ] · E_ref[Δℓ_i − ΔL] of one component, nats², [N].

    Args:
        component: E_C.
        reference: E_full for `two_chain`; E_C itself for `one_chain`; None for `restricted`.
        phi_offset: o in φ_t = ΔL(t) + o; 0 for the paired baseline.
    """
    phi_mean = component.phi + phi_offset
    phi_response_N = (component.weighted_N - component.phi_delta_loss) + (
        phi_offset * component.response_N
    )
    if reference is None:
        return -phi_response_N
    return -phi_response_N + phi_mean * reference.response_N
