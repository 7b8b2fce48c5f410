"""Validation of a checkpoint's weight files before and after they are loaded.

`transformers` leaves out, without an error, tensors that the config does not ask for, and one of
two tensors that are there under two names of one parameter. A layer that is left out would give
numbers of another model, so both are refused here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
OLD_BUFFERS = re.compile(r"(\b(attention|attn)\.(bias|masked_bias)|rotary_emb\.inv_freq)$")
"""Tensors that earlier versions of transformers saved though they follow from the config."""
_IN_LAYER = re.compile(r"(^|\.)(layers|h|blocks)\.\d")


def check_files(folder: Path) -> list[Path]:
    """The weight files of a local checkpoint, each tensor of which is in use.

    Raises ValueError, in one line, for weights beside those that would be loaded: an adapter, a
    second set, shards that the index does not name; for shards that are absent, and for tensors
    that are not of floating point.
    """
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            "has an adapter_config.json (PEFT): the adapter's weights lie beside the model's; "
            "merge them into one checkpoint (merge_and_unload) and give that"
        )
    found = {path.name for path in folder.glob("*.safetensors")}
    has_index = (folder / INDEX).is_file()
    if WEIGHTS in found and has_index:
        raise ValueError(f"has both {WEIGHTS} and {INDEX}: which of them are its weights?")
    if not has_index and WEIGHTS not in found:
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        cause = (
            f"only pickled weights ({pickled[0]}), which are never opened: save it anew with "
            "save_pretrained(..., safe_serialization=True)"
            if pickled
            else "none: is the download incomplete?"
        )
        raise ValueError(f"cannot be loaded: expected {WEIGHTS} or {INDEX}, found {cause}")
    places = _shards(folder) if has_index else {WEIGHTS: None}
    if unused := sorted(found - set(places)):
        raise ValueError(
            f"has {len(unused)} weight files that would be left out, such as {unused[0]}: expected "
            f"those of {INDEX if has_index else WEIGHTS} alone"
        )
    if absent := sorted(set(places) - found):
        raise ValueError(
            f"cannot be loaded: {INDEX} names {absent[0]}, which is not there "
            f"({len(absent)} of {len(places)} files): is the download incomplete?"
        )
    for name, tensors in places.items():
        _check_tensors(folder / name, tensors)
    return [folder / name for name in places]


def loaded_files(folder: Path) -> list[Path]:
    """The weight files that transformers loads of a snapshot of the hub, which may have others.

    Raises ValueError as `check_files` for their tensors.
    """
    places = {WEIGHTS: None} if (folder / WEIGHTS).is_file() else _shards(folder)
    for name, tensors in places.items():
        _check_tensors(folder / name, tensors)
    return [folder / name for name in places]


def _shards(folder: Path) -> dict[str, set[str] | None]:
    """File → names of its tensors, by the index."""
    try:
        places: Mapping[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot be loaded: {INDEX} is no index of weights ({error})") from error
    return {
        name: {tensor for tensor, place in places.items() if place == name}
        for name in dict.fromkeys(places.values())
    }


def _check_tensors(path: Path, expected: Collection[str] | None) -> None:
    """Names against the index, types against what can be displaced; only the header is read."""
    try:
        with safe_open(path, "pt") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"cannot be loaded: {path.name}: {error}") from error
    if expected is not None and set(types) != set(expected):
        odd = sorted(set(types) ^ set(expected))
        raise ValueError(
            f"cannot be loaded: {path.name} and {INDEX} differ in {len(odd)} tensors, such as "
            f"{odd[0]}: are they of one checkpoint?"
        )
    for name, kind in types.items():
        if kind not in FLOATS and not OLD_BUFFERS.search(name):
            raise ValueError(
                f"has weights of type {kind} ({name} in {path.name}), expected one of "
                f"{', '.join(FLOATS.values())}: are they quantised?"
            )


def check_count(files: Collection[Path], model: PreTrainedModel) -> None:
    """Raise ValueError if a parameter is there under two names, such as `embed_out` and `lm_head`.

    Two tensors that the config ties are one parameter: either name is enough.
    """
    tied, prefix = _tied(model), f"{model.base_model_prefix}."
    names = [name for path in files for name in _names(path) if not OLD_BUFFERS.search(name)]
    distinct = {tied.get(name, name).removeprefix(prefix) for name in names}
    if len(distinct) != (num_parameters := len(list(model.parameters()))):
        outside = ", ".join(sorted(name for name in names if not _IN_LAYER.search(name)))
        raise ValueError(
            f"has {len(names)} tensors for {num_parameters} parameters: some are there under two "
            f"names, and only one of them would be read (outside the layers: {outside})"
        )


def check_tied(files: Collection[Path], model: PreTrainedModel) -> None:
    """Raise ValueError for two stored tensors that differ though the config ties them."""
    tied = _tied(model)
    for path in files:
        for name in tied.keys() & _names(path):
            loaded = model.get_parameter(tied[name])
            with safe_open(path, "pt") as file:
                saved = file.get_tensor(name).to(loaded)
            if not torch.equal(saved, loaded):
                raise ValueError(
                    f"ties {name} to {tied[name]} in its config.json, but its file has two "
                    "tensors that differ, and only one of them would be read: is "
                    "tie_word_embeddings false for this checkpoint?"
                )


def _tied(model: PreTrainedModel) -> dict[str, str]:
    """Name of a parameter → name of the one that it shares its tensor with, by the config.

    A loaded model is not asked: transformers unties two stored tensors that differ.
    """
    with torch.device("meta"):
        known = type(model)(model.config)
    return dict(known.all_tied_weights_keys or {})


def _names(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return list(file.keys())


def check_frequencies(files: Collection[Path], frequencies: Tensor) -> None:
    """Raise ValueError for saved rotary frequencies that are not those which the config gives.

    Args:
        files: weight files; those of earlier versions hold the frequencies of every layer.
        frequencies: by the config, for rotary embeddings of type `default`.
    """
    for path in files:
        with safe_open(path, "pt") as file:
            for name in (n for n in _names(path) if n.endswith("inv_freq")):
                saved = file.get_tensor(name).to(frequencies)
                # float16 keeps three digits, and nothing below 6e-8
                if saved.shape != frequencies.shape or not torch.allclose(
                    saved, frequencies, rtol=1e-2, atol=1e-6
                ):
                    raise ValueError(
                        f"has rotary frequencies ({name}) that are not those of its config.json: "
                        "are rotary_emb_base (or rope_theta), rotary_pct and num_attention_heads "
                        "those that it was trained with?"
                    )


def check_unexpected(names: Collection[str]) -> None:
    """Raise ValueError for tensors that the config does not ask for, but for known old buffers."""
    left = sorted(name for name in names if not OLD_BUFFERS.search(name))
    if left:
        shown = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
        raise ValueError(
            f"has {len(left)} tensors that its config.json does not ask for ({shown}): they would "
            "be left out; the weights and config.json are of different models"
        )
