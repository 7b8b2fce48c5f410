"""Measurement and prediction of the same token combined with the least error.

With m the prediction of a network that has seen neither the token's shard nor its draws, e the
variance of its error, χ the measurement and ν the variance of its noise (errors.py):

    denoised = m + w (χ − m),    w = e / (e + ν),    variance e ν / (e + ν)

Errors of m and noise of χ are independent because the draws are.

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spectro.predict.measured import Measured
from spectro.predict.network import Network
from spectro.predict.predictor import Features, Prediction, cross_fitted


def denoise(networks: Sequence[Network], features_NF: Features, measured: Measured) -> Prediction:
    """Denoised χ of the measured tokens and its standard deviation.

    Raises ValueError if draws are shared by shards: predictions then have the noise of the
    measurement, or half of the measurement is thrown away.
    """
    found = cross_fitted(networks, features_NF, measured)
    if found.num_halves < 2:
        raise ValueError(
            "denoising needs draws of their own for every token shard (chain.draws per_shard): "
            "with shared draws a prediction has the noise of the measurement that it would correct"
        )
    error_NH = found.curves.error_variance(found.predicted_NH)
    noise_NH = found.curves.noise_variance(found.predicted_NH)
    weight_NH = error_NH / np.maximum(error_NH + noise_NH, np.finfo(float).tiny)
    return Prediction(
        mean_NH=found.predicted_NH + weight_NH * (found.measured_NH - found.predicted_NH),
        deviation_NH=np.sqrt(weight_NH * noise_NH),
    )
