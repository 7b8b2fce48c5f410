"""The top-K softmax: loss of displaced models from K next tokens, the rest by its cumulants.

For models whose vocabulary outweighs their layers (Pythia-14M: 85 % of a forward pass) the
output product is most of scoring. A displacement leaves the unembedding U alone and moves the
final-normed stream by δh, so with the clean probabilities p_v, known once per token,

    Δℓ = log Σ_v p_v exp(u_v·δh) − u_y·δh.

The K likeliest v of the clean model are summed one by one; the rest, of mass η, mean embedding
μ and covariance C, by the first two cumulants of u_v·δh:

    Σ_rest p_v exp(u_v·δh) ≈ η exp(μ·δh + δhᵀCδh/2).

μ and η are each token's own, C is one for all tokens. What is left out is of third order in δh
and carries η: with an eighth of the vocabulary Δℓ is off by 0.05–0.8 % of its size on the
embedded model. The pilot measures that error for each component and keeps the exact loss where
it is not negligible (ADR 007).

Shapes: N token positions, R variants, D hidden size, V vocabulary, K listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.config import Precision
from spectro.models.precision import multiply, operand
from spectro.models.token_loss import LOG2_E

TOP_K_CHUNK = 128
"""Token positions whose whole logits exist at once while the K likeliest are chosen."""
LOSS_CHUNK = {"cpu": 2**18, "cuda": 2**27}
"""Listed logits that exist at once, by device type."""


@dataclass(frozen=True, kw_only=True)
class TopKFit:
    """Components that use the top-K softmax, and what all batches share."""

    size: int
    """K."""
    covariance_DD: Tensor
    """C, of the embeddings of the vocabulary outside a list."""
    components: frozenset[str]
    """Components whose loss may be taken so."""


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The top-K softmax of a batch of tokens."""

    rows_NKD: Tensor
    """Embeddings u_v of the listed, in product precision."""
    log_probs_NK: Tensor
    """log p_v of the listed."""
    rest_N: Tensor
    """log η; −∞ where the list is the whole vocabulary."""
    mean_ND: Tensor
    """μ."""
    target_ND: Tensor
    """u_y."""
    hidden_ND: Tensor
    """The clean final-normed stream."""
    loss_N: Tensor
    """ℓ(w*), nats."""
    covariance_DD: Tensor
    """C."""


def make_top_k(
    hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor, size: int, covariance_DD: Tensor
) -> TopK:
    """The clean model's K likeliest next tokens at every position.

    Args:
        hidden_ND: clean final-normed stream.
        unembed_VD: U.
        targets_N: y, int64.
        size: K, at most V.
        covariance_DD: C (see `rest_covariance`).
    """
    size = min(size, len(unembed_VD))
    listed, log_probs, rest, mean, losses = [], [], [], [], []
    for hidden, targets in zip(
        torch.split(hidden_ND, TOP_K_CHUNK), torch.split(targets_N, TOP_K_CHUNK), strict=True
    ):
        log_p = torch.log_softmax(hidden @ unembed_VD.T, dim=-1)
        losses.append(-log_p.gather(1, targets[:, None])[:, 0])
        top = log_p.topk(size, dim=-1)
        probs = log_p.exp_().scatter_(1, top.indices, 0.0)
        mass = probs.sum(dim=-1)
        listed.append(top.indices)
        log_probs.append(top.values)
        rest.append(mass.log())
        mean.append((probs @ unembed_VD) / mass[:, None].clamp_min(torch.finfo(mass.dtype).tiny))
    return TopK(
        rows_NKD=functional.embedding(torch.cat(listed), unembed_VD),  # 2/3 of an index's time
        log_probs_NK=torch.cat(log_probs),
        rest_N=torch.cat(rest),
        mean_ND=torch.cat(mean),
        target_ND=unembed_VD[targets_N],
        hidden_ND=hidden_ND,
        loss_N=torch.cat(losses),
        covariance_DD=covariance_DD,
    )


def rest_covariance(hidden_ND: Tensor, unembed_VD: Tensor, size: int) -> Tensor:
    """C: covariance of u_v outside the K, averaged over these tokens, [D, D].

    Args:
        hidden_ND: clean final-normed stream of tokens of the sampling distribution.
        unembed_VD: U.
        size: K.
    """
    size = min(size, len(unembed_VD))
    weight_V = unembed_VD.new_zeros(len(unembed_VD))
    for hidden in torch.split(hidden_ND, TOP_K_CHUNK):
        probs = torch.softmax(hidden @ unembed_VD.T, dim=-1)
        probs.scatter_(1, probs.topk(size, dim=-1).indices, 0.0)
        mass = probs.sum(dim=-1, keepdim=True)
        weight_V += (probs / mass.clamp_min(torch.finfo(mass.dtype).tiny)).sum(dim=0)
    weight_V /= weight_V.sum().clamp_min(torch.finfo(weight_V.dtype).tiny)
    mean_D = weight_V @ unembed_VD
    return (unembed_VD * weight_V[:, None]).T @ unembed_VD - torch.outer(mean_D, mean_D)


def top_k_losses(
    hidden_RND: Tensor, top_k: TopK, precision: Precision = Precision.FLOAT32
) -> Tensor:
    """Loss of every token under every variant, nats, [R, N].

    Args:
        hidden_RND: final-normed streams of the variants.
        top_k: of the same tokens.
        precision: of the products with the listed rows.
    """
    num_variants, num_tokens, _ = hidden_RND.shape
    size = top_k.log_probs_NK.shape[1]
    limit = LOSS_CHUNK.get(hidden_RND.device.type, LOSS_CHUNK["cuda"])
    step = max(1, limit // (num_variants * size))
    parts = []
    for start in range(0, num_tokens, step):
        chunk = slice(start, start + step)
        shift_nRD = (hidden_RND[:, chunk] - top_k.hidden_ND[chunk]).transpose(0, 1)
        rows_nDK = top_k.rows_NKD[chunk].transpose(1, 2)
        listed_nRK = multiply(operand(shift_nRD, precision), rows_nDK, precision)
        listed_nRK += top_k.log_probs_NK[chunk, None]
        rest_nR = (
            top_k.rest_N[chunk, None]
            + torch.bmm(shift_nRD, top_k.mean_ND[chunk, :, None])[..., 0]
            + 0.5 * ((shift_nRD @ top_k.covariance_DD) * shift_nRD).sum(dim=-1)
        )
        largest_nR = torch.maximum(listed_nRK.amax(dim=-1), rest_nR)
        total_nR = listed_nRK.sub_(largest_nR[..., None]).mul_(LOG2_E).exp2_().sum(dim=-1)
        total_nR += (rest_nR - largest_nR).exp()
        target_nR = torch.bmm(shift_nRD, top_k.target_ND[chunk, :, None])[..., 0]
        delta_nR = total_nR.log() + largest_nR - target_nR
        parts.append((top_k.loss_N[chunk, None] + delta_nR).T)
    return torch.cat(parts, dim=1)
