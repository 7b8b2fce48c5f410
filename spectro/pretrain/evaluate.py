"""Evaluation of a trained model: per-token losses, induction score."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from spectro.analysis.repeated_tokens import halves, repeated_tokens


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
    """Mean loss on the first minus on the second occurrence of repeated random tokens, in nats."""
    ids_ST1 = repeated_tokens(
        model.config.vocab_size, num_sequences=num_sequences, length=length, seed=seed
    )
    first, second = halves(model_token_losses(model, ids_ST1))
    return float(first.mean() - second.mean())
