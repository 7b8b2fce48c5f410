"""The ensemble: χ and its standard deviation for tokens that were never measured.

Every token shard is held out by one network (a fold), so the errors of single networks are measured
on tokens and draws that they have not seen (errors.py). The mean of the ensemble has somewhat
smaller errors, by the networks' mean square distance from it (Krogh & Vedelsby 1995); the stated
deviation is that of one network.

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.predict.config import PredictConfig
from spectro.predict.errors import ErrorCurves
from spectro.predict.measured import Measured, held_out
from spectro.predict.network import Network, train_network, with_prefix

FloatArray = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """χ of tokens with its standard deviation."""

    mean_NH: FloatArray
    deviation_NH: FloatArray
    """Of the truth around the mean."""


@dataclass(frozen=True, kw_only=True)
class HeldOutPrediction:
    """χ of every measured token by the network that has seen neither it nor its draws."""

    predicted_NH: FloatArray
    """Prediction of the network of the token's fold."""
    measured_NH: FloatArray
    """Measured χ along draws that this network has not seen."""
    num_halves: int
    """Halves of the draws that `measured_NH` is the mean of."""
    curves: ErrorCurves
    """Variances of both."""


class Predictor:
    """Networks, and what their errors are."""

    def __init__(self, networks: Sequence[Network], curves: ErrorCurves) -> None:
        self.networks = tuple(networks)
        self.curves = curves
        """Errors of one network on held-out tokens and draws."""

    def predict(self, features_NF: Features) -> Prediction:
        """χ of tokens that no network has seen. Raises ValueError as `Network.predict`."""
        total_NH = sum(network.predict(features_NF) for network in self.networks)
        mean_NH = np.asarray(total_NH / len(self.networks))
        return Prediction(
            mean_NH=mean_NH, deviation_NH=np.sqrt(self.curves.error_variance(mean_NH))
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Networks and errors as named tensors."""
        networks = {
            f"network{index}.{name}": tensor
            for index, network in enumerate(self.networks)
            for name, tensor in network.to_tensors().items()
        }
        curves = {f"curves.{name}": torch.from_numpy(v) for name, v in vars(self.curves).items()}
        return networks | curves

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Predictor:
        """The predictor that `to_tensors` described."""
        networks: list[Network] = []
        while own := with_prefix(tensors, f"network{len(networks)}."):
            networks.append(Network.from_tensors(own))
        curves = with_prefix(tensors, "curves.")
        return cls(networks, ErrorCurves(**{name: v.numpy() for name, v in curves.items()}))


def train(features_NF: Features, measured: Measured, config: PredictConfig) -> Predictor:
    """Train all networks in turn and measure their errors; see `train_network`."""
    networks = [
        train_network(features_NF, measured, config, index) for index in range(config.num_networks)
    ]
    return assemble(networks, features_NF, measured)


def assemble(networks: Sequence[Network], features_NF: Features, measured: Measured) -> Predictor:
    """The predictor of all trained networks; errors are measured on what each held out."""
    return Predictor(networks, cross_fitted(networks, features_NF, measured).curves)


def cross_fitted(
    networks: Sequence[Network], features_NF: Features, measured: Measured
) -> HeldOutPrediction:
    """Predictions for the measured tokens, each by the network that held it out.

    Raises ValueError if a network has been trained along the draws that would judge it.
    """
    predicted_NH, measured_NH = np.empty((2, *measured.chi_NH.shape))
    num_halves = 2
    for index, network in enumerate(networks):
        part = held_out(measured, len(networks), index)
        rows, halves = part.judge_N, list(part.judge_halves)
        if np.isin(measured.draws_2N[halves][:, rows], network.trained_draws).any():
            raise ValueError(
                f"network {index} was trained along the draws that would judge it: its error there "
                "says nothing of other draws; train it with these token shards and num_networks"
            )
        predicted_NH[rows] = network.predict(features_NF[rows])
        measured_NH[rows] = measured.halves_2NH[halves][:, rows].mean(0)
        num_halves = len(halves)
    noise_NH = measured.noise_NH
    return HeldOutPrediction(
        predicted_NH=predicted_NH,
        measured_NH=measured_NH,
        num_halves=num_halves,
        curves=ErrorCurves.fit(predicted_NH, measured_NH, noise_NH, noise_NH * (2 / num_halves)),
    )
