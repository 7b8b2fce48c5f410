"""Token sequences checked against a model's vocabulary and context length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.engine import Engine

Ids = Tensor | npt.NDArray[np.integer]


def check_ids(model: Engine, ids: Ids, name: str) -> Tensor:
    """Token sequences as int64 [n, T+1] on the model's device.

    Raises ValueError for a wrong shape or type, no sequence, a context longer than the model's,
    or ids outside the vocabulary.
    """
    tensor = torch.as_tensor(ids)
    if tensor.dtype not in (torch.int64, torch.int32, torch.int16) or tensor.dim() != 2:
        raise ValueError(
            f"{name} must be integers of shape [sequences, T+1], "
            f"found {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    num_seq, length = tensor.shape
    if num_seq == 0 or length < 2:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: expected at least one sequence of at least "
            "two tokens (a context and a target)"
        )
    if length - 1 > model.shape.max_context:
        raise ValueError(
            f"{name} has contexts of {length - 1} tokens; the model was built for at most "
            f"{model.shape.max_context}"
        )
    low, high = int(tensor.min()), int(tensor.max())
    if low < 0 or high >= model.shape.vocab_size:
        raise ValueError(
            f"{name} has token ids from {low} to {high}, the model's vocabulary is 0 to "
            f"{model.shape.vocab_size - 1}: were they made by another tokenizer?"
        )
    return tensor.to(device=model.device, dtype=torch.int64)
