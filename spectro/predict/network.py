"""One regression network from features to χ: architecture, training, tensors.

Two hidden layers; AdamW with a one-cycle schedule; the error is the mean square of the scaled
targets (scaling.py).

Shapes: N tokens, F features, H components.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spectro.predict.config import PredictConfig
from spectro.predict.measured import Measured
from spectro.predict.scaling import InputScaling, TargetScaling

BATCH = 512
"""Tokens of a training step."""
MIN_STEPS = 250
"""Below, networks on a few thousand tokens have learnt nothing but the mean."""
AT_ONCE = 8192
"""Tokens that are predicted, and looked at, at once."""
MAX_SCALED = 2**15
"""Tokens that scalings are taken from, evenly spread over the training tokens: medians and
deviations are known to 1 %, and all else of training is read batch by batch."""


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
        self._device = inputs.mean_F.device
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
            self._scaling.backward(self._layers(self._inputs.forward(part.to(self._device)))).cpu()
            for part in torch.split(torch.from_numpy(features_NF), AT_ONCE)
        ]
        chi_NH: npt.NDArray[np.float64] = torch.cat(found).double().numpy()
        return chi_NH

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything of the network as named tensors, on the CPU."""
        layers = {f"layers.{k}": v.contiguous() for k, v in self._layers.state_dict().items()}
        scaling = {f"scaling.{k}": v for k, v in vars(self._scaling).items()}
        inputs = {f"inputs.{k}": v for k, v in vars(self._inputs).items()}
        draws = {"trained_draws": torch.from_numpy(self.trained_draws)}
        return {name: t.cpu() for name, t in {**layers, **scaling, **inputs, **draws}.items()}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> Network:
        """The network that `to_tensors` described, on a device."""
        draws = tensors["trained_draws"].numpy()
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        state = OrderedDict(with_prefix(tensors, "layers."))
        first, last = state["0.weight"], state["6.weight"]
        layers = _layers(first.shape[1], first.shape[0], last.shape[0], dropout=0.0)
        layers.load_state_dict(state, assign=True)
        return cls(
            layers,
            InputScaling(**with_prefix(tensors, "inputs.")),
            TargetScaling(**with_prefix(tensors, "scaling.")),
            draws,
        )


def train_network(
    features_NF: npt.NDArray[np.float32],
    measured: Measured,
    config: PredictConfig,
    fold: int,
    half: int,
    device: torch.device | str = "cpu",
) -> Network:
    """Train the network of a fold on one half of the draws, without the fold's token shards.

    Features and χ may be memory-mapped: beside a sample for the scalings one batch is held at a
    time. Deterministic in (seed, fold, half) on one CPU; random numbers are drawn there but for
    dropout's. Raises ValueError for features or χ that are not finite, for another number of them
    than of tokens, and where a fold holds out nothing (`Measured.training_rows`).
    """
    if len(features_NF) != len(measured.shard_N):
        raise ValueError(
            f"features of {len(features_NF)} tokens, chi of {len(measured.shard_N)}: "
            "they must be the same tokens in the same order"
        )
    check_features(features_NF, features_NF.shape[1])
    chi_NH = measured.halves_2NH[half]
    _check_chi(chi_NH)
    rows = measured.training_rows(config.num_folds, fold)
    sample = rows[:: -(-len(rows) // MAX_SCALED)]
    inputs = InputScaling.of(torch.from_numpy(features_NF[sample]))
    scaling = TargetScaling.of(torch.from_numpy(chi_NH[sample].astype(np.float32)))
    inputs, scaling = inputs.to(device), scaling.to(device)

    def batch(picked: npt.NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        features = torch.from_numpy(features_NF[picked]).to(device)
        chi = torch.from_numpy(chi_NH[picked].astype(np.float32)).to(device)
        return inputs.forward(features), scaling.forward(chi)

    with torch.random.fork_rng([device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed((2 * config.seed + half) * 1_000_003 + fold)
        layers = _layers(
            features_NF.shape[1], config.hidden, 1 + chi_NH.shape[1], dropout=config.dropout
        ).to(device)
        _fit(layers, batch, rows, config)
    return Network(layers, inputs, scaling, measured.draw_sets(half, _mask(rows, len(chi_NH))))


def num_epochs(num_tokens: int, config: PredictConfig) -> int:
    """Passes over so many training tokens."""
    return max(config.epochs, -(-MIN_STEPS // -(-num_tokens // BATCH)))


def check_features(features_NF: npt.NDArray[np.float32], num_features: int) -> None:
    """Raise ValueError unless there are as many features as expected, all finite."""
    if features_NF.ndim != 2 or features_NF.shape[1] != num_features:
        raise ValueError(
            f"expected {num_features} features per token, found an array {features_NF.shape}: "
            "was the predictor trained with another model?"
        )
    num_wrong = _num_not_finite(features_NF)
    if num_wrong:
        raise ValueError(
            f"features must be finite: {num_wrong} of {len(features_NF)} tokens have others; the "
            "model or the token ids are damaged"
        )


def _check_chi(chi_NH: npt.NDArray[np.floating]) -> None:
    num_wrong = _num_not_finite(chi_NH)
    if num_wrong:
        raise ValueError(
            f"measured chi of {num_wrong} of {len(chi_NH)} tokens is not finite in one of its "
            "halves: with one chain there are no halves, and nothing can be held out"
        )


def _num_not_finite(values_NF: npt.NDArray[np.floating]) -> int:
    """Rows with a value that is not finite."""
    return sum(
        int((~np.isfinite(values_NF[start : start + AT_ONCE])).any(1).sum())
        for start in range(0, len(values_NF), AT_ONCE)
    )


def _mask(rows: npt.NDArray[np.intp], num_tokens: int) -> npt.NDArray[np.bool_]:
    mask_N = np.zeros(num_tokens, bool)
    mask_N[rows] = True
    return mask_N


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


def _fit(
    layers: nn.Sequential,
    batch: Callable[[npt.NDArray[np.intp]], tuple[Tensor, Tensor]],
    rows: npt.NDArray[np.intp],
    c: PredictConfig,
) -> None:
    per_epoch, epochs = -(-len(rows) // BATCH), num_epochs(len(rows), c)
    optimizer = torch.optim.AdamW(layers.parameters(), c.learning_rate, weight_decay=c.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, c.learning_rate, total_steps=epochs * per_epoch + 1
    )
    layers.train()
    for _ in range(epochs):
        for picked in torch.split(torch.randperm(len(rows)), BATCH):
            features, targets = batch(rows[picked.numpy()])
            error = (layers(features) - targets).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
