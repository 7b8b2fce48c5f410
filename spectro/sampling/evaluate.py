"""ΔL of draws on the evaluation set, and the reliability of the draws so far.

Δℓ_i(t) of the evaluation tokens is computed with ΔL(t); from it follows, at no
further cost, what a column's own part −E_C[φ (Δℓ_i − ΔL)] looks like on these tokens, so how
reliable the column will be on others like them.

Shapes: E evaluation sequences, T positions, R draws of one slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import CPU_ROWS, RowBudget, fit
from spectro.models.delta import DrawSlice, next_batch, pack_losses, without_first
from spectro.models.scoring import Scoring
from spectro.sampling.checkpoint import Checkpoint, Checkpoints
from spectro.sampling.draws import DrawSource
from spectro.sampling.observable import observable

FloatArray = npt.NDArray[np.float64]
OnDraws = Callable[[int, int], None]
"""Takes (sequences × draws done, sequences × draws in all)."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Some draws of one component on the evaluation set."""

    delta_loss: FloatArray
    """ΔL(t), nats, [R]; summed in float64."""
    delta_RN: Tensor
    """Δℓ_i(t) of every evaluation token, nats, on the host, [R, E·T]."""

    @classmethod
    def of(cls, delta_RET: Tensor) -> Evaluated:
        """From Δℓ by sequence and position."""
        mean_R = delta_RET.double().mean(dim=(1, 2)).numpy()
        return cls(delta_loss=mean_R, delta_RN=delta_RET.flatten(1))


@torch.no_grad()
def evaluate(
    part: GroupModel[Any],
    source: DrawSource,
    wanted: Mapping[str, slice],
    evaluation_ids: Tensor,
    scoring: Scoring | None = None,
    *,
    on_draws: OnDraws | None = None,
    checkpoints: Checkpoints | None = None,
) -> dict[str, Evaluated]:
    """Δℓ and ΔL of some draws of some components.

    Args:
        part: the group.
        source: the draws.
        wanted: component → which of its draws.
        evaluation_ids: int64 [E, T+1].
        scoring: how losses are computed.
        on_draws: called with (sequences × draws done, sequences × draws in all).
        checkpoints: where this resumes, and where its checkpoints go, after any pass.
    """
    scoring = scoring or Scoring(budget=RowBudget(rows=CPU_ROWS))
    losses = _DrawLosses(
        part, source, wanted, evaluation_ids, scoring, checkpoints or Checkpoints(), on_draws
    )
    while not losses.is_done:
        fit(scoring.budget, losses.next_batch)
    return {name: Evaluated.of(delta) for name, delta in losses.found.items()}


class _DrawLosses:
    """Δℓ of some draws so far, and of how many of them each sequence has it."""

    def __init__(
        self,
        part: GroupModel[Any],
        source: DrawSource,
        wanted: Mapping[str, slice],
        ids: Tensor,
        scoring: Scoring,
        checkpoints: Checkpoints,
        on_draws: OnDraws | None,
    ) -> None:
        self._checkpoints, self._on_draws = checkpoints, on_draws
        self._part, self._source, self._ids, self._scoring = part, source, ids, scoring
        self._wanted = [DrawSlice(0, name, draws) for name, draws in wanted.items()]
        self._draws = wanted
        self._num_draws = sum(draws.stop - draws.start for draws in wanted.values())
        self._done_n = torch.zeros(len(ids), dtype=torch.int64)
        self.found: dict[str, Tensor] = {}
        """Component → Δℓ on the host, [R, E, T]."""
        if checkpoints.resume is not None:
            tensors = checkpoints.resume.tensors
            self._done_n = tensors["done"].clone()
            there = [name for name in wanted if f"delta/{name}" in tensors]
            self.found = {name: tensors[f"delta/{name}"].clone() for name in there}

    @property
    def is_done(self) -> bool:
        """Whether every sequence has Δℓ of all draws."""
        return bool((self._done_n >= self._num_draws).all())

    def next_batch(self) -> None:
        """Δℓ of the next sequences."""
        batch, done = next_batch(self._done_n, self._num_draws, self._ids, self._scoring)
        left = without_first(self._wanted, done)
        for pack in pack_losses(
            self._part, self._ids[batch], {0: self._source}, left, self._scoring
        ):
            on_host = torch.cat([delta_RbT for _, delta_RbT in pack]).cpu()  # one transfer
            counts = [len(delta_RbT) for _, delta_RbT in pack]
            for (piece, _), delta_RbT in zip(pack, torch.split(on_host, counts), strict=True):
                self._keep(piece, batch, delta_RbT)
            done += len(on_host)
            self._done_n[batch] = done
            position = int(self._done_n.sum())
            if self._on_draws is not None:
                self._on_draws(position, len(self._ids) * self._num_draws)
            if self._checkpoints.due():
                self._checkpoints.save(position, self._snapshot())

    def _keep(self, piece: DrawSlice, batch: slice, delta_RbT: Tensor) -> None:
        name, (num_seq, length) = piece.component, self._ids.shape
        if name not in self.found:
            draws = self._draws[name]
            count = draws.stop - draws.start
            self.found[name] = torch.zeros(count, num_seq, length - 1, dtype=delta_RbT.dtype)
        start = piece.draws.start - self._draws[name].start
        self.found[name][start : start + len(delta_RbT), batch] = delta_RbT

    def _snapshot(self) -> Checkpoint:
        copies = {f"delta/{name}": delta.clone() for name, delta in self.found.items()}
        return Checkpoint(tensors=copies | {"done": self._done_n.clone()})


@dataclass(kw_only=True)
class HalvesOfColumn:
    """Two disjoint halves of one component's draws, as columns over the evaluation tokens."""

    sums: list[FloatArray] = field(default_factory=lambda: [np.zeros(0), np.zeros(0)])
    """Per half: Σω φ (Δℓ_i − ΔL), [E·T]."""
    weight: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Per half: Σω."""

    def add(self, half: int, evaluated: Evaluated, weight_R: FloatArray) -> None:
        """Add draws to a half; those of the other half have weight 0."""
        phi_R = observable(evaluated.delta_loss)
        own_N = (weight_R * phi_R) @ evaluated.delta_RN.double().numpy()
        own_N = own_N - float((weight_R * (phi_R * evaluated.delta_loss)).sum())
        self.sums[half] = own_N if self.weight[half] == 0 else self.sums[half] + own_N
        self.weight[half] += float(weight_R.sum())

    def reliability(self, num_chains: int) -> float:
        """Split-half reliability that the column of so many such chains would have.

        With r the correlation of the halves of this chain, Spearman and Brown's formula for
        halves `num_chains` times as large: C r / (1 + (C − 1) r). NaN while a half is empty.
        """
        if min(self.weight) <= 0 or len(self.sums[0]) < 2:
            return float("nan")
        first, second = (s - s.mean() for s in self.sums)
        scale = float(np.sqrt((first @ first) * (second @ second)))
        r = float(first @ second) / scale if scale > 0 else float("nan")
        return num_chains * r / (1 + (num_chains - 1) * r) if r > 0 else r
