"""The sampled softmax: losses of displaced models, and their gradients, from S next tokens.

For gradients of minibatches. A displacement that leaves the unembedding U alone moves the
final-normed stream h by δh. With the clean probabilities p = softmax(h Uᵀ), their mean embedding
μ = Σ_v p_v u_v and y_v = (u_v − μ)·δh,

    ℓ(h + δh) = ℓ(h) + (μ − u_y)·δh + log(1 + Σ_v p_v (exp(y_v) − 1 − y_v))          (exact)

h, μ and ℓ(h) of a sequence are computed once; the sum, of second order in δh, is estimated from S
entries of the vocabulary (Horvitz & Thompson 1952): entry v is taken with probability π_v and
weighs p_v/π_v. The gradient is that of the estimate:

    ∂ℓ/∂h' = μ − u_y + Σ_s w_s (exp(y_s) − 1)(u_s − μ) / (1 + Σ_s w_s (exp(y_s) − 1 − y_s))

Numerator and denominator are unbiased, and what the sample adds to either vanishes with δh. No term
of the denominator is negative. What is left of a bias is of third order in δh and of order 1/S.

The S entries serve all positions of a sequence:  π_v = min(1, c q_v),  Σ_v π_v = S,  q_v the root
mean square of p_v over positions: likely entries are always there (π_v = 1), the tail is sampled.
The sample is systematic: entries at u, u + 1, … of the cumulative π, with one number u in [0, 1)
for each sequence and step.

A sequence's statistics are always computed from that sequence alone, so that neither micro-batches
nor the other chains of a batch move a sample.

Shapes: C components, B sequences, T positions, D hidden size, V vocabulary, S sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

CHUNK = 128
"""Token positions whose whole logits exist at once."""
KEPT_BYTES = 2**30
"""Statistics of sequences that are kept; those of others are computed at every use."""


@dataclass(frozen=True, kw_only=True)
class CleanSequence:
    """What a sequence's sampled softmax is made of, at w*."""

    hidden_TD: Tensor
    """h, the final-normed stream."""
    mean_TD: Tensor
    """μ."""
    log_total_T: Tensor
    """logsumexp of the logits."""
    inclusion_V: Tensor
    """π, float64."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.nbytes for tensor in vars(self).values())


@dataclass(frozen=True, kw_only=True)
class SampledBatch:
    """Sampled softmax of a batch of sequences."""

    hidden_BTD: Tensor
    mean_BTD: Tensor
    target_BTD: Tensor
    """u_y."""
    rows_BSD: Tensor
    """u_s."""
    weight_BTS: Tensor
    """p_s/π_s."""
    clean_losses: Tensor
    """ℓ(w*), [B, T]."""


class SampledSoftmax:
    """Sampled softmax of one model's sequences, whichever group they are for."""

    def __init__(
        self, final_stream: Callable[[Tensor], Tensor], unembed_VD: Tensor, size: int
    ) -> None:
        """From ids [B, T] to the final-normed stream [B, T, D] at w*; U; S, below V."""
        self._final_stream, self._unembed_VD, self._size = final_stream, unembed_VD, size
        self._kept: dict[bytes, CleanSequence] = {}
        self._kept_bytes = 0

    def clean(self, ids_T1: Tensor) -> CleanSequence:
        """Statistics of a sequence, int64 [T+1]; kept while there is room."""
        key = ids_T1.cpu().numpy().tobytes()
        if key in self._kept:
            return self._kept[key]
        found = clean_sequence(
            self._final_stream(ids_T1[None, :-1])[0], self._unembed_VD, self._size
        )
        if self._kept_bytes + found.num_bytes <= KEPT_BYTES:
            self._kept[key] = found
            self._kept_bytes += found.num_bytes
        return found

    @torch.no_grad()
    def batch(self, ids_BT1: Tensor, shifts_B: Sequence[float]) -> SampledBatch:
        """Sampled softmax of some sequences; `shifts_B` are the u of their samples."""
        clean = [self.clean(ids_T1) for ids_T1 in ids_BT1]
        sampled = [
            systematic_sample(own.inclusion_V, self._size, u)
            for own, u in zip(clean, shifts_B, strict=True)
        ]
        hidden_BTD = torch.stack([own.hidden_TD for own in clean])
        rows_BSD = torch.stack([self._unembed_VD[entries_S] for entries_S in sampled])
        log_total_BT = torch.stack([own.log_total_T for own in clean])
        inclusion_BS = torch.stack(
            [own.inclusion_V[entries_S] for own, entries_S in zip(clean, sampled, strict=True)]
        )
        weight_BTS = torch.bmm(hidden_BTD, rows_BSD.mT).sub_(log_total_BT[..., None]).exp_()
        target_BTD = self._unembed_VD[ids_BT1[:, 1:]]
        return SampledBatch(
            hidden_BTD=hidden_BTD,
            mean_BTD=torch.stack([own.mean_TD for own in clean]),
            target_BTD=target_BTD,
            rows_BSD=rows_BSD,
            weight_BTS=weight_BTS.div_(inclusion_BS[:, None].to(weight_BTS.dtype)),
            clean_losses=log_total_BT - (hidden_BTD * target_BTD).sum(-1),
        )


@torch.no_grad()
def clean_sequence(hidden_TD: Tensor, unembed_VD: Tensor, size: int) -> CleanSequence:
    """Statistics of a sequence from its clean final-normed stream, for samples of `size`."""
    means, log_totals = [], []
    square_V = hidden_TD.new_zeros(len(unembed_VD), dtype=torch.float64)
    for hidden in torch.split(hidden_TD, CHUNK):
        logits = hidden @ unembed_VD.T
        probs = torch.softmax(logits, dim=-1)
        log_totals.append(logits.amax(-1) - probs.amax(-1).log())
        means.append(probs @ unembed_VD)
        square_V += probs.square_().sum(0)
    return CleanSequence(
        hidden_TD=hidden_TD,
        mean_TD=torch.cat(means),
        log_total_T=torch.cat(log_totals),
        inclusion_V=inclusion_probabilities(square_V.sqrt_(), size),
    )


def inclusion_probabilities(size_V: Tensor, count: int) -> Tensor:
    """π_v = min(1, c·size_v) with Σ_v π_v = count; float64.

    Args:
        size_V: float64, none negative, not all 0.
        count: at most V.
    """
    found_V = torch.ones_like(size_V)
    is_certain_V = torch.zeros_like(size_V, dtype=torch.bool)
    while True:
        left = count - int(is_certain_V.sum())
        free_V = size_V.masked_fill(is_certain_V, 0.0)
        scaled_V = free_V * (left / free_V.sum().clamp_min(torch.finfo(torch.float64).tiny))
        too_large_V = (scaled_V >= 1) & ~is_certain_V
        if not bool(too_large_V.any()):
            return found_V.where(is_certain_V, scaled_V)
        is_certain_V |= too_large_V


def systematic_sample(inclusion_V: Tensor, count: int, shift: float) -> Tensor:
    """Entries in which u, u + 1, … u + count − 1 fall along the cumulative π, int64 [count].

    No entry comes twice, for none is wider than 1.
    """
    points_S = torch.arange(count, dtype=torch.float64, device=inclusion_V.device) + shift
    found_S = torch.searchsorted(inclusion_V.cumsum(0), points_S, right=True)
    return found_S.clamp_max_(len(inclusion_V) - 1)


def sampled_losses(hidden_CBTD: Tensor, batch: SampledBatch) -> Tensor:
    """Estimated loss of every token, nats, [C, B, T]; differentiable in `hidden_CBTD`."""
    return cast(Tensor, _SampledLosses.apply(hidden_CBTD, batch))  # type: ignore[no-untyped-call]


class _SampledLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_CBTD: Tensor, batch: SampledBatch) -> Tensor:
        losses_CBT = torch.empty_like(hidden_CBTD[..., 0])
        gradient_CBTD = torch.empty_like(hidden_CBTD)
        for b in range(hidden_CBTD.shape[1]):
            losses_CBT[:, b], gradient_CBTD[:, b] = _of_sequence(hidden_CBTD[:, b], batch, b)
        ctx.save_for_backward(gradient_CBTD)
        return losses_CBT

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (gradient_CBTD,) = ctx.saved_tensors
        return gradient_CBTD * upstream[0][..., None], None


def _of_sequence(hidden_CTD: Tensor, batch: SampledBatch, b: int) -> tuple[Tensor, Tensor]:
    """ℓ [C, T] and ∂ℓ/∂h' [C, T, D] of one sequence."""
    rows_SD, weight_TS = batch.rows_BSD[b], batch.weight_BTS[b]
    mean_TD, target_TD = batch.mean_BTD[b], batch.target_BTD[b]
    shift_CTD = hidden_CTD - batch.hidden_BTD[b]
    along_CT = (shift_CTD * mean_TD).sum(-1)
    y_CTS = (shift_CTD.flatten(0, 1) @ rows_SD.T).view(*along_CT.shape, -1)
    y_CTS -= along_CT[..., None]
    growth_CTS = y_CTS.exp().sub_(1)
    rest_CT = (growth_CTS - y_CTS).mul_(weight_TS).sum(-1)
    losses_CT = batch.clean_losses[b] + along_CT - (shift_CTD * target_TD).sum(-1)
    losses_CT += rest_CT.log1p()
    pull_CTS = growth_CTS.mul_(weight_TS).div_(1 + rest_CT[..., None])
    gradient_CTD = (pull_CTS.flatten(0, 1) @ rows_SD).view_as(hidden_CTD)
    gradient_CTD += (1 - pull_CTS.sum(-1, keepdim=True)) * mean_TD - target_TD
    return losses_CT, gradient_CTD
