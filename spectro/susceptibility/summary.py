"""Per-column summary statistics: the same list for the product's metadata, the log and the API.

Reliability and errors come from the moments over tokens, the rest from the chains alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.pilot.damage import damage
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.sampler_bias import effective_sample_size, sampler_bias
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
OF_CHAINS = (
    "sampling", "num_chains", "mean_phi", "mean_phi_of_halves", "damage", "gamma_needed", "rhat",
    "num_draws", "effective_sample_size", "steps_between_draws", "acceptance", "sampler_bias",
)  # fmt: skip
"""Keys of `chain_summary`."""


def chain_summary(
    chains: Sequence[ComponentChain],
    exact: PosteriorMoments | None,
    *,
    phi_offset: float = 0.0,
    num_sets: int = 1,
) -> dict[str, Any]:
    """Statistics of a column's chains alone; NaN becomes None.

    `num_sets`: into how many sets the chains fall, one for each token shard that has its own.
    `num_chains` is C, the chains of a set, `num_draws` the mean number of a set's draws and
    `effective_sample_size` the independent draws that they are worth: what a token is measured
    along. The rest is over all sets: `mean_phi` is E_C[φ] in nats, `mean_phi_of_halves` that of the
    two halves of the chains (`reliability.first_halves`), None with one chain or several sets;
    `sampler_bias` None where it is unknown, or nothing can be biased (`sampling` is `independent`);
    `damage` E[ΔL] as a share of what the model has learnt, ln V − L(w*): at 1 the posterior knows
    no more than a uniform guess; `gamma_needed` a γ that leaves half of it.
    """
    mean = _mean_delta_loss(chains)
    judged = sampler_bias(chains, exact)
    return {
        "sampling": sampling_kind(chains[0]),
        "num_chains": len(chains) // num_sets,
        "mean_phi": mean + phi_offset,
        "mean_phi_of_halves": None if num_sets > 1 else _of_halves(chains, phi_offset),
        "damage": None if exact is None else _finite(damage(mean, exact.headroom)),
        "gamma_needed": None if exact is None else _finite(exact.gamma_needed),
        "rhat": _finite(gelman_rubin([chain.delta_loss for chain in chains])),
        "num_draws": sum(len(chain.weight) for chain in chains) // num_sets,
        "effective_sample_size": effective_sample_size(chains) / num_sets,
        "steps_between_draws": [chain.steps_between_draws for chain in chains],
        "acceptance": [_finite(chain.acceptance) for chain in chains],
        "sampler_bias": None if judged is None else judged.as_dict(),
    }


def _mean_delta_loss(chains: Sequence[ComponentChain]) -> float:
    """E[ΔL] over all draws of some chains, nats."""
    weight = np.concatenate([chain.weight for chain in chains])
    delta_loss = np.concatenate([chain.delta_loss for chain in chains])
    return float(weight @ delta_loss) / float(weight.sum())


def _of_halves(chains: Sequence[ComponentChain], phi_offset: float) -> list[float] | None:
    halves = splits(len(chains))
    if not halves:
        return None
    return [_mean_delta_loss([chains[c] for c in half]) + phi_offset for half in halves[0]]


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
    """Lists by column, in the columns' order; NaN becomes None.

    `standard_error` is the root mean square of χ's over tokens, `half_width_95` that of half the
    width of the 95 % interval, by Student's t with `num_chains` − 1 degrees of freedom.

    Args:
        moments: component → moments over all tokens.
        chains: component → `chain_summary`.
        centred_reliability_H: see `reliability.centred_reliability`.
    """
    error_H = [standard_error(m) for m in moments.values()]
    width_H = [
        float(half_width(error, chains[name]["num_chains"]))
        for name, error in zip(moments, error_H, strict=True)
    ]
    return {
        "components": list(moments),
        "num_tokens": next(iter(moments.values())).num_tokens,
        "reliability": [_finite(reliability(m)) for m in moments.values()],
        "centred_reliability": [_finite(r) for r in centred_reliability_H],
        "standard_error": [_finite(error) for error in error_H],
        "half_width_95": [_finite(width) for width in width_H],
        "standard_deviation": [_finite(standard_deviation(m)) for m in moments.values()],
    } | {key: [chains[name][key] for name in moments] for key in next(iter(chains.values()))}


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


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
