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
LOSS_CHUNK = {"cpu": 1, "cuda": 2**25}
"""Sampled logits that exist at once, by device type: on a CPU one sequence's."""
ROUNDS_PER_READ = 8
"""Rounds of `inclusion_probabilities` before the host asks whether more are needed."""


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

    @torch.no_grad()
    def batch(self, ids_BT1: Tensor, shifts_B: Sequence[float]) -> SampledBatch:
        """Sampled softmax of some sequences; `shifts_B` are the u of their samples."""
        clean = self._clean(ids_BT1)
        inclusion_BV = torch.stack([own.inclusion_V for own in clean])
        entries_BS = systematic_sample(inclusion_BV, self._size, shifts_B)
        hidden_BTD = torch.stack([own.hidden_TD for own in clean])
        rows_BSD = self._unembed_VD[entries_BS]
        log_total_BT = torch.stack([own.log_total_T for own in clean])
        inclusion_BS = inclusion_BV.gather(1, entries_BS)
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

    def _clean(self, ids_BT1: Tensor) -> list[CleanSequence]:
        """Statistics of sequences, int64 [B, T+1]; kept while there is room."""
        keys = [ids_T1.tobytes() for ids_T1 in ids_BT1.cpu().numpy()]  # one transfer for all
        missing = {key: b for b, key in enumerate(keys) if key not in self._kept}
        streams = [self._final_stream(ids_BT1[b : b + 1, :-1])[0] for b in missing.values()]
        made = clean_sequences(streams, self._unembed_VD, self._size)
        found = dict(zip(missing, made, strict=True))
        clean = [found[key] if key in found else self._kept[key] for key in keys]
        for key, own in found.items():
            if self._kept_bytes + own.num_bytes <= KEPT_BYTES:
                self._kept[key] = own
                self._kept_bytes += own.num_bytes
        return clean


@torch.no_grad()
def clean_sequences(
    streams: Sequence[Tensor], unembed_VD: Tensor, size: int
) -> list[CleanSequence]:
    """Statistics of sequences, each from its clean final-normed stream [T, D], for samples of
    `size`."""
    sums = [_sums(hidden_TD, unembed_VD) for hidden_TD in streams]
    inclusions = inclusion_probabilities([square_V.sqrt_() for *_, square_V in sums], size)
    return [
        CleanSequence(
            hidden_TD=hidden_TD, mean_TD=mean_TD, log_total_T=log_total_T, inclusion_V=inclusion_V
        )
        for hidden_TD, (mean_TD, log_total_T, _), inclusion_V in zip(
            streams, sums, inclusions, strict=True
        )
    ]


def _sums(hidden_TD: Tensor, unembed_VD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """μ [T, D], logsumexp of the logits [T], and Σ p² over positions, float64 [V]."""
    means, log_totals = [], []
    square_V = hidden_TD.new_zeros(len(unembed_VD), dtype=torch.float64)
    for hidden in torch.split(hidden_TD, CHUNK):
        logits = hidden @ unembed_VD.T
        probs = torch.softmax(logits, dim=-1)
        log_totals.append(logits.amax(-1) - probs.amax(-1).log())
        means.append(probs @ unembed_VD)
        square_V += probs.square_().sum(0)
    return torch.cat(means), torch.cat(log_totals), square_V


def inclusion_probabilities(sizes: Sequence[Tensor], count: int) -> list[Tensor]:
    """π_v = min(1, c·size_v) with Σ_v π_v = count, float64 [V], for every sequence's sizes.

    Each round fixes the entries whose π would be 1 or more, until there is no such entry; further
    rounds change nothing, so the host asks only after several, for all sequences at once.

    Args:
        sizes: float64 [V] each, none negative, not all 0.
        count: at most V.
    """
    certain = [torch.zeros_like(size_V, dtype=torch.bool) for size_V in sizes]
    while certain:
        for _ in range(ROUNDS_PER_READ):
            found = [_scaled(*own, count) for own in zip(sizes, certain, strict=True)]
            is_new = [(scaled_V >= 1) & ~c_V for scaled_V, c_V in zip(found, certain, strict=True)]
            certain = [c_V | new_V for c_V, new_V in zip(certain, is_new, strict=True)]
        if not bool(torch.stack(is_new).any()):
            return [
                torch.ones_like(scaled_V).where(c_V, scaled_V)
                for scaled_V, c_V in zip(found, certain, strict=True)
            ]
    return []


def _scaled(size_V: Tensor, is_certain_V: Tensor, count: int) -> Tensor:
    """π of the entries that are not certain, as if it could exceed 1; 0 for the others."""
    left = count - is_certain_V.sum()
    free_V = size_V.masked_fill(is_certain_V, 0.0)
    return free_V * (left / free_V.sum().clamp_min(torch.finfo(torch.float64).tiny))


def systematic_sample(inclusion_BV: Tensor, count: int, shifts_B: Sequence[float]) -> Tensor:
    """Entries in which u, u + 1, … u + count − 1 fall along the cumulative π, int64 [B, count].

    No entry comes twice, for none is wider than 1.
    """
    device = inclusion_BV.device
    shift_B1 = torch.tensor(shifts_B, dtype=torch.float64, device=device)[:, None]
    points_BS = torch.arange(count, dtype=torch.float64, device=device) + shift_B1
    found_BS = torch.searchsorted(inclusion_BV.cumsum(1), points_BS, right=True)
    return found_BS.clamp_max_(inclusion_BV.shape[1] - 1)


def sampled_losses(hidden_CBTD: Tensor, batch: SampledBatch) -> Tensor:
    """Estimated loss of every token, nats, [C, B, T]; differentiable in `hidden_CBTD`."""
    return cast(Tensor, _SampledLosses.apply(hidden_CBTD, batch))  # type: ignore[no-untyped-call]


class _SampledLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_CBTD: Tensor, batch: SampledBatch) -> Tensor:
        losses_CBT = torch.empty_like(hidden_CBTD[..., 0])
        gradient_CBTD = torch.empty_like(hidden_CBTD)
        num_seq, size = hidden_CBTD.shape[1], batch.rows_BSD.shape[1]
        limit = LOSS_CHUNK.get(hidden_CBTD.device.type, LOSS_CHUNK["cuda"])
        together = max(1, limit // (hidden_CBTD[:, 0, :, 0].numel() * size))
        for start in range(0, num_seq, together):
            here = slice(start, start + together)
            losses_bCT, gradient_bCTD = _of_sequences(hidden_CBTD[:, here], batch, here)
            losses_CBT[:, here] = losses_bCT.transpose(0, 1)
            gradient_CBTD[:, here] = gradient_bCTD.transpose(0, 1)
        ctx.save_for_backward(gradient_CBTD)
        return losses_CBT

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (gradient_CBTD,) = ctx.saved_tensors
        return gradient_CBTD * upstream[0][..., None], None


def _of_sequences(hidden_CbTD: Tensor, batch: SampledBatch, here: slice) -> tuple[Tensor, Tensor]:
    """ℓ [b, C, T] and ∂ℓ/∂h' [b, C, T, D] of some sequences of a batch."""
    rows_bSD, weight_b1TS = batch.rows_BSD[here], batch.weight_BTS[here, None]
    mean_b1TD, target_b1TD = batch.mean_BTD[here, None], batch.target_BTD[here, None]
    shift_bCTD = (hidden_CbTD.transpose(0, 1) - batch.hidden_BTD[here, None]).contiguous()
    along_bCT = (shift_bCTD * mean_b1TD).sum(-1)
    y_bCTS = _product(shift_bCTD.flatten(1, 2), rows_bSD.mT).view(*along_bCT.shape, -1)
    y_bCTS -= along_bCT[..., None]
    growth_bCTS = y_bCTS.exp().sub_(1)
    rest_bCT = (growth_bCTS - y_bCTS).mul_(weight_b1TS).sum(-1)
    losses_bCT = batch.clean_losses[here, None] + along_bCT - (shift_bCTD * target_b1TD).sum(-1)
    losses_bCT += rest_bCT.log1p()
    pull_bCTS = growth_bCTS.mul_(weight_b1TS).div_(1 + rest_bCT[..., None])
    gradient_bCTD = _product(pull_bCTS.flatten(1, 2), rows_bSD).view_as(shift_bCTD)
    gradient_bCTD += (1 - pull_bCTS.sum(-1, keepdim=True)) * mean_b1TD - target_b1TD
    return losses_bCT, gradient_bCTD


def _product(left_bNK: Tensor, right_bKM: Tensor) -> Tensor:
    """Batched product; of one sequence as a plain one, whose bits a batch of one may not have."""
    if len(left_bNK) == 1:
        return (left_bNK[0] @ right_bKM[0])[None]
    return torch.bmm(left_bNK, right_bKM)
