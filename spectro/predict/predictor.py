"""The ensemble: χ and its standard deviation for tokens that were never measured.

Every token shard is held out by one network (a fold), so the error of a single network is
measured on tokens and draws that it has not seen: with m its prediction, χ the measurement and
ν the noise variance of χ, E(m − χ)² − ν. The mean of the ensemble has less:

    E(m̄ − truth)² = mean_k E(m_k − truth)² − mean_k E(m_k − m̄)²       (Krogh & Vedelsby 1995)

Shapes: N tokens, F features, H components, K networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.predict.config import PredictConfig
from spectro.predict.measured import Measured, held_out
from spectro.predict.network import Network, train_network

FloatArray = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """χ of tokens with its standard deviation."""

    mean_NH: FloatArray
    deviation_NH: FloatArray
    """Predictive standard deviation: of the truth around the mean."""


@dataclass(frozen=True, kw_only=True)
class HeldOutPrediction:
    """χ of every measured token by the network that has seen neither it nor its draws."""

    mean_NH: FloatArray
    """Prediction of the network of the token's fold."""
    chi_NH: FloatArray
    """Measured χ along draws that this network has not seen."""
    error_variance_H: FloatArray
    """Mean square error of the predictions against the truth."""
    noise_variance_H: FloatArray
    """Variance of the noise of `chi_NH`."""


class Predictor:
    """Networks, and what their errors are."""

    def __init__(self, networks: Sequence[Network], error_variance_H: FloatArray) -> None:
        self.networks = tuple(networks)
        self.error_variance_H = error_variance_H
        """Mean square error of one network on held-out tokens and draws."""

    def predict(self, features_NF: Features) -> Prediction:
        """χ of tokens that no network has seen. Raises ValueError as `Network.predict`."""
        each_KNH = np.stack([network.predict(features_NF) for network in self.networks])
        spread_NH = each_KNH.var(0)
        variance_NH = (
            np.maximum(self.error_variance_H - spread_NH.mean(0), 0.25 * self.error_variance_H)
            + 0 * spread_NH
        )
        return Prediction(mean_NH=each_KNH.mean(0), deviation_NH=np.sqrt(variance_NH))

    def to_tensors(self) -> dict[str, Tensor]:
        """Networks and errors as named tensors."""
        named = {
            f"network{index}.{name}": tensor
            for index, network in enumerate(self.networks)
            for name, tensor in network.to_tensors().items()
        }
        return {**named, "error_variance": torch.from_numpy(self.error_variance_H)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Predictor:
        """The predictor that `to_tensors` described."""
        networks: list[Network] = []
        while own := _with_prefix(tensors, f"network{len(networks)}."):
            networks.append(Network.from_tensors(own))
        return cls(networks, tensors["error_variance"].numpy())


def train(features_NF: Features, measured: Measured, config: PredictConfig) -> Predictor:
    """Train all networks in turn and measure their errors; see `train_network`."""
    networks = [
        train_network(features_NF, measured, config, index) for index in range(config.num_networks)
    ]
    return assemble(networks, features_NF, measured)


def assemble(networks: Sequence[Network], features_NF: Features, measured: Measured) -> Predictor:
    """The predictor of trained networks; their errors are measured on what each held out."""
    return Predictor(networks, cross_fitted(networks, features_NF, measured).error_variance_H)


def cross_fitted(
    networks: Sequence[Network], features_NF: Features, measured: Measured
) -> HeldOutPrediction:
    """Predictions for the measured tokens, each by the network that held it out.

    Raises ValueError if a network has been trained along the draws that would judge it.
    """
    mean_NH = np.empty(measured.chi_NH.shape)
    chi_NH = np.empty(measured.chi_NH.shape)
    noise_NH = np.empty(measured.chi_NH.shape)
    difference_NH = (measured.halves_2NH[0] - measured.halves_2NH[1]).astype(np.float64)
    for index, network in enumerate(networks):
        part = held_out(measured, len(networks), index)
        rows, halves = part.judge_N, list(part.judge_halves)
        if np.isin(measured.draws_2N[halves][:, rows], network.trained_draws).any():
            raise ValueError(
                f"network {index} was trained along the draws that would judge it: its error there "
                "says nothing of other draws; train it with the same shards and num_networks"
            )
        mean_NH[rows] = network.predict(features_NF[rows])
        chi_NH[rows] = measured.halves_2NH[halves][:, rows].mean(0)
        noise_NH[rows] = difference_NH[rows] ** 2 / (2 * len(halves))
    noise_H = noise_NH.mean(0)
    error_H = ((mean_NH - chi_NH) ** 2).mean(0) - noise_H
    return HeldOutPrediction(
        mean_NH=mean_NH,
        chi_NH=chi_NH,
        error_variance_H=np.maximum(error_H, 1e-3 * ((mean_NH - chi_NH) ** 2).mean(0)),
        noise_variance_H=noise_H,
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
