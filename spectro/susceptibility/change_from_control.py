"""Difference of two measurements of the same tokens, χ(nβ) − χ(0), with its error.

Of both measurements there are estimates from two halves of the chains (' and ''); where the two
share their draws, their halves do too. The difference of each half, d = χ − χ⁰, then contains the
noise of the draws only so far as the weights change it, and with

    M = ½ (d' + d''),        D = ½ (d' − d'')

D has the noise of M and nothing else. Per component, over tokens and about the mean,

    error        sd(D): the root mean square error of M
    signal       √cov(d', d''): what both halves agree on, free of noise; 0 where it is negative
    reliability  2r/(1 + r) with r = corr(d', d''): that of M (Spearman and Brown)
    scale        ½ [cov(d', χ⁰'') + cov(d'', χ⁰')] / cov(χ⁰', χ⁰''): how much larger or smaller χ⁰
                 itself becomes, which standardising a column takes out
    significant  tokens whose |M| is above the least threshold at which |D| exceeds it (FDR) times
                 as rarely: D serves as the null, whatever the noise's distribution

Shapes: N tokens, H components. Units: nats² but for ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spectro.susceptibility.reliability import spearman_brown

FloatArray = npt.NDArray[np.float64]
FDR = 0.05
"""Share of the tokens called significant that the null would call so too."""
STEP, NUM_STEPS = 0.05, 1200
"""Thresholds, in errors: |M| and |D| are counted on this grid."""


@dataclass(frozen=True, kw_only=True)
class HalvesOfTwo:
    """χ of N tokens from both halves of two measurements, [N, H] each."""

    first: npt.NDArray[np.floating]
    """χ', of the measurement that is judged."""
    second: npt.NDArray[np.floating]
    """χ''."""
    base_first: npt.NDArray[np.floating]
    """χ⁰', of the one that it is judged against."""
    base_second: npt.NDArray[np.floating]
    """χ⁰''."""

    @property
    def columns(self) -> FloatArray:
        """d', d'', χ⁰', χ⁰'' as [N, H, 4]."""
        base = np.stack([self.base_first, self.base_second], axis=-1).astype(np.float64)
        own = np.stack([self.first, self.second], axis=-1).astype(np.float64)
        return np.concatenate([own - base, base], axis=-1)


@dataclass(kw_only=True)
class MovedSums:
    """Sums over tokens, shard by shard, about the first shard's means."""

    num_tokens: int = 0
    """N so far."""
    center_H4: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    """Of d', d'', χ⁰', χ⁰''."""
    sum_H4: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    """About the center."""
    product_H44: FloatArray = field(default_factory=lambda: np.zeros((0, 4, 4)))
    """About the center."""

    def add(self, halves: HalvesOfTwo) -> None:
        """The tokens of a shard."""
        columns = halves.columns
        if self.num_tokens == 0:
            self.center_H4 = columns.mean(axis=0)
            self.sum_H4 = np.zeros_like(self.center_H4)
            self.product_H44 = np.zeros((*self.center_H4.shape, 4))
        centred = columns - self.center_H4
        self.num_tokens += len(columns)
        self.sum_H4 += centred.sum(axis=0)
        self.product_H44 += np.einsum("nha,nhb->hab", centred, centred)

    @property
    def mean_H4(self) -> FloatArray:
        """Means of d', d'', χ⁰', χ⁰''."""
        return self.center_H4 + self.sum_H4 / self.num_tokens

    @property
    def covariance_H44(self) -> FloatArray:
        """Their covariances over tokens."""
        mean = self.sum_H4 / self.num_tokens
        found: FloatArray = self.product_H44 / self.num_tokens - mean[:, :, None] * mean[:, None, :]
        return found


@dataclass(frozen=True, kw_only=True)
class ControlDifference:
    """Statistics of the difference of two measurements, by component."""

    deviation_H: FloatArray
    """sd of M over tokens, noise and all."""
    base_deviation_H: FloatArray
    """sd of the mean of χ⁰' and χ⁰''."""
    error_H: FloatArray
    """sd of D."""
    signal_H: FloatArray
    """√cov(d', d''), 0 where they do not agree."""
    reliability_H: FloatArray
    """Of M; NaN for a column that is constant."""
    scale_H: FloatArray
    """Part of χ⁰ that the difference is; NaN where the halves of χ⁰ do not agree."""
    mean_H: FloatArray
    """Mean of M over tokens."""
    mean_error_H: FloatArray
    """Mean of D over tokens."""


def moved(sums: MovedSums) -> ControlDifference:
    """Statistics of the difference; see the head of this file."""
    c = sums.covariance_H44
    half = np.array([0.5, 0.5, 0.0, 0.0])
    against = np.array([0.5, -0.5, 0.0, 0.0])
    base = np.array([0.0, 0.0, 0.5, 0.5])

    def deviation(weights: FloatArray) -> FloatArray:
        found: FloatArray = np.sqrt(np.maximum(0.0, np.einsum("a,hab,b->h", weights, c, weights)))
        return found

    agreed_H, base_H = c[:, 0, 1], c[:, 2, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        r_H = agreed_H / np.sqrt(c[:, 0, 0] * c[:, 1, 1])
        scale_H = np.where(base_H > 0, (c[:, 0, 3] + c[:, 1, 2]) / (2 * base_H), np.nan)
    return ControlDifference(
        deviation_H=deviation(half),
        base_deviation_H=deviation(base),
        error_H=deviation(against),
        signal_H=np.sqrt(np.maximum(0.0, agreed_H)),
        reliability_H=spearman_brown(r_H),
        scale_H=scale_H,
        mean_H=sums.mean_H4 @ half,
        mean_error_H=sums.mean_H4 @ against,
    )


@dataclass(kw_only=True)
class Exceedances:
    """How many tokens' |M|, and how many |D|, lie in each step of the grid; the largest |M|."""

    found: ControlDifference
    """Statistics of the first pass."""
    num_top: int
    """Tokens kept per component."""
    count_2HS: npt.NDArray[np.int64]
    """Of M and of D, by component and step."""
    top_score_HK: FloatArray
    """|M| in errors, of the tokens kept; −1 where there are fewer."""
    top_token_HK: npt.NDArray[np.int64]
    """Their ids."""
    top_difference_HK: FloatArray
    """Their M, about the column's mean."""

    @classmethod
    def begin(cls, found: ControlDifference, num_top: int) -> Exceedances:
        """Before the first shard."""
        num = len(found.error_H)
        return cls(
            found=found,
            num_top=num_top,
            count_2HS=np.zeros((2, num, NUM_STEPS), np.int64),
            top_score_HK=np.full((num, num_top), -1.0),
            top_token_HK=np.full((num, num_top), -1, np.int64),
            top_difference_HK=np.zeros((num, num_top)),
        )

    def add(self, halves: HalvesOfTwo, token_id_N: npt.NDArray[np.int64]) -> None:
        """The tokens of a shard; kept are only those whose halves agree on the sign."""
        d = halves.columns[:, :, :2]
        d -= self.found.mean_H[:, None] + self.found.mean_error_H[:, None] * np.array([1.0, -1.0])
        error_H = np.where(self.found.error_H > 0, self.found.error_H, np.inf)
        both = np.stack([d.mean(axis=-1), (d[..., 0] - d[..., 1]) / 2]) / error_H
        step = np.minimum(np.abs(both) / STEP, NUM_STEPS - 1).astype(np.int64)
        for kind in range(2):
            for column in range(step.shape[2]):
                counts = np.bincount(step[kind, :, column], minlength=NUM_STEPS)
                self.count_2HS[kind, column] += counts
        score_NH = np.where(d[..., 0] * d[..., 1] > 0, np.abs(both[0]), -1.0)
        for column in range(score_NH.shape[1]):
            self._keep(column, score_NH[:, column], d[:, column].mean(axis=-1), token_id_N)

    def _keep(
        self, column: int, score_N: FloatArray, d_N: FloatArray, token_id_N: npt.NDArray[np.int64]
    ) -> None:
        score = np.concatenate([self.top_score_HK[column], score_N])
        ids = np.concatenate([self.top_token_HK[column], token_id_N])
        difference = np.concatenate([self.top_difference_HK[column], d_N])
        best = np.argsort(-score, kind="stable")[: self.num_top]
        self.top_score_HK[column] = score[best]
        self.top_token_HK[column] = ids[best]
        self.top_difference_HK[column] = difference[best]

    @property
    def threshold_H(self) -> FloatArray:
        """Least |M| in errors that is significant; ∞ where none is."""
        above = self.count_2HS[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        allowed = (above[1] + 1) <= FDR * above[0]
        first = np.where(allowed.any(axis=1), allowed.argmax(axis=1), NUM_STEPS)
        found: FloatArray = np.where(first < NUM_STEPS, first * STEP, np.inf)
        return found

    @property
    def num_significant_H(self) -> npt.NDArray[np.int64]:
        """Tokens that are."""
        step = np.arange(NUM_STEPS) * STEP
        above = step[None, :] >= self.threshold_H[:, None]
        found: npt.NDArray[np.int64] = (self.count_2HS[0] * above).sum(axis=1)
        return found
