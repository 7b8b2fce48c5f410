"""Matrix products in reduced precision: which operands are rounded.

A product A·B is taken of operands rounded to the product's precision, and its sum and its result
are float32:

    float32    A and B as they are
    tf32       mantissas of 10 bits: a relative error of at most u = 2⁻¹¹
    bfloat16   mantissas of 7 bits: u = 2⁻⁸

Gradients are products too, of the rounded upstream gradient and the rounded operands, and come
back in float32: ∂A = G·Bᵀ, ∂B = Aᵀ·G. Rounding itself is differentiated as the identity. Only
operands are ever rounded: weights at w*, displaced weights w* + δ, layer norms, the residual stream
and the logsumexp of the loss stay float32, for χ lives in differences of losses that a result
rounded to bfloat16 (logits of 8 are then off by 0.03 nats) would drown.

Devices. CUDA takes bfloat16 operands with a float32 result, or sets the TF32 switch of its
products for the time of each of ours. A CPU multiplies the rounded operands in float32, which
is the same arithmetic but for the order of the sum: there tf32 is for studies only, and bfloat16
is fast where the processor has instructions for it (oneDNN's switch, likewise set for the time
of a product; its operands are bfloat16 already, so it rounds nothing more). Attention
rounds queries, keys and values; with bfloat16 its kernels also round the probabilities and the
result, with TF32 on CUDA they round less than said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.config import Precision


def operand(tensor: Tensor, precision: Precision) -> Tensor:
    """A tensor as the operand of a product, rounded; not differentiable (see `matmul`).

    What has been rounded to bfloat16 before is returned as it is.
    """
    if precision is Precision.BFLOAT16:
        return tensor.to(torch.bfloat16)
    if precision is Precision.TF32 and tensor.device.type != "cuda":
        return round_to_tf32(tensor)
    return tensor


def multiply(
    left: Tensor, right: Tensor, precision: Precision, *, out: Tensor | None = None
) -> Tensor:
    """Product of operands (see `operand`), [N, K]·[K, M] or batched; float32, not differentiable.

    Args:
        left: [N, K] or [R, N, K].
        right: [K, M] or [R, K, M].
        precision: what both operands are rounded to.
        out: where to write the result, float32.
    """
    product = torch.mm if left.dim() == 2 else torch.bmm
    if precision is Precision.BFLOAT16 and left.device.type == "cuda" and _HAS_OUT_DTYPE:
        return product(left, right, out_dtype=torch.float32, out=out)
    if precision is Precision.BFLOAT16:
        left, right = left.float(), right.float()
    with _switch(left.device.type, precision):
        return product(left, right, out=out)


def matmul(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    """Product [N, K]·[K, M], or batched, of operands that are rounded here; differentiable.

    The result and both gradients are float32 (float64 for float64 operands, which are not rounded).
    """
    if precision is Precision.FLOAT32:
        return left @ right
    return cast(Tensor, _Product.apply(left, right, precision))  # type: ignore[no-untyped-call]


def linear(
    states: Tensor, weight_FD: Tensor, bias_F: Tensor | None, precision: Precision
) -> Tensor:
    """states · weightᵀ + bias, [..., D] → [..., F]; the bias is added in float32."""
    if precision is Precision.FLOAT32:
        return functional.linear(states, weight_FD, bias_F)
    out = matmul(states.reshape(-1, states.shape[-1]), weight_FD.T, precision)
    out = out if bias_F is None else out + bias_F
    return out.view(*states.shape[:-1], -1)


def batched_linear(
    states_RND: Tensor, weight_RFD: Tensor, bias_RF: Tensor | None, precision: Precision
) -> Tensor:
    """One linear map per variant, [R, N, D] → [R, N, F]."""
    weight_RDF = weight_RFD.transpose(1, 2)
    if bias_RF is None:
        return matmul(states_RND, weight_RDF, precision)
    if precision is Precision.FLOAT32:
        return torch.baddbmm(bias_RF[:, None], states_RND, weight_RDF)
    return matmul(states_RND, weight_RDF, precision) + bias_RF[:, None]


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, precision: Precision, *, window: int = 0
) -> Tensor:
    """Causal attention over [..., T, K], float32; over the last `window` positions unless it is 0.

    Scores are scaled by 1/√K.
    """
    num_pos = query.shape[-2]
    settings: dict[str, Any] = {"is_causal": True}
    if 0 < window < num_pos:
        place_T = torch.arange(num_pos, device=query.device)
        back_TT = place_T[:, None] - place_T
        settings = {"attn_mask": (back_TT >= 0) & (back_TT < window)}
    if precision is Precision.FLOAT32:
        return functional.scaled_dot_product_attention(query, key, value, **settings)
    query, key, value = (_straight_through(state, precision) for state in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, **settings).float()


def round_to_tf32(tensor: Tensor) -> Tensor:
    """float32 values with mantissas of 10 bits, rounded to nearest, ties to even."""
    bits = tensor.contiguous().view(torch.int32)
    dropped = 13
    half = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    rounded = ((bits + half) & -(1 << dropped)).view(torch.float32)
    return torch.where(tensor.isfinite(), rounded, tensor)


_HAS_OUT_DTYPE = hasattr(torch.ops.aten.mm, "dtype")
"""Whether products of bfloat16 operands can give float32; torch before 2.8 takes TF32 instead,
in which such operands are exact."""


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, precision: Precision) -> Tensor:
        left, right = operand(left, precision), operand(right, precision)
        ctx.precision = precision
        ctx.save_for_backward(left, right)
        return multiply(left, right, precision)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        grad = operand(upstream[0], ctx.precision)
        needs_left, needs_right, _ = ctx.needs_input_grad
        return (
            multiply(grad, right.mT, ctx.precision) if needs_left else None,
            multiply(left.mT, grad, ctx.precision) if needs_right else None,
            None,
        )


def _straight_through(tensor: Tensor, precision: Precision) -> Tensor:
    """An operand of attention, differentiated as the identity."""
    if precision is Precision.BFLOAT16:
        return tensor.to(torch.bfloat16)
    values = tensor.detach()
    rounded = operand(values, precision)
    return tensor if rounded is values else tensor + (rounded - values)  # exact: they are near


def _switch(device_type: str, precision: Precision) -> AbstractContextManager[None]:
    """The device's own rounding of float32 operands, for the time of one product."""
    if precision is Precision.FLOAT32:
        return nullcontext()
    if device_type == "cuda":
        return _set(torch.backends.cuda.matmul, "tf32")
    if precision is Precision.BFLOAT16 and hasattr(torch.backends.mkldnn, "matmul"):
        return _set(torch.backends.mkldnn.matmul, "bf16")
    return nullcontext()


def unrounded(device_type: str) -> AbstractContextManager[None]:
    """Float32 products with operands as they are, whatever the process has chosen."""
    if device_type == "cuda":
        return _set(torch.backends.cuda.matmul, "ieee")
    if hasattr(torch.backends.mkldnn, "matmul"):
        return _set(torch.backends.mkldnn.matmul, "ieee")
    return nullcontext()


@contextmanager
def _set(products: Any, value: str) -> Iterator[None]:
    """Set torch's precision of float32 products, and put back what was there.

    The setting is the process's, so products of another thread may meet it in between.
    """
    field = "fp32_precision" if hasattr(products, "fp32_precision") else "allow_tf32"
    before = getattr(products, field)
    setattr(products, field, value if field == "fp32_precision" else value != "ieee")
    try:
        yield
    finally:
        setattr(products, field, before)
