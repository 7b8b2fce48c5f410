"""Features of a model whose parts are not known: from its own hidden states.

Of every hidden state its size, how far the layer below has moved it, and what it adds to ℓ along
the direct path, g · h with g = ∂ℓ/∂h of what the unembedding reads. The unembedding acts on every
position by itself, so g is a token's own, whatever caps or scales its logits.

Shapes as in clean_pass.py; features are [B, T].
"""

from __future__ import annotations

import torch
from torch import Tensor

from spectro.models.size import ModelSize
from spectro.models.universal import UniversalModel

Features = dict[str, Tensor]
STATE = ("norm", "along", "moved")


def hidden_state_names(shape: ModelSize) -> list[str]:
    """Names of the features."""
    states = range(shape.num_layers + 1)
    names = [f"state{s}.{what}" for s in states for what in STATE if s or what != "moved"]
    return [*names, "last.gradient", "unembed.trace"]


def hidden_state_features(model: UniversalModel, ids_BT1: Tensor) -> tuple[Features, Tensor]:
    """Features of a batch [B, T+1], and log probabilities of the next token, [B, T, V].

    Raises ValueError for a model that does not give a hidden state of every layer.
    """
    states, logits_BTV = model.hidden_states(ids_BT1[:, :-1])
    with torch.enable_grad():
        log_p_BTV = logits_BTV.log_softmax(-1)
        loss = -log_p_BTV.gather(-1, ids_BT1[:, 1:, None]).sum()
        (grad_BTD,) = torch.autograd.grad(loss, states[-1])
    log_p_BTV = log_p_BTV.detach()
    found: Features = {}
    below = None
    for index, state in enumerate(own.detach() for own in states):
        found[f"state{index}.norm"] = state.norm(dim=-1)
        found[f"state{index}.along"] = (state * grad_BTD).sum(-1)
        if below is not None:
            found[f"state{index}.moved"] = (state - below).norm(dim=-1)
        below = state
    found["last.gradient"] = grad_BTD.norm(dim=-1)
    uncertain = 1 - log_p_BTV.exp().square().sum(-1)
    found["unembed.trace"] = states[-1].detach().square().sum(-1) * uncertain / 2
    return found, log_p_BTV
