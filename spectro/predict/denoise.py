"""Measurement and prediction of the same token combined with the least error.

With m the prediction of a network that has seen neither the token's shard nor its draws, e the mean
square error of such predictions, χ the measurement and ν its noise variance, both per column:

    denoised = m + w (χ − m),    w = e / (e + ν),    variance e ν / (e + ν)

Errors of m and noise of χ are independent because the draws are.

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spectro.predict.measured import Measured, held_out
from spectro.predict.network import Network
from spectro.predict.predictor import Features, Prediction, cross_fitted


def denoise(networks: Sequence[Network], features_NF: Features, measured: Measured) -> Prediction:
    """Denoised χ of the measured tokens and its standard deviation.

    Raises ValueError if draws are shared by shards: half of the measurement would be thrown away.
    """
    for index in range(len(networks)):
        if len(held_out(measured, len(networks), index).judge_halves) < 2:
            raise ValueError(
                "denoising needs draws of their own for every token shard (chain.draws per_shard): "
                "with shared draws a prediction has the noise of the measurement it would correct"
            )
    found = cross_fitted(networks, features_NF, measured)
    error_H, noise_H = found.error_variance_H, found.noise_variance_H
    weight_H = error_H / (error_H + noise_H)
    mean_NH = found.mean_NH + weight_H * (found.chi_NH - found.mean_NH)
    deviation_H = np.sqrt(weight_H * noise_H)
    return Prediction(
        mean_NH=mean_NH, deviation_NH=np.broadcast_to(deviation_H, mean_NH.shape).copy()
    )
