"""How far predictions are right: held-out shards along held-out draws (ADR 071).

Written p_h for the prediction of a shard by the network that has learnt half h of other shards, a_h
for its measured χ from half h. The error of p_h is seen along the other half alone,

    E(p_h − a_{1−h})² − ν_half,    ν_half = E(a_0 − a_1)² / 2,

for where shards share their draws p_h and a_h have noise in common. Where every shard has draws of
its own, the mean of both predictions is judged by that of both halves.

Shapes: N tokens, H components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.predict.agreement import agreement, specific

Floats = npt.NDArray[np.floating]
SMALLEST_SHARE = 1e-3
"""Of the square difference between prediction and measurement that is error at least."""
NORMAL_95 = 1.959964
"""Standard deviations to either side of the mean that hold 95 % of a normal law."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Per column, from tokens of held-out shards."""

    own_draws: bool
    """Whether every shard has draws of its own."""
    num_tokens: int
    """Tokens that were judged."""
    r_H: Floats
    """Correlation of predicted and measured χ."""
    ceiling_H: Floats
    """Correlation that the truth would have: √ of the reliability of what was measured."""
    specific_r_H: Floats
    """The same for what is specific to a component: unit variance, less each row's mean."""
    specific_ceiling_H: Floats
    """The same."""
    error_variance_H: Floats
    """Mean square error of one network's χ, nats⁴."""
    pair_error_variance_H: Floats
    """The same of the mean of a fold's two networks."""
    noise_variance_H: Floats
    """Variance of the noise of measured χ, of both halves together."""
    coverage_H: Floats
    """Share of tokens whose measured χ is within the 95 % interval of prediction and noise."""

    @classmethod
    def of(cls, predicted_2NH: Floats, measured_2NH: Floats, *, own_draws: bool) -> Judged:
        """Judge predictions p_h by measurements a_h (see above)."""
        p, a = predicted_2NH.astype(np.float64), measured_2NH.astype(np.float64)
        noise_H = ((a[0] - a[1]) ** 2).mean(0) / 4
        square_H = ((p - a[::-1]) ** 2).mean((0, 1))
        error_H = np.maximum(square_H - 2 * noise_H, SMALLEST_SHARE * square_H)
        pair_H = error_H
        if own_draws:
            of_means_H = ((p.mean(0) - a.mean(0)) ** 2).mean(0)
            pair_H = np.maximum(of_means_H - noise_H, SMALLEST_SHARE * of_means_H)
        whole = _agreement(p, a, own_draws=own_draws)
        own = _agreement(
            np.stack([specific(x) for x in p]),
            np.stack([specific(x) for x in a]),
            own_draws=own_draws,
        )
        return cls(
            own_draws=own_draws,
            num_tokens=p.shape[1],
            r_H=whole[0],
            ceiling_H=whole[1],
            specific_r_H=own[0],
            specific_ceiling_H=own[1],
            error_variance_H=error_H,
            pair_error_variance_H=pair_H,
            noise_variance_H=noise_H,
            coverage_H=_coverage(p, a, error_H, pair_H, noise_H, own_draws=own_draws),
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain values; NaN stays."""
        plain = dataclasses.asdict(self)
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Judged:
        """What `as_dict` gave, among other values."""
        names = [field.name for field in dataclasses.fields(cls)]
        values: dict[str, Any] = {
            n: np.array(plain[n]) if isinstance(plain[n], list) else plain[n] for n in names
        }
        return cls(**values)


def _agreement(p: Floats, a: Floats, *, own_draws: bool) -> tuple[Floats, Floats]:
    """Correlation and its ceiling."""
    if own_draws:
        both = agreement(p.mean(0), a.mean(0), a)
        return both.r_H, both.ceiling_H
    each = [agreement(p[h], a[1 - h], a, of_halves=1) for h in (0, 1)]
    return (each[0].r_H + each[1].r_H) / 2, each[0].ceiling_H


def _coverage(
    p: Floats, a: Floats, error_H: Floats, pair_H: Floats, noise_H: Floats, *, own_draws: bool
) -> Floats:
    """Share of residuals within ±1.96 of their deviation."""
    if own_draws:
        inside = np.abs(p.mean(0) - a.mean(0)) <= NORMAL_95 * np.sqrt(pair_H + noise_H)
        return np.asarray(inside.mean(0))
    inside = np.abs(p - a[::-1]) <= NORMAL_95 * np.sqrt(error_H + 2 * noise_H)
    return np.asarray(inside.mean((0, 1)))
