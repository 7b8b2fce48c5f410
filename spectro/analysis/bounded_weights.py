"""Weights within bounds whose response is nearest to a target: a convex dual, by Newton's method.

Problem and equations are those of `data_weights.py`. Shapes: U units, H components, D = H + 1
unknowns of the dual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

MOST_STEPS = 200
"""Newton steps for one ridge; some ten are usual."""
CONTINUATION = (1e6, 1e4, 1e2, 1.0)
"""Multiples of the ridge that are solved one after the other, each from the last one's solution."""
DAMPING, SHORTEST_STEP = 1e-6, 1e-12
TOLERANCE = 1e-9
"""Largest gradient of the dual, against the length of the target, where Newton's method ends."""


def weights_for(
    share_U: Float64, x_UH: Float64, target_H: Float64, ridge: float, max_ratio: float
) -> Float64:
    """w_u / p_u, the factor of every unit, [U]: between 0 and `max_ratio`, with Σ p (w/p) = 1.

    Newton's method on the dual F(a, b) = Σ p ψ(x · a − b) + b + ridge/2 |a|² − a · t, where ψ' =
    clip(1 + ·, 0, max_ratio).

    Args:
        share_U: p.
        x_UH: mean responses of the units.
        target_H: t, in the units of x.
        ridge: weight of small changes against the target; > 0.
        max_ratio: largest factor; > 1.

    Raises ValueError for a ridge or bound out of range, ArithmeticError without convergence.
    """
    if not (ridge > 0 and max_ratio > 1):
        raise ValueError(f"expected ridge > 0 and max_ratio > 1, found {ridge} and {max_ratio}")
    unit = float(np.sqrt(share_U @ np.square(x_UH).sum(axis=1))) or 1.0  # the result has no unit
    dual = _Dual(
        design_UD=np.concatenate([x_UH / unit, -np.ones((len(x_UH), 1))], axis=1),
        share_U=share_U,
        goal_D=np.append(target_H / unit, -1.0),
        max_ratio=max_ratio,
    )
    z_D = np.zeros(len(target_H) + 1)
    for multiple in CONTINUATION:
        z_D = dual.minimised(z_D, multiple * ridge / unit**2)
    return dual.factors(z_D)


@dataclass(frozen=True, kw_only=True)
class _Dual:
    """F(z), z = (a, b), of `weights_for`; ψ(s) = (1 + s) f − f²/2 with f = clip(1 + s)."""

    design_UD: Float64
    """x and −1 of every unit."""
    share_U: Float64
    goal_D: Float64
    """t and −1."""
    max_ratio: float

    def factors(self, z_D: Float64) -> Float64:
        result: Float64 = np.clip(1 + self.design_UD @ z_D, 0.0, self.max_ratio)
        return result

    def value(self, z_D: Float64, ridge_D: Float64) -> float:
        plain_U, factor_U = 1 + self.design_UD @ z_D, self.factors(z_D)
        psi_U = plain_U * factor_U - factor_U**2 / 2
        return float(self.share_U @ psi_U + ridge_D @ z_D**2 / 2 - self.goal_D @ z_D)

    def minimised(self, z_D: Float64, ridge: float) -> Float64:
        """The minimum by Newton's method with a damping that falls with the gradient."""
        ridge_D = np.append(np.full(len(z_D) - 1, ridge), 0.0)
        tolerance = TOLERANCE * max(1.0, float(np.abs(self.goal_D).max()))
        for _ in range(MOST_STEPS):
            factor_U = self.factors(z_D)
            gradient_D = self.design_UD.T @ (self.share_U * factor_U) + ridge_D * z_D - self.goal_D
            largest = float(np.abs(gradient_D).max())
            if largest <= tolerance:
                return z_D
            free_U = self.share_U * ((factor_U > 0) & (factor_U < self.max_ratio))
            curvature_DD = self.design_UD.T @ (free_U[:, None] * self.design_UD)
            damping_D = ridge_D + DAMPING * min(largest, 1.0)
            step_D = -np.linalg.solve(curvature_DD + np.diag(damping_D), gradient_D)
            slope, size, value = float(gradient_D @ step_D), 1.0, self.value(z_D, ridge_D)
            while size > SHORTEST_STEP and self.value(
                z_D + size * step_D, ridge_D
            ) > value + 1e-4 * size * slope + 1e-15 * abs(value):
                size /= 2
            z_D = z_D + size * step_D
        raise ArithmeticError(
            f"the weights did not converge in {MOST_STEPS} steps: the target is likely far outside "
            "of what weights can reach; ask for a smaller change"
        )
