"""Tensors of a safetensors object that share the memory of its bytes.

The library's own reader of bytes copies every tensor. The object is: u64 length of the header, the
header (JSON: name → dtype, shape, data_offsets; `__metadata__`), the data.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def shared_tensors(data: memoryview) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of an object.

    Args:
        data: a writable buffer whose checksum is known to be right, kept alive by the tensors.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(bytes(data[8:begin]))
    metadata: dict[str, str] = header.pop("__metadata__", {})
    return {name: _tensor(data[begin:], **own) for name, own in header.items()}, metadata


def _tensor(data: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    start, stop = data_offsets
    if start == stop:
        return torch.empty(shape, dtype=DTYPES[dtype])
    return torch.frombuffer(data[start:stop], dtype=DTYPES[dtype]).reshape(shape)
