"""Evaluation of a trained model: per-token losses, induction score."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel


@torch.no_grad()
def model_token_losses(model: PreTrainedModel, ids_ST1: Tensor, batch_size: int = 16) -> Tensor:
    """Loss -log p(y|x) of every target, in nats; float32 [S, T]."""
    losses = []
    for batch in torch.split(ids_ST1, batch_size):
        logits_BTV = model(batch[:, :-1], use_cache=False).logits
        losses.append(cross_entropy(logits_BTV.mT, batch[:, 1:], reduction="none"))
    return torch.cat(losses)


def induction_score(
    model: PreTrainedModel, *, num_sequences: int = 64, length: int = 64, seed: int = 0
) -> float:
    """Mean loss on the first minus on the second occurrence of repeated random tokens, in nats.

    Each sequence is `<|endoftext|>` (id 0), then `length` uniformly random ids, then the same ids
    again. The first id of the second half cannot be foreseen, so it is left out of both means.
    """
    generator = torch.Generator().manual_seed(seed)
    vocab_size = model.config.vocab_size
    half_SL = torch.randint(1, vocab_size, (num_sequences, length), generator=generator)
    start_S1 = torch.zeros(num_sequences, 1, dtype=torch.int64)
    losses_ST = model_token_losses(model, torch.cat([start_S1, half_SL, half_SL], dim=1))
    first, second = losses_ST[:, 1:length], losses_ST[:, length + 1 :]
    return float(first.mean() - second.mean())
