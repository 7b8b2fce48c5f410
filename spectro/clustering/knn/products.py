"""Products of float32 vectors with float32's own rounding, whatever the process has chosen.

The bounds on what a product may hide take u = 2⁻²⁴; torch can be told to round operands further
(`torch.set_float32_matmul_precision`), to u = 2⁻¹¹ or 2⁻⁸.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def ieee_products(device_type: str) -> Iterator[None]:
    """Matrix products without further rounding on `cpu` or `cuda`, until the end of the block.

    The setting is the process's: products of other threads meet it too.
    """
    backend = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    before = backend.matmul.fp32_precision
    backend.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        backend.matmul.fp32_precision = before
