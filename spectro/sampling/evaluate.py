"""ΔL of draws on the evaluation set, and the reliability of the draws so far.

Δℓ_i(t) of the evaluation tokens is computed with ΔL(t); from it follows, at no
further cost, what a column's own part −E_C[φ (Δℓ_i − ΔL)] looks like on these tokens, so how
reliable the column will be on others like them.

Shapes: E evaluation sequences, T positions, R draws of one slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import CPU_ROWS, RowBudget, fit
from spectro.models.delta import DrawSlice, pack_losses, sequence_batches
from spectro.models.scoring import Scoring
from spectro.sampling.draws import DrawSource
from spectro.sampling.observable import observable

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Some draws of one component on the evaluation set."""

    delta_loss: FloatArray
    """ΔL(t), nats, [R]; summed in float64."""
    delta_RN: Tensor
    """Δℓ_i(t) of every evaluation token, nats, on the host, [R, E·T]."""


@torch.no_grad()
def evaluate(
    part: GroupModel[Any],
    source: DrawSource,
    wanted: Mapping[str, slice],
    evaluation_ids: Tensor,
    scoring: Scoring | None = None,
) -> dict[str, Evaluated]:
    """Δℓ and ΔL of some draws of some components.

    Args:
        part: the group.
        source: the draws.
        wanted: component → which of its draws.
        evaluation_ids: int64 [E, T+1].
        scoring: how losses are computed.
    """
    scoring = scoring or Scoring(budget=RowBudget(rows=CPU_ROWS))
    pieces = [DrawSlice(0, name, draws) for name, draws in wanted.items()]
    found = fit(scoring.budget, lambda: _all_losses(part, source, pieces, evaluation_ids, scoring))
    return {
        name: Evaluated(
            delta_loss=delta.double().mean(dim=(1, 2)).numpy(), delta_RN=delta.flatten(1)
        )
        for name, delta in found.items()
    }


def _all_losses(
    part: GroupModel[Any],
    source: DrawSource,
    pieces: list[DrawSlice],
    ids: Tensor,
    scoring: Scoring,
) -> dict[str, Tensor]:
    """Component → Δℓ on the host, [R, E, T]."""
    shape = (len(ids), ids.shape[1] - 1)
    found: dict[str, Tensor] = {}
    first = {p.component: p.draws.start for p in pieces}
    count = {p.component: p.draws.stop - p.draws.start for p in pieces}
    for batch in sequence_batches(ids, scoring):
        packs = pack_losses(part, ids[batch], {0: source}, pieces, scoring)
        for piece, delta in chain.from_iterable(packs):
            name, start = piece.component, piece.draws.start - first[piece.component]
            if name not in found:
                found[name] = torch.empty(count[name], *shape, dtype=delta.dtype)
            found[name][start : start + len(delta), batch] = delta.cpu()
    return found


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
