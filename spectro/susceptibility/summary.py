"""What is told of every column: the same list for the product's metadata, the log and the API.

Reliability and errors come from the moments over tokens, the rest from the chains alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.sampling.faithfulness import effective_draws, faithfulness
from spectro.sampling.pilot import Moments
from spectro.sampling.recorder import ComponentChain
from spectro.susceptibility.interval import half_width
from spectro.susceptibility.reliability import (
    ColumnMoments,
    gelman_rubin,
    reliability,
    standard_deviation,
    standard_error,
)

FloatArray = npt.NDArray[np.float64]


def chain_summary(
    chains: Sequence[ComponentChain], exact: Moments | None, *, phi_offset: float = 0.0
) -> dict[str, Any]:
    """What the chains alone say of a column; NaN becomes None.

    `num_chains` is C; `mean_phi` is E_C[φ] in nats; `effective_draws` the independent
    draws that all draws are worth; `faithfulness` None for independent draws, which are exact.
    """
    weight = np.concatenate([chain.weight for chain in chains])
    delta_loss = np.concatenate([chain.delta_loss for chain in chains])
    judged = faithfulness(chains, exact)
    return {
        "sampling": "independent" if chains[0].independent else "chain",
        "num_chains": len(chains),
        "mean_phi": float(weight @ delta_loss / weight.sum()) + phi_offset,
        "rhat": _finite(gelman_rubin([chain.delta_loss for chain in chains])),
        "num_draws": len(weight),
        "effective_draws": effective_draws(chains),
        "steps_between_draws": [chain.steps_between_draws for chain in chains],
        "faithfulness": None
        if judged is None
        else {name: _finite(value) for name, value in asdict(judged).items()},
    }


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
        judged = summary["faithfulness"][index]
        faithful = (
            "exact"
            if summary["sampling"][index] == "independent"
            else f"bias of E[ΔL] {_text(judged and judged['delta_loss_bias'], '+.1%')} "
            f"(z {_text(judged and judged['delta_loss_z'], '+.1f')})"
        )
        lines.append(
            f"{name}: reliability {_text(summary['reliability'][index], '.2f')}, row-centred "
            f"{_text(summary['centred_reliability'][index], '.2f')}; "
            f"{summary['num_draws'][index]} draws ({summary['sampling'][index]}), "
            f"{summary['effective_draws'][index]:.0f} effective; {faithful}"
        )
    return lines


def _text(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
