"""The unpaired baseline of devinterp, for comparisons only (design §1)."""

from __future__ import annotations

import torch
from torch import Tensor

from spectro.models.gpt_neox import GPTNeoX
from spectro.sampling.keys import Randomness


@torch.no_grad()
def unpaired_offset(
    model: GPTNeoX,
    sampling_ids: Tensor,
    evaluation_ids: Tensor,
    randomness: Randomness,
    *,
    batch_size: int,
    num_batches: int,
    num_chains: int,
) -> float:
    """o = L(w*) − L̃*, nats: what the unpaired φ_t has beyond ΔL(t).

    L(w*) is the mean over the evaluation set, L̃* over the first minibatches of every chain.
    """
    total = 0.0
    for chain in range(num_chains):
        for step in range(num_batches):
            chosen = randomness.minibatch(chain, step, len(sampling_ids), batch_size)
            total += float(model.clean_losses(sampling_ids[chosen.to(sampling_ids.device)]).mean())
    clean = float(model.clean_losses(evaluation_ids).double().mean())
    return clean - total / (num_chains * num_batches)
