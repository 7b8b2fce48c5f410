"""Per-token loss without tokens × vocabulary in memory (design §3.5).

Shapes: N rows (token positions), D hidden size, V vocabulary; n and W of one block of them.

    ℓ_n = logsumexp_v(z_nv) − z_ny = log(1 + S_n),   S_n = Σ_{v≠y} exp(z_nv − z_ny),   z = h Uᵀ

The target's logit is known before the others, so it is the shift of the exponentials: no maximum
is sought, one pass over a block of logits (in place, near the processor) suffices, and a small
ℓ keeps its relative precision. S overflows where ℓ is beyond 88 nats; rows beyond 69 nats are
computed again with their maximum as the shift.

With p_n = softmax(z_n) and upstream gradient g_n,
    ∂/∂h_n = g_n (p_n − e_{y_n}) U = g_n (Σ_{v≠y} exp(z_nv − z_ny) U_v − S_n U_y) / (1 + S_n)
    ∂/∂U = Σ_n g_n (p_n − e_{y_n}) h_nᵀ,        p_ny − 1 = expm1(−ℓ_n)
Exponentials are taken to base 2: on a CPU torch's exp2 has a third of exp's time.
The first needs no g_n beyond a factor per row, so it is taken in the forward pass while the
exponentials are in memory; the second is made in the backward pass, for it sums over rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.config import Precision
from spectro.models.precision import multiply, operand

BLOCK = {"cpu": (1024, 1024), "cuda": (8192, 4096)}
"""Rows and vocabulary entries whose logits are held at once, by device type. On a CPU together they
stay near the second-level cache (measured by `benchmarks/loss.py`: whole rows of logits take up to
1.4 times as long). On CUDA a block must outlast the launches of its dozen kernels, which takes
more than the cache holds; the figure is reckoned, not measured."""

LOG2_E = math.log2(math.e)
LARGEST_SUM = 1e30
"""S beyond which a row is computed again: products with S must not overflow either."""


def token_losses(
    hidden_ND: Tensor,
    unembed_VD: Tensor,
    targets_N: Tensor,
    precision: Precision = Precision.FLOAT32,
) -> Tensor:
    """Loss ℓ of every row in nats, float32 [N]; differentiable in `hidden_ND` and `unembed_VD`.

    Args:
        hidden_ND: final-normed residual stream, [N, D], float32 (or float64, then so is ℓ).
        unembed_VD: output matrix, [V, D]; may have been rounded before (see precision.py).
        targets_N: int64 token ids y in [0, V), [N].
        precision: what operands of the products are rounded to; logits are float32 in any case.
    """
    return cast(Tensor, _TokenLosses.apply(hidden_ND, unembed_VD, targets_N, precision))  # type: ignore[no-untyped-call]


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor, precision: Precision
    ) -> Tensor:
        needs_hidden, needs_unembed, *_ = ctx.needs_input_grad
        logits = _Logits(hidden_ND, unembed_VD, targets_N, precision)
        early = needs_hidden and not needs_unembed
        loss_N, hidden_grad_ND = logits.losses(with_gradient=early)
        ctx.precision = precision
        if early:
            ctx.save_for_backward(hidden_grad_ND)
        elif needs_unembed:
            ctx.save_for_backward(hidden_ND, unembed_VD, targets_N, loss_N)
        return loss_N

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        needs_hidden, needs_unembed, *_ = ctx.needs_input_grad
        if not needs_unembed:
            (hidden_grad_ND,) = ctx.saved_tensors
            return hidden_grad_ND * upstream[0][:, None], None, None, None
        hidden_ND, unembed_VD, targets_N, loss_N = ctx.saved_tensors
        logits = _Logits(hidden_ND, unembed_VD, targets_N, ctx.precision)
        hidden_grad_ND = torch.zeros_like(hidden_ND) if needs_hidden else None
        unembed_grad_VD = torch.zeros_like(unembed_VD)
        logits.add_gradients(loss_N, upstream[0], hidden_grad_ND, unembed_grad_VD)
        return hidden_grad_ND, unembed_grad_VD, None, None


class _Logits:
    """z = h Uᵀ, of which one block exists at a time."""

    def __init__(
        self, hidden_ND: Tensor, unembed_VD: Tensor, targets_N: Tensor, precision: Precision
    ) -> None:
        self._dtype = hidden_ND.dtype
        self._hidden_ND = operand(hidden_ND, precision)
        self._unembed_VD = operand(unembed_VD, precision)
        self._targets_N = targets_N
        self._precision = precision
        num_rows, num_columns = BLOCK.get(hidden_ND.device.type, BLOCK["cuda"])
        self._rows_at_once = min(num_rows, len(hidden_ND))
        self._columns_at_once = min(num_columns, len(unembed_VD))
        size = self._rows_at_once * self._columns_at_once
        self._buffer = torch.empty(size, dtype=self._dtype, device=hidden_ND.device)

    def losses(self, *, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """ℓ [N] and, if asked for, ∂ℓ_n/∂h_n [N, D]."""
        sum_N = torch.zeros_like(self._hidden_ND[:, 0], dtype=self._dtype)
        grad_ND = torch.zeros_like(self._hidden_ND, dtype=self._dtype) if with_gradient else None
        for rows in self._row_blocks():
            zero_n1 = torch.zeros_like(sum_N[rows, None])
            for columns, exps_nW in self._exponentials(rows, self._target_logits(rows), zero_n1):
                sum_N[rows] += exps_nW.sum(1)
                if grad_ND is not None:
                    self._add_product(grad_ND[rows], exps_nW, self._unembed_VD[columns])
            if grad_ND is not None:
                sum_n1 = sum_N[rows, None]
                target_nD = self._unembed_VD[self._targets_N[rows]]
                grad_ND[rows] = (grad_ND[rows] - sum_n1 * target_nD) / (1 + sum_n1)
        loss_N = torch.log1p(sum_N)
        is_large_N = ~(sum_N < LARGEST_SUM)  # or not a number
        if not is_large_N.is_meta and is_large_N.any():  # a call without values has none
            self._compute_again(is_large_N.nonzero()[:, 0], loss_N, grad_ND)
        return loss_N, grad_ND

    def add_gradients(
        self,
        loss_N: Tensor,
        upstream_N: Tensor,
        hidden_grad_ND: Tensor | None,
        unembed_grad_VD: Tensor,
    ) -> None:
        """Add Σ_n g_n ∂ℓ_n/∂U, and g_n ∂ℓ_n/∂h_n if asked for, to what is there."""
        for rows in self._row_blocks():
            shift_n1 = self._target_logits(rows) + loss_N[rows, None]  # exponentials are then p
            at_target_n1 = torch.expm1(-loss_N[rows, None])
            for columns, residual_nW in self._exponentials(rows, shift_n1, at_target_n1):
                residual_nW.mul_(upstream_N[rows, None])
                self._add_product(unembed_grad_VD[columns], residual_nW.T, self._hidden_ND[rows])
                if hidden_grad_ND is not None:
                    self._add_product(hidden_grad_ND[rows], residual_nW, self._unembed_VD[columns])

    def _compute_again(self, rows_n: Tensor, loss_N: Tensor, grad_ND: Tensor | None) -> None:
        """Losses too large for the target's logit as the shift, with whole rows of logits."""
        unembed_DV = self._unembed_VD.T
        for rows in torch.split(rows_n, 64):
            targets_n = self._targets_N[rows]
            logits_nV = multiply(self._hidden_ND[rows], unembed_DV, self._precision)
            loss_N[rows] = functional.cross_entropy(logits_nV, targets_n, reduction="none")
            if grad_ND is not None:
                residual_nV = torch.softmax(logits_nV, dim=1)
                residual_nV.scatter_(1, targets_n[:, None], torch.expm1(-loss_N[rows, None]))
                grad_ND[rows] = self._multiply(residual_nV, self._unembed_VD)

    def _row_blocks(self) -> Iterator[slice]:
        num_rows = len(self._hidden_ND)
        for start in range(0, num_rows, max(1, self._rows_at_once)):
            yield slice(start, min(start + self._rows_at_once, num_rows))

    def _target_logits(self, rows: slice) -> Tensor:
        """z_ny of some rows, [n, 1]."""
        target_nD = self._unembed_VD[self._targets_N[rows]].to(self._dtype)
        return (self._hidden_ND[rows] * target_nD).sum(1, keepdim=True)

    def _exponentials(
        self, rows: slice, shift_n1: Tensor, at_target_n1: Tensor
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield vocabulary slices and exp(z − shift) of some rows, [n, W], targets' set apart.

        `at_target_n1` takes the place of the targets' own. The buffer is reused: use what is
        yielded before the next.
        """
        hidden_nD, targets_n1 = self._hidden_ND[rows], self._targets_N[rows, None]
        for start in range(0, len(self._unembed_VD), self._columns_at_once):
            unembed_WD = self._unembed_VD[start : start + self._columns_at_once]
            num_rows, width = len(hidden_nD), len(unembed_WD)
            exps_nW = self._buffer[: num_rows * width].view(num_rows, width)
            multiply(hidden_nD, unembed_WD.T, self._precision, out=exps_nW)
            exps_nW.sub_(shift_n1).mul_(LOG2_E).exp2_()
            place_n1 = targets_n1 - start
            inside_n1 = (place_n1 >= 0) & (place_n1 < width)
            place_n1 = place_n1.clamp(0, width - 1)
            kept_n1 = torch.where(inside_n1, at_target_n1, exps_nW.gather(1, place_n1))
            exps_nW.scatter_(1, place_n1, kept_n1)
            yield slice(start, start + width), exps_nW

    def _add_product(self, to: Tensor, exps: Tensor, other: Tensor) -> None:
        if self._precision is Precision.FLOAT32:
            to.addmm_(exps, other)
        else:
            to += self._multiply(exps, other)

    def _multiply(self, exps: Tensor, other: Tensor) -> Tensor:
        return multiply(operand(exps, self._precision), other, self._precision)
