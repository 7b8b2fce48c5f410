"""Checkpoints in one GGUF file, read through transformers and dequantised.

What is measured are the dequantised values: the nearest float32 or float64 numbers of what the file
stores, not the arithmetic of a program that multiplies quantised blocks. `transformers` leaves out,
without an error, settings and tensors of the file that it has no place for; they are refused here.
"""

from __future__ import annotations

import copy
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, modeling_gguf_pytorch_utils
from transformers.modeling_gguf_pytorch_utils import (
    GGUF_TO_TRANSFORMERS_MAPPING,
    load_gguf_checkpoint,
)
from transformers.utils import logging as transformers_logging

from spectro.extras import optional_imports

logger = logging.getLogger(__name__)
# so that its progress bar too is one that `transformers.logging.disable_progress_bar` switches off
modeling_gguf_pytorch_utils.tqdm = transformers_logging.tqdm
_NO_ARITHMETIC = re.compile(r".*(vocab_size|feed_forward_length|attention\.(key|value)_length)$")
"""Keys whose values follow from the tensors' shapes."""


def read_gguf_config(path: Path) -> dict[str, Any]:
    """The model's settings as config.json would have them, those that transformers reads.

    Raises ModuleNotFoundError naming the extra, and ValueError, in one line, for settings and
    tensors that it leaves out.
    """
    return copy.deepcopy(_header(path).config)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What is read of a file without its weights."""

    config: dict[str, Any]
    """Settings by the names of config.json."""
    stored: tuple[str, ...]
    """Storage type of each tensor."""


def _header(path: Path) -> _Header:
    found = path.stat()
    return _read_header(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read_header(path: Path, mtime_ns: int, size: int) -> _Header:
    """Kept for a file that has not changed: its vocabulary takes the library seconds to read."""
    reader = _reader(path)
    architecture = str(reader.fields["general.architecture"].contents())
    known = GGUF_TO_TRANSFORMERS_MAPPING["config"].get(architecture, {})
    foreign = [
        key
        for key in map(str, reader.fields)
        if key.startswith(f"{architecture}.")
        and key.removeprefix(f"{architecture}.") not in known
        and not _NO_ARITHMETIC.fullmatch(key)
    ]
    if foreign:
        raise ValueError(
            f"has settings in {path.name} that transformers does not read: {', '.join(foreign)}; "
            "they would be left out, so the numbers could be of another model; give the "
            "checkpoint in safetensors"
        )
    return _Header(
        config=dict(load_gguf_checkpoint(str(path))["config"]),
        stored=tuple(tensor.tensor_type.name for tensor in reader.tensors),
    )


def read_gguf_tensors(
    path: Path, config: PreTrainedConfig, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Dequantised tensors by the names of the model's parameters; logs what they were stored as.

    Raises ValueError, in one line, for a tensor that has no parameter.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=model, torch_dtype=dtype
    )
    tensors: dict[str, Tensor] = found["tensors"]
    stored = _header(path).stored
    if len(stored) != len(tensors):
        raise ValueError(
            f"has {len(stored)} tensors in {path.name}, but transformers reads {len(tensors)} of "
            "them: some (such as rope_freqs.weight) would be left out; give the checkpoint in "
            "safetensors"
        )
    types = ", ".join(sorted(set(stored), key=lambda name: (-stored.count(name), name)))
    logger.info("%s stores %s: its dequantised weights are measured", path.name, types)
    return tensors


def _reader(path: Path) -> Any:
    with optional_imports():
        from gguf import GGUFReader
    try:
        return GGUFReader(str(path))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path.name} is not a GGUF file: {error}") from error
