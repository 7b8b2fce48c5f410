"""How far predictions are right: held-out shards along held-out draws (ADR 071).

Written p_h for the prediction of a shard by the network that has learnt half h of other shards, a_h
for its measured χ from half h. p_h is judged by a_{1−h}, for where shards share their draws p_h and
a_h have noise in common. Where every shard has draws of its own, the mean of both predictions is
judged by that of both halves.

Shapes: N tokens, H components; a leading 2 is the halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.predict.agreement import Agreement, agreement, specific
from spectro.predict.errors import ErrorCurves
from spectro.susceptibility.interval import NORMAL_95

Floats = npt.NDArray[np.float64]
COLUMNS = ("r", "ceiling", "specific_r", "specific_ceiling", "coverage")
CURVES = ("curves", "half_curves")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Per column, from tokens of held-out shards."""

    own_draws: bool
    """Whether every shard has draws of its own."""
    num_tokens: int
    """Tokens that were judged."""
    r: Floats
    """Correlation of predicted and measured χ, [H]."""
    ceiling: Floats
    """Correlation that the truth would have: √ of the reliability of what was measured."""
    specific_r: Floats
    """The same for what is specific to a component: unit variance, less each row's mean."""
    specific_ceiling: Floats
    """The same."""
    coverage: Floats
    """Share of tokens whose measured χ is within the 95 % interval of prediction and noise."""
    curves: ErrorCurves
    """Error of the mean of a fold's two networks (of one, where draws are shared); noise of χ."""
    half_curves: ErrorCurves
    """Error of one network; noise of χ from one half."""

    @classmethod
    def of(cls, predicted_2NH: Floats, measured_2NH: Floats, *, own_draws: bool) -> Judged:
        """Judge predictions p_h by measurements a_h (see above)."""
        p, a = predicted_2NH.astype(np.float64), measured_2NH.astype(np.float64)
        noise_NH = (a[0] - a[1]) ** 2 / 4
        each, other = np.concatenate(p), np.concatenate(a[::-1])
        of_both = np.concatenate([noise_NH, noise_NH])
        half_curves = ErrorCurves.fit(each, other, 2 * of_both, 2 * of_both)
        if own_draws:
            each, other = p.mean(0), a.mean(0)
            curves = ErrorCurves.fit(each, other, noise_NH, noise_NH)
            judged_noise = curves.noise_variance(each)
        else:
            curves = ErrorCurves.fit(each, other, of_both, 2 * of_both)
            judged_noise = 2 * curves.noise_variance(each)
        deviation = np.sqrt(curves.error_variance(each) + judged_noise)
        own = [np.asarray([specific(half) for half in halves]) for halves in (p, a)]
        r, ceiling = _agreement(p, a, own_draws=own_draws)
        specific_r, specific_ceiling = _agreement(*own, own_draws=own_draws)
        return cls(
            own_draws=own_draws,
            num_tokens=p.shape[1],
            r=r,
            ceiling=ceiling,
            specific_r=specific_r,
            specific_ceiling=specific_ceiling,
            coverage=(np.abs(each - other) <= NORMAL_95 * deviation).mean(0),
            curves=curves,
            half_curves=half_curves,
        )

    @property
    def warning(self) -> str:
        """What readers of a predicted run should know of its reliability and stability."""
        both = (self.r, self.ceiling), (self.specific_r, self.specific_ceiling)
        truth = [Agreement(r_H=r, ceiling_H=ceiling).r_truth_H for r, ceiling in both]
        whole, own = (
            f"{np.nanmedian(r_H):.2f}" if np.isfinite(r_H).any() else "not known" for r_H in truth
        )
        return (
            "χ is predicted: reliability, stability and whether a cluster holds say how far the "
            "draws matter, not whether predictions are right; on held-out tokens the median r over "
            f"its ceiling is {whole}, of what is specific to a component {own}"
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain values; NaN stays."""
        return {
            "own_draws": self.own_draws,
            "num_tokens": self.num_tokens,
            **{name: getattr(self, name).tolist() for name in COLUMNS},
            **{
                name: {key: values.tolist() for key, values in vars(getattr(self, name)).items()}
                for name in CURVES
            },
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Judged:
        """What `as_dict` gave, among other values."""
        values: dict[str, Any] = {name: plain[name] for name in ("own_draws", "num_tokens")}
        values |= {name: np.array(plain[name], np.float64) for name in COLUMNS}
        for name in CURVES:
            curve = {key: np.array(rows) for key, rows in plain[name].items()}
            values[name] = ErrorCurves(**curve)
        return cls(**values)


def _agreement(p: Floats, a: Floats, *, own_draws: bool) -> tuple[Floats, Floats]:
    """Correlation and its ceiling."""
    if own_draws:
        both = agreement(p.mean(0), a.mean(0), a)
        return np.asarray(both.r_H), np.asarray(both.ceiling_H)
    each = [agreement(p[h], a[1 - h], a, of_halves=1) for h in (0, 1)]
    return np.asarray((each[0].r_H + each[1].r_H) / 2), np.asarray(each[0].ceiling_H)
