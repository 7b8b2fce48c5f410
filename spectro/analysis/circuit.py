"""Do the principal axes of susceptibilities find the induction circuit? (ADR 099)

Baker et al. 2025 (arXiv 2504.18274): of χ of all heads of a two-layer attention-only transformer
axis 1 is uniform, axis 2 has induction heads at one side and multigram heads at the other.
Kinds of heads come from `head_scores.py`, without χ. AUC is the probability that one of a kind
ranks above another: 0.5 is chance. Shapes: N tokens, H heads, A axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.head_scores import HeadKind, HeadScores
from spectro.analysis.principal_axes import Principal

Float64 = NDArray[np.float64]
LEAST_UNIFORM_SHARE, LEAST_HEAD_AUC, LEAST_TOKEN_AUC = 0.5, 0.9, 0.65
"""Thresholds, written before χ was measured."""


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """Principal axes of χ of the heads, held against what the heads do."""

    scores: HeadScores
    principal: Principal
    """Columns are the heads, in the order of the scores."""
    head_auc_A: Float64
    """AUC of the loading of induction against multigram heads, in either direction; NaN without
    both."""
    token_auc_A: Float64
    """AUC of the token's score for tokens that complete a repeated pair, on the side where the χ of
    induction heads is negative; NaN without both kinds of heads or of tokens."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published finding with what was found."""

    text: str
    """With its threshold."""
    found: str
    """Figures."""
    holds: bool


def circuit(
    scores: HeadScores,
    principal: Principal,
    chi_NH: NDArray[np.floating],
    is_repeat_N: NDArray[np.bool_],
) -> Circuit:
    """Axes against kinds of heads and of tokens.

    Args:
        scores: of the heads.
        principal: axes of the same columns.
        chi_NH: of a sample of tokens.
        is_repeat_N: which of them complete a repeated pair.

    Raises ValueError, in one line, for other columns.
    """
    if scores.components != principal.components:
        raise ValueError(
            f"expected axes of the heads {', '.join(scores.components)}, found those of "
            f"{', '.join(principal.components)}"
        )
    kinds = np.array(scores.kinds)
    is_one_H, is_other_H = kinds == HeadKind.INDUCTION, kinds == HeadKind.MULTIGRAM
    either_H = is_one_H | is_other_H
    finite_N = np.isfinite(chi_NH).all(axis=1)
    score_NA = principal.scale.apply(chi_NH[finite_N]) @ principal.loading_AH.T
    head_auc, token_auc = [], []
    for loading_H, score_N in zip(principal.loading_AH, score_NA.T, strict=True):
        signed = auc(is_one_H[either_H], loading_H[either_H])
        side = np.nan if np.isnan(signed) else (1.0 if signed >= 0.5 else -1.0)
        head_auc.append(max(signed, 1 - signed))
        token_auc.append(auc(is_repeat_N[finite_N], -side * score_N))
    return Circuit(
        scores=scores,
        principal=principal,
        head_auc_A=np.array(head_auc),
        token_auc_A=np.array(token_auc),
    )


def claims(found: Circuit) -> tuple[Claim, ...]:
    """The three published findings; at least two axes are needed."""
    principal = found.principal
    share, first_H = float(principal.share_H[0]), principal.loading_AH[0]
    same_sign = float(max((first_H > 0).mean(), (first_H < 0).mean()))
    head_auc, token_auc = float(found.head_auc_A[1]), float(found.token_auc_A[1])
    return (
        Claim(
            text=f"axis 1 is uniform: share of variance ≥ {LEAST_UNIFORM_SHARE}, one sign",
            found=f"{share:.3f}, one sign at {same_sign:.0%} of the heads",
            holds=share >= LEAST_UNIFORM_SHARE and same_sign == 1.0,
        ),
        Claim(
            text=f"axis 2 separates induction from multigram heads: AUC ≥ {LEAST_HEAD_AUC}",
            found=f"{head_auc:.2f}",
            holds=head_auc >= LEAST_HEAD_AUC,
        ),
        Claim(
            text=f"axis 2 finds tokens that complete a pair: AUC ≥ {LEAST_TOKEN_AUC}",
            found=f"{token_auc:.2f}",
            holds=token_auc >= LEAST_TOKEN_AUC,
        ),
    )


def auc(is_kind_N: NDArray[np.bool_], score_N: NDArray[np.floating]) -> float:
    """AUC of some scores; NaN where one class is empty or a score is not a number."""
    if is_kind_N.all() or not is_kind_N.any() or np.isnan(score_N).any():
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_kind_N, score_N))
