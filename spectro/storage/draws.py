"""Draws of one chain of one group: a safetensors object, and a JSON marker written last.

chains/<group>/<chain>.safetensors   component/block → displacements [num_draws, *shape]
chains/<group>/<chain>.json          ΔL per draw, traces, size and checksum of the draws
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import safetensors.torch
from torch import Tensor

from spectro.sampling.chain import ChainResult, Draws
from spectro.storage.fs import ObjectInfo, Store

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ChainRecord:
    """What is kept of a chain beside its draws."""

    delta_loss: dict[str, FloatArray]
    """Component → ΔL(t) of every draw, nats."""
    step_loss: dict[str, FloatArray]
    """Component → minibatch loss before each step, nats."""
    squared_displacement: dict[str, FloatArray]
    """Component → ‖δ‖² at each draw."""
    draws: ObjectInfo
    """Size and checksum of the draws."""
    seconds: float
    """What the unit took."""


def draws_name(group: str, chain: int) -> str:
    """Name of the object with the draws."""
    return f"chains/{group}/{chain}.safetensors"


def record_name(group: str, chain: int) -> str:
    """Name of the marker."""
    return f"chains/{group}/{chain}.json"


def write_chain(store: Store, group: str, chain: int, result: ChainResult, seconds: float) -> None:
    """Put the draws, then the marker.

    Draws without a marker are those of a writer that died: nobody has read them, and they are
    replaced (other threads or another processor may have changed their last bits). Draws with
    a marker must be the same.
    """
    tensors = {
        f"{component}/{block}": tensor.detach().cpu().contiguous()
        for component, blocks in result.draws.items()
        for block, tensor in blocks.items()
    }
    data = safetensors.torch.save(tensors)
    info = ObjectInfo.of(data)
    if not store.exists(record_name(group, chain)):
        store.delete(draws_name(group, chain))
    if not store.put_if_absent(draws_name(group, chain), data):
        info.verify(store.read(draws_name(group, chain)), f"{store.uri}/{draws_name(group, chain)}")
    marker = {
        "delta_loss": _lists(result.delta_loss),
        "step_loss": _lists(result.step_loss),
        "squared_displacement": _lists(result.squared_displacement),
        "draws": {"size_bytes": info.size_bytes, "sha256": info.sha256},
        "seconds": seconds,
    }
    store.put_if_absent(record_name(group, chain), json.dumps(marker).encode())


def read_record(store: Store, group: str, chain: int) -> ChainRecord:
    """The marker of a finished chain."""
    name = record_name(group, chain)
    try:
        marker = json.loads(store.read(name))
        return ChainRecord(
            delta_loss=_arrays(marker["delta_loss"]),
            step_loss=_arrays(marker["step_loss"]),
            squared_displacement=_arrays(marker["squared_displacement"]),
            draws=ObjectInfo(**marker["draws"]),
            seconds=marker["seconds"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{store.uri}/{name} is no marker of a chain: {error!r}") from error


def read_draws(store: Store, group: str, chain: int) -> Draws:
    """The draws of a finished chain, checked against the marker.

    Raises DamagedObjectError, in one line, if they are not what was written.
    """
    name = draws_name(group, chain)
    data = store.read(name)
    read_record(store, group, chain).draws.verify(data, f"{store.uri}/{name}")
    draws: dict[str, dict[str, Tensor]] = {}
    for key, tensor in safetensors.torch.load(data).items():
        component, block = key.split("/", 1)
        draws.setdefault(component, {})[block] = tensor
    return draws


def _lists(arrays: dict[str, FloatArray]) -> dict[str, list[float]]:
    return {name: array.tolist() for name, array in arrays.items()}


def _arrays(lists: dict[str, list[float]]) -> dict[str, FloatArray]:
    return {name: np.array(values, dtype=np.float64) for name, values in lists.items()}
