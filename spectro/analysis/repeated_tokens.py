"""Random tokens repeated once: text that nothing but induction foretells (Olsson et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor


def repeated_tokens(
    vocab_size: int, *, num_sequences: int = 64, length: int = 64, seed: int = 0
) -> Tensor:
    """Id 0, then `length` uniformly random ids above 0, then the same again; [S, 1 + 2·length]."""
    generator = torch.Generator().manual_seed(seed)
    half_SL = torch.randint(1, vocab_size, (num_sequences, length), generator=generator)
    return torch.cat([torch.zeros(num_sequences, 1, dtype=torch.int64), half_SL, half_SL], dim=1)


def halves(losses_ST: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [S, 2·length] of the first and of the second occurrences, [S, length − 1] each.

    The first id of the second half cannot be foreseen: it is left out of both.
    """
    length = losses_ST.shape[1] // 2
    return losses_ST[:, 1:length], losses_ST[:, length + 1 :]
