"""Inverse-variance weighting of the measured and the predicted χ of a token.

With p the prediction of networks that have seen neither the token's shard nor its draws, e the
variance of its error, a the measurement and ν the variance of its noise (errors.py):

    denoised = p + w (a − p),    w = e / (e + ν),    variance e ν / (e + ν)

Errors of p and noise of a are independent because the draws are. Where shards share their draws
they are not, and χ stays as it was measured.

Shapes: N tokens, H components; a leading 2 is the halves of the chains.
"""

from __future__ import annotations

import numpy as np

from spectro.predict.ensemble import Estimate, Floats
from spectro.predict.held_out import HeldOutScores


def denoise(predicted_2NH: Floats, measured_2NH: Floats, judged: HeldOutScores) -> Estimate:
    """χ of measured tokens.

    Args:
        predicted_2NH: by the networks of the shard's own fold (`Ensemble.held_out`).
        measured_2NH: χ of either half of the chains.
        judged: errors of these networks, noise of these measurements.
    """
    p_NH, a_NH = predicted_2NH.mean(0), measured_2NH.mean(0)
    noise_NH = judged.curves.noise_variance(p_NH)
    if not judged.own_draws:
        return Estimate(chi_NH=a_NH, halves_2NH=measured_2NH, deviation_NH=np.sqrt(noise_NH))
    weight_NH = _weight(judged.curves.error_variance(p_NH), noise_NH)
    of_half = judged.half_curves
    weight_2NH = np.stack(
        [_weight(of_half.error_variance(p), of_half.noise_variance(p)) for p in predicted_2NH]
    )
    return Estimate(
        chi_NH=p_NH + weight_NH * (a_NH - p_NH),
        halves_2NH=predicted_2NH + weight_2NH * (measured_2NH - predicted_2NH),
        deviation_NH=np.sqrt(weight_NH * noise_NH),
    )


def _weight(error_NH: Floats, noise_NH: Floats) -> Floats:
    """Of the measurement."""
    return error_NH / np.maximum(error_NH + noise_NH, np.finfo(np.float64).tiny)
