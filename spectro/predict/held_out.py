"""Held-out evaluation of predicted χ: other token shards, other draws (ADR 071).

Written p_h for the prediction of a shard by the network that has learnt half h of other shards, a_h
for its measured χ from half h. p_h is judged by a_{1−h}, for where shards share their draws p_h and
a_h have noise in common. Where every shard has separate draws, the mean of both predictions is
judged by that of both halves. Draws that judge a network must be none that it was trained along.

Coverage is that of intervals from the other half of the shards: curves are fitted on one half and
judged on the other, and the reverse. The curves that are kept are fitted on all.

Shapes: N tokens, H components; a leading 2 is the halves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.predict.agreement import PredictionAgreement, agreement, specific
from spectro.predict.ensemble import Ensemble, Features
from spectro.predict.errors import ErrorCurves
from spectro.predict.measured import Measured
from spectro.susceptibility.interval import NORMAL_95

Floats = npt.NDArray[np.float64]
COLUMNS = ("r", "ceiling", "specific_r", "specific_ceiling", "coverage")
CURVES = ("curves", "half_curves")


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """Per column, from tokens of held-out shards."""

    own_draws: bool
    """Whether every shard has separate draws."""
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
    """Share of tokens whose measured χ is within the 95 % interval of prediction and noise, by
    curves that were fitted on other shards."""
    curves: ErrorCurves
    """Error of the mean of a fold's two networks (of one, where draws are shared); noise of χ."""
    half_curves: ErrorCurves
    """Error of one network; noise of χ from one half."""

    @classmethod
    def of(
        cls,
        predicted_2NH: Floats,
        measured_2NH: Floats,
        is_other_N: npt.NDArray[np.bool_],
        *,
        own_draws: bool,
    ) -> HeldOutScores:
        """Judge predictions p_h by measurements a_h (see above).

        `is_other_N` parts the tokens, by shards, for coverage.
        """
        p, a = predicted_2NH.astype(np.float64), measured_2NH.astype(np.float64)
        each, other = np.concatenate(p), np.concatenate(a[::-1])
        noise_NH = np.tile((a[0] - a[1]) ** 2 / 2, (2, 1))
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
            coverage=_coverage(p, a, is_other_N, own_draws=own_draws),
            curves=_curves(p, a, own_draws=own_draws),
            half_curves=ErrorCurves.fit(each, other, noise_NH, noise_NH),
        )

    @property
    def warning(self) -> str:
        """What readers of a predicted run should know of its reliability and stability."""
        both = (self.r, self.ceiling), (self.specific_r, self.specific_ceiling)
        truth = [PredictionAgreement(r_H=r, ceiling_H=ceiling).r_truth_H for r, ceiling in both]
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
    def from_dict(cls, plain: Mapping[str, Any]) -> HeldOutScores:
        """What `as_dict` gave, among other values."""
        values: dict[str, Any] = {name: plain[name] for name in ("own_draws", "num_tokens")}
        values |= {name: np.array(plain[name], np.float64) for name in COLUMNS}
        for name in CURVES:
            curve = {key: np.array(rows) for key, rows in plain[name].items()}
            values[name] = ErrorCurves(**curve)
        return cls(**values)


def score_held_out(
    ensemble: Ensemble,
    features_NF: Features,
    measured: Measured,
    rows_of: Mapping[int, slice],
    on_shard: Callable[[int, int], None] = lambda done, num: None,
) -> HeldOutScores:
    """Judge all networks on token shards that they have not seen, along draws likewise.

    Args:
        ensemble: the networks.
        features_NF: of the measured tokens, may be memory-mapped: read shard by shard.
        measured: χ of the same tokens.
        rows_of: shard → its rows, for the shards that judge.
        on_shard: called with the number of shards done, and of all.

    Raises ValueError if a network was trained along draws that would judge it.
    """
    require_unseen(ensemble, measured)
    predicted = []
    for done, (shard, rows) in enumerate(rows_of.items()):
        on_shard(done, len(rows_of))
        predicted.append(ensemble.held_out(np.array(features_NF[rows]), shard))
    by_fold = sorted(rows_of, key=lambda shard: (shard % ensemble.num_folds, shard))
    sizes = [rows.stop - rows.start for rows in rows_of.values()]
    return HeldOutScores.of(
        np.concatenate(predicted, axis=1),
        np.concatenate([measured.halves_2NH[:, rows] for rows in rows_of.values()], axis=1),
        np.repeat([by_fold.index(shard) % 2 == 1 for shard in rows_of], sizes),
        own_draws=measured.own_draws,
    )


def require_unseen(ensemble: Ensemble, measured: Measured) -> None:
    """Raise ValueError if a network was trained along draws that would judge it."""
    fold_N = measured.fold_N(ensemble.num_folds)
    for fold, own in enumerate(ensemble.networks):
        for half, network in enumerate(own):
            halves = (0, 1) if measured.own_draws else (1 - half,)
            judging = [measured.draw_sets(h, fold_N == fold) for h in halves]
            if np.isin(np.concatenate(judging), network.trained_draws).any():
                raise ValueError(
                    f"network {half} of fold {fold} was trained along the draws that would judge "
                    "it: its error there says nothing of other draws; remove predictor/ to have "
                    "the networks trained anew"
                )


def _curves(p: Floats, a: Floats, *, own_draws: bool) -> ErrorCurves:
    """Errors of the mean of a fold's two networks (of one, where draws are shared); noise of χ."""
    noise_NH = (a[0] - a[1]) ** 2 / 4
    if own_draws:
        return ErrorCurves.fit(p.mean(0), a.mean(0), noise_NH, noise_NH)
    noise_NH = np.concatenate([noise_NH, noise_NH])
    return ErrorCurves.fit(np.concatenate(p), np.concatenate(a[::-1]), noise_NH, 2 * noise_NH)


def _coverage(
    p: Floats, a: Floats, is_other_N: npt.NDArray[np.bool_], *, own_draws: bool
) -> Floats:
    """Share of χ within the 95 % intervals of curves that were fitted on the other shards."""
    covered = []
    for part_N in (is_other_N, ~is_other_N):
        curves = _curves(p[:, ~part_N], a[:, ~part_N], own_draws=own_draws)
        if own_draws:
            each, other = p[:, part_N].mean(0), a[:, part_N].mean(0)
        else:
            each, other = np.concatenate(p[:, part_N]), np.concatenate(a[::-1, part_N])
        noise_NH = curves.noise_variance(each) * (1 if own_draws else 2)
        deviation_NH = np.sqrt(curves.error_variance(each) + noise_NH)
        covered.append(np.abs(each - other) <= NORMAL_95 * deviation_NH)
    return np.asarray(np.concatenate(covered).mean(0))


def _agreement(p: Floats, a: Floats, *, own_draws: bool) -> tuple[Floats, Floats]:
    """Correlation and its ceiling."""
    if own_draws:
        both = agreement(p.mean(0), a.mean(0), a)
        return np.asarray(both.r_H), np.asarray(both.ceiling_H)
    each = [agreement(p[h], a[1 - h], a, of_halves=1) for h in (0, 1)]
    return np.asarray((each[0].r_H + each[1].r_H) / 2), np.asarray(each[0].ceiling_H)
