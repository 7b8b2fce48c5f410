"""One network from features to χ: its training, and its tensors.

Two hidden layers; AdamW with a one-cycle schedule; the error is the mean square of the scaled
targets (scaling.py).

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spectro.predict.config import PredictConfig
from spectro.predict.measured import Measured, held_out
from spectro.predict.scaling import InputScaling, TargetScaling

BATCH = 512
"""Tokens of a training step."""
MIN_STEPS = 250
"""Below, networks on a few thousand tokens have learnt nothing but the mean."""
AT_ONCE = 8192
"""Tokens that are predicted at once."""


class Network:
    """A trained network with the scalings of its features and targets."""

    def __init__(
        self,
        layers: nn.Sequential,
        inputs: InputScaling,
        scaling: TargetScaling,
        trained_draws: npt.NDArray[np.int64],
    ) -> None:
        self._layers = layers.eval()
        self._inputs = inputs
        self._scaling = scaling
        self.trained_draws = trained_draws
        """Draw sets that its training targets have, sorted."""

    @property
    def num_features(self) -> int:
        """F."""
        return len(self._inputs.median_F)

    @torch.no_grad()
    def predict(self, features_NF: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """χ [N, H]. Raises ValueError for another number of features, or if one is not finite."""
        check_features(features_NF, self.num_features)
        found = [
            self._scaling.backward(self._layers(self._inputs.forward(torch.from_numpy(part))))
            for part in np.array_split(features_NF, max(1, -(-len(features_NF) // AT_ONCE)))
        ]
        chi_NH: npt.NDArray[np.float64] = torch.cat(found).double().numpy()
        return chi_NH

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything of the network as named tensors."""
        layers = {f"layers.{k}": v.contiguous() for k, v in self._layers.state_dict().items()}
        scaling = {f"scaling.{k}": v for k, v in vars(self._scaling).items()}
        inputs = {f"inputs.{k}": v for k, v in vars(self._inputs).items()}
        draws = {"trained_draws": torch.from_numpy(self.trained_draws)}
        return {**layers, **scaling, **inputs, **draws}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Network:
        """The network that `to_tensors` described."""
        state = OrderedDict(with_prefix(tensors, "layers."))
        first, last = state["0.weight"], state["6.weight"]
        layers = _layers(first.shape[1], first.shape[0], last.shape[0], dropout=0.0)
        layers.load_state_dict(state)
        return cls(
            layers,
            InputScaling(**with_prefix(tensors, "inputs.")),
            TargetScaling(**with_prefix(tensors, "scaling.")),
            tensors["trained_draws"].numpy(),
        )


def train_network(
    features_NF: npt.NDArray[np.float32], measured: Measured, config: PredictConfig, index: int
) -> Network:
    """Train network `index` of the ensemble without the token shards of its fold.

    Deterministic in (seed, index) on one machine. Raises ValueError for features that are not
    finite or not as many rows as tokens, and where nothing can be held out (see `held_out`).
    """
    if len(features_NF) != len(measured.shard_N):
        raise ValueError(
            f"features of {len(features_NF)} tokens, chi of {len(measured.shard_N)}: "
            "they must be the same tokens in the same order"
        )
    check_features(features_NF, features_NF.shape[1])
    part = held_out(measured, config.num_networks, index)
    chi_NH = measured.halves_2NH[list(part.train_halves)].mean(0)[part.train_N]
    chi = torch.from_numpy(np.ascontiguousarray(chi_NH, np.float32))
    features = torch.from_numpy(features_NF[part.train_N])
    inputs = InputScaling.of(features)
    scaling = TargetScaling.of(chi)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + index)
        layers = _layers(features.shape[1], config.hidden, 1 + chi.shape[1], dropout=config.dropout)
        _fit(layers, inputs.forward(features), scaling.forward(chi), config)
    draws = np.unique(measured.draws_2N[list(part.train_halves)][:, part.train_N])
    return Network(layers, inputs, scaling, draws)


def check_features(features_NF: npt.NDArray[np.float32], num_features: int) -> None:
    """Raise ValueError unless there are as many features as expected, all finite."""
    if features_NF.ndim != 2 or features_NF.shape[1] != num_features:
        raise ValueError(
            f"expected {num_features} features per token, found an array {features_NF.shape}: "
            "was the predictor trained with another model?"
        )
    if not np.isfinite(features_NF).all():
        num_wrong = int((~np.isfinite(features_NF)).any(1).sum())
        raise ValueError(
            f"features must be finite: {num_wrong} of {len(features_NF)} tokens have others; the "
            "model or the token ids are damaged"
        )


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _layers(num_features: int, hidden: int, num_targets: int, *, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_features, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_targets),
    )


def _fit(layers: nn.Sequential, inputs_NF: Tensor, targets_NT: Tensor, c: PredictConfig) -> None:
    per_epoch = -(-len(inputs_NF) // BATCH)
    epochs = max(c.epochs, -(-MIN_STEPS // per_epoch))
    optimizer = torch.optim.AdamW(layers.parameters(), c.learning_rate, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, c.learning_rate, total_steps=epochs * per_epoch + 1
    )
    layers.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs_NF)), BATCH):
            error = (layers(inputs_NF[rows]) - targets_NT[rows]).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
