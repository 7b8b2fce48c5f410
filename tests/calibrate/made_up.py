"""Responses with a known signal and a known noise per draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spectro.calibrate.measures import Labels
from spectro.calibrate.responses import Responses


def responses(signal_NH: npt.NDArray[np.float64], noise: float, num_draws: int) -> Responses:
    """ΔL is 1 in every draw, so that χ of some draws is 1 + signal + the mean of their noise."""
    num_tokens, num_columns = signal_NH.shape
    rng = np.random.default_rng(7)
    noise_HRN = noise * rng.standard_normal((num_columns, num_draws, num_tokens))
    return Responses(
        gamma=300.0,
        components=tuple(f"l0h{h}" for h in range(num_columns)),
        delta_HRN=-(signal_NH.T[:, None] + noise_HRN).astype(np.float32),
        delta_loss_HR=np.ones((num_columns, num_draws)),
    )


def labels(y_N: npt.NDArray[np.integer]) -> Labels:
    """y, and no pattern."""
    return Labels(y_N=y_N, pattern_NP=np.zeros((len(y_N), 1), bool))
