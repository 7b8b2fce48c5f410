"""Reads a released autoencoder from its folder: which library wrote it follows from its files.

No file is unpickled: ae.pt is loaded with `weights_only`, which refuses objects other than tensors.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spectro.autoencoders.dictionary_learning import read_dictionary_learning
from spectro.autoencoders.released import Released
from spectro.autoencoders.saelens import read_saelens
from spectro.autoencoders.sparsify import read_gemma_scope, read_sparsify

PACKAGED = {"embedded": "autoencoder"}
"""Name of an autoencoder that comes with the package → its folder in `assets`."""
FILES = {
    "sae_weights.safetensors": "cfg.json",
    "sae.safetensors": "cfg.json",
    "ae.pt": "config.json",
    "params.npz": None,
    "params.safetensors": None,
}
"""File of weights → the file of settings beside it."""


def folder_of(place: str) -> Path:
    """Folder of an autoencoder: one of the package by name, else as given.

    Raises ValueError if there is none.
    """
    if place in PACKAGED:
        return Path(str(resources.files("spectro") / "assets" / PACKAGED[place]))
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"autoencoder {place!r} is no folder: expected {', '.join(PACKAGED)}, or a folder with "
            f"one of {', '.join(FILES)} (a repository of the hub: download it first)"
        )
    return folder


def read_autoencoder(place: str) -> tuple[Released, str]:
    """The autoencoder of a folder, and the digest of its files.

    Raises ValueError, in one line, for a folder without one, or with more than one, for a file that
    is damaged or is no plain file of tensors, and for what this version does not know.
    """
    folder = folder_of(place)
    there = [name for name in FILES if (folder / name).is_file()]
    if len(there) != 1:
        found = ", ".join(there) or "none of them"
        raise ValueError(
            f"autoencoder {place!r}: expected one of {', '.join(FILES)} in the folder, found "
            f"{found}: {_hint(folder)}"
        )
    try:
        return _read(folder, there[0]), _digest(folder, there[0])
    except ValueError as error:
        raise ValueError(f"autoencoder {place!r}: {error}") from error
    except (TypeError, AttributeError, KeyError) as error:  # text where an object is expected
        raise ValueError(
            f"autoencoder {place!r}: its settings are not of the form that its library writes "
            f"({_first_line(error)}): were they edited?"
        ) from error


def _read(folder: Path, name: str) -> Released:
    settings = _settings(folder, name)
    tensors = _tensors(folder / name)
    if name == "sae_weights.safetensors":
        return read_saelens(settings, tensors)
    if name == "sae.safetensors":
        return read_sparsify(settings, tensors, folder.resolve().name)
    if name == "ae.pt":
        return read_dictionary_learning(settings, tensors)
    return read_gemma_scope(tensors)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    """Settings beside the weights; of dictionary_learning they may be missing."""
    beside = FILES[name]
    if beside is None or (name == "ae.pt" and not (folder / beside).is_file()):
        return {}
    try:
        found = json.loads((folder / beside).read_text())
    except FileNotFoundError as error:
        raise ValueError(
            f"{name} has no {beside} beside it: was the folder copied whole?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside} is no JSON ({_first_line(error)})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{beside} is no object of settings")
    return found


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        with warnings.catch_warnings():  # of torch, about protocols of pickle
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} holds Python objects, which are not loaded: expected tensors alone (a "
            "state_dict)"
        ) from error
    except (SafetensorError, BadZipFile, RuntimeError, ValueError, TypeError, EOFError,
            OSError) as error:  # fmt: skip
        raise ValueError(f"{path.name} is damaged ({_first_line(error)})") from error
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(f"{path.name} is no dictionary of tensors")
    return dict(found)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _digest(folder: Path, name: str) -> str:
    digest = hashlib.sha256()
    for each in (name, FILES[name]):
        if each is not None and (folder / each).is_file():
            digest.update(each.encode() + (folder / each).read_bytes())
    return digest.hexdigest()


def _hint(folder: Path) -> str:
    inside = sorted(path.parent.name for name in FILES for path in folder.glob(f"*/{name}"))
    return f"is it in a folder below, such as {inside[0]}?" if inside else "was it copied whole?"
