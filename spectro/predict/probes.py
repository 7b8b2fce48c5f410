"""What isotropic noise in the residual stream does to ℓ: an antithetic pair in a few layers.

Unlike closed forms it goes through all layers above and through other positions. The noise is
a constant of the position, so a token's feature is a function of its sequence alone.

Shapes as in clean_pass.py; features are [B, T].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spectro.predict.clean_pass import CleanPass

SIZES = (0.4, 0.1)
"""Noise in units of the stream's root mean square: of the embeddings, of every later stream. The
embedding's own noise at γ = 300 is 0.4; in later streams the response is quadratic at 0.1."""
SEED = 20_260_101
MAX_STREAMS = 5
"""Streams with a probe, evenly spaced from the first to the last: a pair costs the layers above
it twice, which in all 24 of a model would be 25 forward passes."""


def probed_streams(num_layers: int) -> list[int]:
    """Which of the streams 0 to num_layers have a probe."""
    count = min(num_layers + 1, MAX_STREAMS)
    return [round(place * num_layers / (count - 1)) for place in range(count)]


@torch.no_grad()
def probe_features(clean: CleanPass) -> dict[str, Tensor]:
    """Mean and half difference of Δℓ of a pair, and the pair's mean KL divergence."""
    found: dict[str, Tensor] = {}
    p = clean.log_p_BTV.exp()
    for layer in probed_streams(clean.model.shape.num_layers):
        stream = clean.streams[layer]
        noise = _noise(layer, stream) * stream.square().mean((-1, -2), keepdim=True).sqrt()
        noise = noise * SIZES[layer > 0]
        delta, divergence = [], []
        for sign in (1, -1):
            hidden = clean.model.suffix(stream + sign * noise, layer)
            log_p = functional.linear(hidden, clean.unembed_VD).log_softmax(-1)
            at_target = log_p.gather(-1, clean.targets_BT[..., None])[..., 0]
            delta.append(-at_target - clean.losses_BT)
            divergence.append((p * (clean.log_p_BTV - log_p)).sum(-1))
        found[f"probe{layer}.even"] = (delta[0] + delta[1]) / 2
        found[f"probe{layer}.odd"] = (delta[0] - delta[1]) / 2
        found[f"probe{layer}.divergence"] = (divergence[0] + divergence[1]) / 2
    return found


def _noise(layer: int, like_BTD: Tensor) -> Tensor:
    """Standard normal noise of each position, [T, D]; longer sequences begin with the same."""
    generator = torch.Generator().manual_seed(SEED + layer)
    return torch.randn(like_BTD.shape[1:], generator=generator).to(like_BTD)
