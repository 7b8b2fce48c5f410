"""A flop counter for real calls.

torch's counter knows matrix products and the fused attention of CUDA. It does not know, and
silently counts as nothing, products in place and the fused attention of a CPU: their formulas
are here. Causal attention counts as the full T × T, as torch's own formulas have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
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
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return fused(*args, **(kwargs or {}))[0]
        return func(*args, **(kwargs or {}))


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
