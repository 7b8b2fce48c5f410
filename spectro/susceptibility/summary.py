"""Per-column summary statistics: one list for the product's metadata, the log and the API.

`TOKEN_STATISTICS` follow from moments over tokens, `CHAIN_STATISTICS` from the chains alone. A
further statistic is one entry of either table. NaN becomes None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.effective_sample_size import effective_sample_size
from spectro.sampling.pilot.damage import damage
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.sampler_bias import sampler_bias
from spectro.susceptibility.interval import half_width
from spectro.susceptibility.reliability import (
    ColumnMoments,
    gelman_rubin,
    reliability,
    splits,
    standard_deviation,
    standard_error,
)

FloatArray = npt.NDArray[np.float64]
ChainSummary = dict[str, Any]
"""Statistic of `CHAIN_STATISTICS` → its value for one component."""


@dataclass(frozen=True, kw_only=True)
class ColumnChains:
    """All chains of one component, and what its statistics depend on beside them."""

    chains: Sequence[ComponentChain]
    """In order of their numbers."""
    exact: PosteriorMoments | None
    """The pilot's moments of the posterior."""
    phi_offset: float
    """o in φ_t = ΔL(t) + o, nats."""
    num_sets: int
    """Into how many sets the chains fall: one for each token shard that has its own chains."""
    nbeta: float
    """nβ of the posterior; 0 for the control, which has no local learning coefficient."""

    @property
    def mean_phi(self) -> float:
        """E_C[φ] over all draws, nats."""
        return mean_delta_loss(self.chains) + self.phi_offset

    @property
    def mean_phi_of_halves(self) -> list[float] | None:
        """E_C[φ] of the two halves of the chains (`reliability.first_halves`)."""
        halves = splits(len(self.chains))
        if self.num_sets > 1 or not halves:
            return None
        return [
            mean_delta_loss([self.chains[c] for c in half]) + self.phi_offset for half in halves[0]
        ]

    @property
    def llc(self) -> float:
        """λ̂ = nβ E_C[φ]; NaN at nβ = 0 (Lau et al., arXiv 2308.12108, eq. 12)."""
        return self.nbeta * self.mean_phi if self.nbeta else math.nan

    @property
    def llc_error(self) -> float:
        """Jackknife standard error of λ̂ over chains; NaN with one chain or at nβ = 0."""
        if not self.nbeta:
            return math.nan
        return self._error(lambda chains: self.nbeta * mean_delta_loss(chains))

    @property
    def observables(self) -> dict[str, dict[str, float | None]]:
        """Further observable → `mean`, E_C[φ_q] less its value at w*, and its jackknife `error`."""
        found: dict[str, dict[str, float | None]] = {}
        for name in self.chains[0].observables:
            mean = partial(mean_observable, name)
            found[name] = {"mean": finite(mean(self.chains)), "error": finite(self._error(mean))}
        return found

    def _error(self, of_chains: Callable[[Sequence[ComponentChain]], float]) -> float:
        """Delete-one jackknife standard error over chains; NaN with one chain."""
        count = len(self.chains)
        if count < 2:
            return math.nan
        kept = [[*self.chains[:c], *self.chains[c + 1 :]] for c in range(count)]
        without_C = np.array([of_chains(chains) for chains in kept])
        return float(np.sqrt((count - 1) * without_C.var()))

    @property
    def damage(self) -> float:
        """E[ΔL] as a share of ln V − L(w*)."""
        exact = self.exact
        return math.nan if exact is None else damage(mean_delta_loss(self.chains), exact.headroom)

    @property
    def sampler_bias(self) -> dict[str, Any] | None:
        """See sampler_bias.py."""
        judged = sampler_bias(self.chains, self.exact)
        return None if judged is None else judged.as_dict()


CHAIN_STATISTICS: dict[str, Callable[[ColumnChains], Any]] = {
    # independent, metropolis, chain
    "sampling": lambda own: sampling_kind(own.chains[0]),
    # C, chains of a set
    "num_chains": lambda own: len(own.chains) // own.num_sets,
    # E_C[φ], nats
    "mean_phi": lambda own: own.mean_phi,
    # of two halves of the chains, nats; None with one chain or several sets
    "mean_phi_of_halves": lambda own: own.mean_phi_of_halves,
    # local learning coefficient λ̂ = nβ E_C[φ]
    "llc": lambda own: own.llc,
    # its jackknife standard error over chains
    "llc_error": lambda own: own.llc_error,
    # E[ΔL] / (ln V − L(w*)): at 1 the posterior is no better than a uniform guess
    "damage": lambda own: own.damage,
    # γ at which the posterior loses less than half of ln V − L(w*)
    "gamma_needed": lambda own: math.nan if own.exact is None else own.exact.gamma_needed,
    # R̂ of ΔL over chains
    "rhat": lambda own: gelman_rubin([chain.delta_loss for chain in own.chains]),
    # draws that a token is measured along, mean over sets
    "num_draws": lambda own: sum(len(chain.weight) for chain in own.chains) // own.num_sets,
    # effective sample size (ESS) of these draws
    "effective_sample_size": lambda own: effective_sample_size(own.chains) / own.num_sets,
    # thinning interval of every chain, steps; 0 for independent draws
    "steps_between_draws": lambda own: [chain.steps_between_draws for chain in own.chains],
    # mean Metropolis acceptance probability of every chain
    "acceptance": lambda own: [finite(chain.acceptance) for chain in own.chains],
    # None where it is unknown, or draws are independent
    "sampler_bias": lambda own: own.sampler_bias,
}
"""Name → statistic of a component's chains."""
OBSERVABLES = "observables"
"""Statistic of runs with further observables."""
NOT_IN_EARLIER_RUNS = ("llc", "llc_error")
"""Statistics that summaries of earlier versions lack."""


@dataclass(frozen=True, kw_only=True)
class ColumnTokens:
    """One column of χ over all tokens."""

    moments: ColumnMoments
    """Moments over all tokens."""
    centred_reliability: float
    """See `reliability.centred_reliability`."""
    num_chains: int
    """C."""


TOKEN_STATISTICS: dict[str, Callable[[ColumnTokens], float]] = {
    # split-half reliability
    "reliability": lambda own: reliability(own.moments),
    # the same after standardising columns and centring rows, as clustering sees them
    "centred_reliability": lambda own: float(own.centred_reliability),
    # root mean square over tokens of the standard error of χ, nats²
    "standard_error": lambda own: standard_error(own.moments),
    # the same of half the width of the 95 % interval, Student's t with C − 1 degrees of freedom
    "half_width_95": lambda own: float(half_width(standard_error(own.moments), own.num_chains)),
    # of χ over tokens, nats²
    "standard_deviation": lambda own: standard_deviation(own.moments),
}
"""Name → statistic of a column of χ over tokens."""


def chain_summary(
    chains: Sequence[ComponentChain],
    exact: PosteriorMoments | None,
    *,
    nbeta: float,
    phi_offset: float = 0.0,
    num_sets: int = 1,
) -> ChainSummary:
    """`CHAIN_STATISTICS` of one component; arguments as in `ColumnChains`."""
    own = ColumnChains(
        chains=chains, exact=exact, phi_offset=phi_offset, num_sets=num_sets, nbeta=nbeta
    )
    found = {name: finite(statistic(own)) for name, statistic in CHAIN_STATISTICS.items()}
    return found | ({OBSERVABLES: own.observables} if own.observables else {})


def chain_summaries(
    chains: Mapping[str, Sequence[ComponentChain]],
    pilots: Mapping[str, PosteriorMoments],
    *,
    nbeta: float,
    phi_offset: float = 0.0,
    num_sets: int = 1,
) -> dict[str, ChainSummary]:
    """`chain_summary` of every component."""
    return {
        name: chain_summary(
            own, pilots.get(name), nbeta=nbeta, phi_offset=phi_offset, num_sets=num_sets
        )
        for name, own in chains.items()
    }


def mean_delta_loss(chains: Sequence[ComponentChain]) -> float:
    """E[ΔL] over all draws of some chains, each with its weight, nats."""
    weight = np.concatenate([chain.weight for chain in chains])
    delta_loss = np.concatenate([chain.delta_loss for chain in chains])
    return float(weight @ delta_loss) / float(weight.sum())


def mean_observable(name: str, chains: Sequence[ComponentChain]) -> float:
    """E[φ_q] over all draws of some chains, each with its weight, in the observable's unit."""
    weight = np.concatenate([chain.weight for chain in chains])
    phi = np.concatenate([chain.observables[name] for chain in chains])
    return float(weight @ phi) / float(weight.sum())


def sampling_kind(chain: ComponentChain) -> str:
    """`independent`, `metropolis` (corrected steps), or `chain` (steps with a bias)."""
    if chain.independent:
        return "independent"
    return "metropolis" if chain.corrected else "chain"


def column_summary(
    moments: Mapping[str, ColumnMoments],
    chains: Mapping[str, Mapping[str, Any]],
    centred_reliability_H: FloatArray,
) -> dict[str, Any]:
    """Both tables of statistics as lists by column, in the columns' order; NaN becomes None.

    Where `full` was sampled, `full_llc` and `full_llc_error` are those of the whole model.

    Args:
        moments: component → moments over all tokens.
        chains: component → `chain_summary`; may hold other components too.
        centred_reliability_H: see `reliability.centred_reliability`.
    """
    columns = [
        ColumnTokens(moments=m, centred_reliability=r, num_chains=chains[name]["num_chains"])
        for (name, m), r in zip(moments.items(), centred_reliability_H, strict=True)
    ]
    full = chains.get("full")
    return {
        "components": list(moments),
        "num_tokens": columns[0].moments.num_tokens,
        **{key: [finite(f(own)) for own in columns] for key, f in TOKEN_STATISTICS.items()},
        **{key: [chains[name][key] for name in moments] for key in CHAIN_STATISTICS},
        **({} if full is None else {f"full_{key}": full[key] for key in ("llc", "llc_error")}),
        **_observables(list(moments), chains),
    }


def _observables(
    names: Sequence[str], chains: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Observable → mean and error by column, and of all weights; nothing without observables."""
    known = {name: own[OBSERVABLES] for name, own in chains.items() if OBSERVABLES in own}
    if not known:
        return {}
    full = known.get("full")
    return {
        OBSERVABLES: {
            q: {key: [known[name][q][key] for name in names] for key in ("mean", "error")}
            | ({} if full is None else {f"full_{key}": value for key, value in full[q].items()})
            for q in known[names[0]]
        }
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each column, for the log."""
    lines = []
    for index, name in enumerate(summary["components"]):
        lines.append(
            f"{name}: reliability {_text(summary['reliability'][index], '.2f')}, row-centred "
            f"{_text(summary['centred_reliability'][index], '.2f')}; "
            f"{summary['num_draws'][index]} draws ({summary['sampling'][index]}), "
            f"effective sample size {summary['effective_sample_size'][index]:.0f}; "
            f"{_bias_text(summary['sampling'][index], summary['sampler_bias'][index])}"
        )
    return lines


def _bias_text(kind: str, judged: Mapping[str, Any] | None) -> str:
    if judged is not None:
        return (
            f"sampler bias of E[ΔL] {judged['nats']:+.4f} ± {judged['error_nats']:.4f} nats "
            f"({_text(judged['deviations'], '+.1f')} posterior deviations)"
        )
    exact = {"independent": "exact draws", "metropolis": "Metropolis-corrected"}
    return exact.get(kind, "sampler bias unknown")


def _text(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def finite(value: Any) -> Any:
    """The value; None for a float that is not finite."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
