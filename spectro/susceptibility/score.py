"""Running sums of Δℓ over draws: all that χ needs of a token (design §1).

Per component, chain and token i the sums over draws t
    Σ_t φ_t Δℓ_i(t)        and        Σ_t Δℓ_i(t)        with φ_t = ΔL(t)
are kept; no trace of size draws × tokens ever exists. Sums accumulate in float64
over slices of draws.

Shapes: n sequences, T positions, N = n·T tokens in row-major order, C chains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel, Weights
from spectro.models.components import Group
from spectro.models.delta import delta_losses, sequence_batches
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TileSums:
    """Sums of one component over the draws of each chain, for the tokens of one shard."""

    weighted_CN: npt.NDArray[np.float32]
    """Σ_t ΔL(t) Δℓ_i(t), nats²."""
    plain_CN: npt.NDArray[np.float32]
    """Σ_t Δℓ_i(t), nats."""


def score_tile(
    model: GPTNeoX,
    group: Group,
    draws_by_chain: Sequence[Mapping[str, Weights]],
    delta_loss: Mapping[str, FloatArray],
    probe_ids: Tensor,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, TileSums]:
    """Score a shard: `score_group_tile` on the group of a GPT-NeoX model."""
    return score_group_tile(
        group_model(model, group), draws_by_chain, delta_loss, probe_ids, on_progress=on_progress
    )


def score_group_tile(
    part: GroupModel[Any],
    draws_by_chain: Sequence[Mapping[str, Weights]],
    delta_loss: Mapping[str, FloatArray],
    probe_ids: Tensor,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, TileSums]:
    """Score the tokens of one shard along the draws of all chains of a group.

    Args:
        part: the group's forward passes, of any architecture.
        draws_by_chain: per chain: component → block → displacements [num_draws, *block shape].
        delta_loss: component → ΔL(t) of every draw, [C, num_draws], nats.
        probe_ids: int64 [n, T+1].
        on_progress: called with (sequences done, sequences in all).

    Raises:
        ValueError: a sum is not finite (the message names component and chain).
    """
    num_seq, num_pos = probe_ids.shape[0], probe_ids.shape[1] - 1
    shape = (len(draws_by_chain), num_seq, num_pos)
    weighted = {name: torch.zeros(shape, dtype=torch.float64) for name in part.names}
    plain = {name: torch.zeros(shape, dtype=torch.float64) for name in part.names}
    by_chain = dict(enumerate(draws_by_chain))
    for batch in sequence_batches(probe_ids):
        for name, chain, chosen, delta_RBT in delta_losses(part, probe_ids[batch], by_chain):
            phi_R = torch.from_numpy(delta_loss[name][chain][chosen]).to(delta_RBT)
            weighted[name][chain, batch] += torch.tensordot(phi_R, delta_RBT, dims=1).cpu()
            plain[name][chain, batch] += delta_RBT.sum(0).cpu()
        if on_progress is not None:
            on_progress(batch.stop, num_seq)
    return {
        name: TileSums(
            weighted_CN=_finite(weighted[name], name), plain_CN=_finite(plain[name], name)
        )
        for name in part.names
    }


def _finite(sums: Tensor, component: str) -> npt.NDArray[np.float32]:
    bad = ~torch.isfinite(sums).flatten(1).all(dim=1)
    if bad.any():
        chain = int(bad.nonzero()[0])
        raise ValueError(
            f"component {component}, chain {chain}: a token's loss is not finite under this "
            "chain's draws; lower sampler.step_size or nbeta, or raise gamma"
        )
    return sums.flatten(1).float().numpy()
