"""Per-token loss without tokens × vocabulary in memory (design §3.5).

Shapes: N rows (token positions), D hidden size, V vocabulary.

    ℓ_n = logsumexp_v(h_n · U_v) − h_n · U_{y_n}          [nats]

Logits exist for a few rows at a time. With p_n = softmax(h_n Uᵀ) and upstream gradient g_n,
    ∂/∂h_n = g_n (p_n − e_{y_n}) U        ∂/∂U = Σ_n g_n (p_n − e_{y_n}) h_nᵀ
The first needs no g_n beyond a factor per row, so it is taken in the forward pass while the
logits are at hand; the second is recomputed in the backward pass, for it sums over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ROWS = {"cpu": 160, "cuda": 2048}
"""Rows whose logits are held at once, by device type. Fewer make poor products, more leave the
processor's cache: 128–160 measured best on a CPU for vocabularies of 2 048 and of 50 304
(`benchmarks/loss_chunk.py`); the figure for CUDA is not measured yet."""


def token_losses(hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Loss ℓ of every row in nats, float32 [N]; differentiable in `hidden_ND` and `unembed_VD`.

    Args:
        hidden_ND: final-normed residual stream, [N, D].
        unembed_VD: output matrix, [V, D].
        targets_N: int64 token ids y in [0, V), [N].
    """
    return cast(Tensor, _TokenLosses.apply(hidden_ND, unembed_VD, targets_N))  # type: ignore[no-untyped-call]


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor) -> Tensor:
        needs_hidden, needs_unembed, _ = ctx.needs_input_grad
        loss_N = torch.empty(len(hidden_ND), dtype=torch.float32, device=hidden_ND.device)
        if hidden_ND.dtype == torch.float64:
            loss_N = loss_N.double()
        early = needs_hidden and not needs_unembed
        hidden_grad_ND = torch.empty_like(hidden_ND) if early else None
        for rows, logits in _logit_chunks(hidden_ND, unembed_VD):
            loss_N[rows] = functional.cross_entropy(
                logits.to(loss_N.dtype), targets_N[rows], reduction="none"
            )
            if hidden_grad_ND is not None:
                residual = _probability_residual(logits, targets_N[rows])
                torch.mm(residual, unembed_VD, out=hidden_grad_ND[rows])
        if early:
            ctx.save_for_backward(hidden_grad_ND)
        elif needs_unembed:
            ctx.save_for_backward(hidden_ND, unembed_VD, targets_N)
        return loss_N

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_N1 = upstream[0][:, None]
        needs_hidden, needs_unembed, _ = ctx.needs_input_grad
        if not needs_unembed:
            (hidden_grad_ND,) = ctx.saved_tensors
            return hidden_grad_ND * grad_N1.to(hidden_grad_ND.dtype), None, None
        hidden_ND, unembed_VD, targets_N = ctx.saved_tensors
        grad_N1 = grad_N1.to(hidden_ND.dtype)
        hidden_grad_ND = torch.empty_like(hidden_ND) if needs_hidden else None
        unembed_grad_VD = torch.zeros_like(unembed_VD)
        for rows, logits in _logit_chunks(hidden_ND, unembed_VD):
            residual = _probability_residual(logits, targets_N[rows]).mul_(grad_N1[rows])
            unembed_grad_VD.addmm_(residual.T, hidden_ND[rows])
            if hidden_grad_ND is not None:
                torch.mm(residual, unembed_VD, out=hidden_grad_ND[rows])
        return hidden_grad_ND, unembed_grad_VD, None


def _logit_chunks(hidden_ND: Tensor, unembed_VD: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield row slices and their logits; the buffer is reused, so use it before the next."""
    num_rows, vocab = len(hidden_ND), len(unembed_VD)
    chunk = min(num_rows, CHUNK_ROWS.get(hidden_ND.device.type, CHUNK_ROWS["cuda"]))
    buffer = torch.empty(chunk, vocab, dtype=hidden_ND.dtype, device=hidden_ND.device)
    unembed_DV = unembed_VD.T
    for start in range(0, num_rows, chunk):
        rows = slice(start, min(start + chunk, num_rows))
        logits = buffer[: rows.stop - start]
        torch.mm(hidden_ND[rows], unembed_DV, out=logits)
        yield rows, logits


def _probability_residual(logits: Tensor, targets: Tensor) -> Tensor:
    """softmax(logits) − onehot(targets), in place of a new [rows, V] array."""
    residual = torch.softmax(logits, dim=-1)
    residual[torch.arange(len(targets), device=targets.device), targets] -= 1.0
    return residual
