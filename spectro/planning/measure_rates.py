"""Measured rates: flops per second and bandwidth of this device, at the shape in question.

A model of that shape with random weights is made, and real calls of a middle layer's group are
timed: `losses` of draws of a head and the MLP for scoring, a whole step for stepping. No
checkpoint is needed.
"""

from __future__ import annotations

import os
import platform
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from spectro.formats import run_dir
from spectro.models.architecture import GroupModel
from spectro.models.components import Group, group_components
from spectro.models.config import Precision
from spectro.models.cost.rows import scoring_budget, stepping_budget
from spectro.models.cost.weightless import config_of
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.size import ModelSize
from spectro.models.transformer import Transformer
from spectro.planning.call_flops import call_flops, component_flops
from spectro.planning.config import PRODUCT_BYTES
from spectro.planning.rates import TERA, Rate, Rates, today
from spectro.sampling.gradients import minibatch_gradients

STORAGE_BYTES = 2**27
ROUNDS = 3
MOST_CONTEXTS = 64
"""Sequences × variants of a timed pass, at most."""


def measure_rates(
    size: ModelSize,
    context: int,
    precision: str,
    device: torch.device,
    *,
    folder: str | None = None,
) -> Rates:
    """Rates of a device at one shape.

    Args:
        size: the model's.
        context: T.
        precision: type of the products, as rates name it: `float32`, `tf32`, `bfloat16`, `float64`.
        device: which.
        folder: local folder whose bandwidth is measured; None: that of temporary files.

    Raises ValueError for a precision that the engine does not have.
    """
    return device_rates((measure_rate(size, context, precision, device),), device, folder=folder)


def device_rates(
    rates: tuple[Rate, ...], device: torch.device, *, folder: str | None = None
) -> Rates:
    """Measured rates with what belongs to the device alone; its storage is measured here."""
    read, written = _storage_rates(folder)
    return Rates(
        device=_device_name(device),
        measured=True,
        date=today(),
        rates=rates,
        read_bytes_per_second=read,
        written_bytes_per_second=written,
        memory_bytes=_memory_bytes(device),
        host_memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        versions=run_dir.versions(),
        commit=run_dir.git_commit(),
    )


def measure_rate(
    size: ModelSize,
    context: int,
    precision: str,
    device: torch.device,
    *,
    most_contexts: int = MOST_CONTEXTS,
) -> Rate:
    """Rate at one shape and precision, by passes of at most so many sequences × variants.

    Raises ValueError as `measure_rates`.
    """
    if precision not in PRODUCT_BYTES:
        raise ValueError(
            f"rates can be measured in {', '.join(PRODUCT_BYTES)}; found {precision!r}"
        )
    is_double = precision == "float64"
    dtype = torch.float64 if is_double else torch.float32
    products = Precision.FLOAT32 if is_double else Precision(precision)
    model = random_model(size, device, dtype, products)
    middle = group_components(size.components)[1 + size.num_layers // 2]
    part = group_model(model, middle)
    with torch.random.fork_rng():
        scoring = _scoring_rate(part, middle, model, context, most_contexts)
        stepping = _stepping_rate(part, middle, model, context, most_contexts)
    return Rate(
        precision=precision,
        hidden_size=size.hidden_size,
        scoring_tflops=scoring / TERA,
        stepping_tflops=stepping / TERA,
    )


def random_model(
    size: ModelSize,
    device: torch.device,
    dtype: torch.dtype,
    precision: Precision = Precision.FLOAT32,
) -> Transformer:
    """A model of a shape; time asks no more of its weights."""
    with torch.device(device):
        hf = AutoModelForCausalLM.from_config(config_of(size))
    model = engine_of(hf.to(dtype).eval().requires_grad_(False), precision)
    assert isinstance(model, Transformer)
    return model


def _scoring_rate(
    part: GroupModel[Any], group: Group, model: Transformer, context: int, most_contexts: int
) -> float:
    """Flops per second of `losses` of as many draws as one pass takes."""
    size, device = model.shape, model.device
    components = [group.components[0], group.components[-1]]
    rows = min(scoring_budget(model).rows, most_contexts * context)
    num_variants = max(1, rows // context // len(components))
    weights = {
        c.name: {
            block: tensor.expand(num_variants, *tensor.shape).contiguous()
            for block, tensor in part.weights(c.name).items()
        }
        for c in components
    }
    flops = num_variants * sum(component_flops(size, c, 1, context).losses for c in components)
    with torch.no_grad():
        clean = part.prepare(_ids(size, context, device))
        return flops / _seconds(lambda: part.losses(clean, weights), device)


def _stepping_rate(
    part: GroupModel[Any], group: Group, model: Transformer, context: int, most_contexts: int
) -> float:
    """Flops per second of a step of the whole group, without the update."""
    size, device = model.shape, model.device
    rows = min(scoring_budget(model).rows, stepping_budget(model).rows, most_contexts * context)
    num_components = max(1, min(len(group.components), rows // context))
    components = group.components[-num_components:]
    at_rest = {
        c.name: [{b: torch.zeros_like(t) for b, t in part.weights(c.name).items()}]
        for c in components
    }
    ids = _ids(size, context, device)
    flops = call_flops(size, group, 1, context).prepare
    flops += sum(component_flops(size, c, 1, context).gradient for c in components)
    return flops / _seconds(lambda: minibatch_gradients(part, at_rest, ids[None]), device)


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Median time of a call, the first not counted."""
    found = []
    for _ in range(1 + ROUNDS):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _ids(size: ModelSize, context: int, device: torch.device) -> Tensor:
    return torch.randint(0, size.vocab_size, (1, context + 1), device=device)


def _storage_rates(folder: str | None) -> tuple[float, float]:
    """Bytes per second read (cached by the system, where it likes) and written."""
    data = secrets.token_bytes(STORAGE_BYTES)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "bytes"
        start = time.perf_counter()
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written = time.perf_counter() - start
        start = time.perf_counter()
        path.read_bytes()
        read = time.perf_counter() - start
    return STORAGE_BYTES / read, STORAGE_BYTES / written


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _memory_bytes(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return float(torch.cuda.get_device_properties(device).total_memory)
