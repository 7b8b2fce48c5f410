"""Random weights of autoencoders, the functions that they compute, and files of tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

Array = NDArray[np.float64]
Reference = Callable[[Array], tuple[Array, Array]]
D, F, K = 6, 12, 3


def weights(seed: int = 0, size: int = D) -> dict[str, Array]:
    """Random weights by plain names; float32 numbers."""
    rng = np.random.default_rng(seed)

    def of(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    return {
        "enc": of(size, F), "dec": of(F, size), "b_enc": 0.3 * of(F), "b_dec": 0.5 * of(size),
        "threshold": 0.5 + 0.2 * np.abs(of(F)), "gate": 0.2 * of(F), "r": 0.3 * of(F),
    }  # fmt: skip


def relu(a: Array) -> Array:
    return np.maximum(a, 0.0)


def top_k(a: Array, k: int) -> Array:
    """All but the k largest of each row at zero."""
    out = np.zeros_like(a)
    for row, values in enumerate(a):
        for place in sorted(range(len(values)), key=lambda i: -values[i])[:k]:
            out[row, place] = values[place]
    return out


def tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.array(array, np.float32, order="C"))


def put_safetensors(folder: Path, name: str, arrays: dict[str, Any], cfg: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor(value) for key, value in arrays.items()}, folder / name)
    if cfg is not None:
        (folder / "cfg.json").write_text(json.dumps(cfg))
