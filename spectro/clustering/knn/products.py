"""Float32 matrix products with IEEE rounding, whatever precision the process has set.

The error bounds assume u = 2⁻²⁴; `torch.set_float32_matmul_precision` may round to 2⁻¹¹ or 2⁻⁸.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def ieee_products(device_type: str) -> Iterator[None]:
    """IEEE float32 matrix products on `cpu` or `cuda` within the block, for all threads."""
    backend = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    before = backend.matmul.fp32_precision
    backend.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        backend.matmul.fp32_precision = before
