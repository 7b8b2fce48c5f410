"""Δℓ of draws: per-token loss under displaced weights minus the loss at w*.

ℓ(w*) cancels exactly in χ; taking it off here, per token and by the same arithmetic, keeps the
precision that sums of raw losses would lose (design §1).

Shapes: n sequences, T positions, R draws of one slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel, Weights

ROWS_AT_ONCE = {"cpu": 4096, "cuda": 262_144}
"""Token positions × draws in one pass, by device type: large enough for efficient products,
small enough that a layer's activations stay near the processor."""


def sequence_batches(ids_nT1: Tensor) -> Iterator[slice]:
    """Slices of sequences whose positions fill one pass."""
    num_seq, length = ids_nT1.shape
    rows = ROWS_AT_ONCE.get(ids_nT1.device.type, ROWS_AT_ONCE["cuda"])
    size = min(num_seq, max(1, rows // (length - 1)))
    for start in range(0, num_seq, size):
        yield slice(start, min(start + size, num_seq))


@torch.no_grad()
def clean_losses(part: GroupModel[Any], ids_nT1: Tensor) -> Tensor:
    """ℓ(w*) of every token, float32 [n, T] in nats."""
    return torch.cat(
        [part.clean_losses(part.prepare(ids_nT1[batch])) for batch in sequence_batches(ids_nT1)]
    )


@torch.no_grad()
def delta_losses(
    part: GroupModel[Any], ids_bT1: Tensor, draws_by_chain: Mapping[int, Mapping[str, Weights]]
) -> Iterator[tuple[str, int, slice, Tensor]]:
    """Δℓ of every draw on one batch of sequences (see `sequence_batches`).

    Args:
        part: the group.
        ids_bT1: int64 [b, T+1].
        draws_by_chain: chain → component → block → displacements [num_draws, *block shape].

    Yields:
        (component, chain, slice of draws, Δℓ float [R, b, T] in nats).
    """
    clean = part.prepare(ids_bT1)
    clean_bT = part.clean_losses(clean)
    rows = ROWS_AT_ONCE.get(ids_bT1.device.type, ROWS_AT_ONCE["cuda"])
    num_together = max(1, rows // clean_bT.numel())
    for chain, draws in draws_by_chain.items():
        for name, blocks in draws.items():
            center = part.weights(name)
            num_draws = len(next(iter(blocks.values())))
            for start in range(0, num_draws, num_together):
                chosen = slice(start, min(start + num_together, num_draws))
                displaced = {
                    block: center[block] + delta[chosen].to(center[block])
                    for block, delta in blocks.items()
                }
                losses = part.losses(clean, {name: displaced})[name]
                yield name, chain, chosen, losses - clean_bT
