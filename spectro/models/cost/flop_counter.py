"""A flop counter for real calls.

torch's counter knows matrix products and the fused attention of CUDA. It does not know, and
silently counts as nothing, products in place and the fused attention of a CPU: their formulas
are here. Causal attention counts as the full T × T, as torch's own formulas have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

Sizes = Sequence[int]


def counting() -> FlopCounterMode:
    """Context that counts flops; its `get_total_flops()` gives the sum."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten.addmm_: _product_in_place,
            aten.baddbmm_: _batched_product_in_place,
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


class FusedAttention(TorchFunctionMode):
    """Attention on the meta device by the fused operation, as it is done on CPUs and on CUDA."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return _fused(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class WholeSequences(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answers what a model of transformers asks of its mask: whole sequences, without padding.

    Without values it could not know; `mask.all()` is true then. Other questions are refused.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype is torch.bool:
            return True
        try:
            return func(*args, **(kwargs or {}))
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(
                "the model's forward cannot run without values, as that of a mixture of experts: "
                f"its cost is not counted ({func.overloadpacket.__name__}: "
                f"{str(error).splitlines()[0]})"
            ) from error


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The arguments of `scaled_dot_product_attention`; heads may share keys and values."""
    if enable_gqa:
        each = query.shape[-3] // key.shape[-3]
        key, value = (states.repeat_interleave(each, dim=-3) for states in (key, value))
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    settings = {"attn_mask": attn_mask, "scale": scale}
    found: Tensor = fused(query, key, value, dropout_p, is_causal, **settings)[0]
    return found


def _product_in_place(into: Sizes, a: Sizes, b: Sizes, **_: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _batched_product_in_place(into: Sizes, a: Sizes, b: Sizes, **_: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]


def _attention(query: Sizes, key: Sizes, value: Sizes, *_: Any, **__: Any) -> int:
    """Scores, and their product with the values."""
    num_seq, num_heads, num_pos, size = query
    return 2 * num_seq * num_heads * num_pos * key[2] * (size + value[3])


def _attention_backward(
    grad: Sizes, query: Sizes, key: Sizes, value: Sizes, *_: Any, **__: Any
) -> int:
    """Scores again; gradients of scores and values; gradients of queries and keys."""
    num_seq, num_heads, num_pos, size = query
    return 2 * num_seq * num_heads * num_pos * key[2] * (3 * size + 2 * value[3])
