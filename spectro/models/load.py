"""Loading GPT-NeoX checkpoints: the embedded one, a local folder, or the hub.

Checkpoints are safetensors only; pickled weights are never opened. Missing
weights, NaN and other architectures are errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPTNeoXForCausalLM, PreTrainedTokenizerBase
from transformers.utils import cached_file

from spectro.models.checkpoint_folder import (
    check_config,
    check_count,
    check_files,
    check_frequencies,
    check_unexpected,
)
from spectro.models.config import PACKAGED, ModelConfig
from spectro.models.consistency import require_finite

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve_device(name: str) -> torch.device:
    """The device of a config's name.

    Raises ValueError if CUDA is asked for and absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"model.device is {name!r} but torch sees no CUDA device here")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ValueError(
            f"model.device is {name!r} but torch sees {torch.cuda.device_count()} CUDA devices here"
        )
    return device


def read_config(config: ModelConfig, *, has_weights: bool = True) -> dict[str, Any]:
    """The checkpoint's config.json, checked; of a local checkpoint also its weights' headers,
    unless the folder is a copy without weights.

    Raises ValueError, in one line, for a folder that is not there or whose weights and config
    are not those of one GPT-NeoX model that can be measured (see checkpoint.py).
    """
    place = _place(config)
    try:
        file = cached_file(place, "config.json", revision=config.revision)
        raw = dict(json.loads(Path(str(file)).read_text()))
    except Exception as error:
        raise ValueError(
            f"model {config.name_or_path!r} cannot be opened: {_line(error)}"
        ) from error
    with _named(config):
        check_config(raw)
        if has_weights and Path(place).is_dir():
            check_files(Path(place))
    return raw


def load_model(config: ModelConfig) -> GPTNeoXForCausalLM:
    """Load a checkpoint, frozen and in evaluation mode, on the config's device.

    Raises ValueError, in one line, for what `read_config` refuses, for weights that are corrupt,
    missing, not finite, or that the config does not ask for.
    """
    device = resolve_device(config.device)
    read_config(config)
    place = _place(config)
    try:
        model, info = GPTNeoXForCausalLM.from_pretrained(
            place,
            revision=config.revision,
            dtype=DTYPES[config.dtype],
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, with their names
        )
    except Exception as error:
        raise ValueError(
            f"model {config.name_or_path!r} cannot be loaded: {_line(error)}"
        ) from error
    with _named(config):
        check_unexpected([str(key) for key in info["unexpected_keys"]])
    _require_complete(config, info)
    if Path(place).is_dir():
        _require_same_tensors(config, check_files(Path(place)), model)
    with _named(config):
        require_finite(model)
    return model.to(device).eval().requires_grad_(False)


@contextmanager
def _named(config: ModelConfig) -> Iterator[None]:
    """Errors of a checkpoint begin with the model's name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"model {config.name_or_path!r} {error}") from error


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer beside the checkpoint.

    Raises ValueError if there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(_place(config), revision=config.revision)
    except Exception as error:
        raise ValueError(
            f"model {config.name_or_path!r} has no tokenizer that can be loaded: {_line(error)}"
        ) from error


def refuse_revision(config: ModelConfig) -> None:
    """Raise ValueError for a revision of a model that is no hub name."""
    name = config.name_or_path
    is_packaged = name in PACKAGED
    if config.revision is not None and (is_packaged or Path(name).expanduser().is_dir()):
        what = f"the {name} model" if is_packaged else f"the local folder {name!r}"
        raise ValueError(
            f"model.revision is {config.revision!r}, but {what} has no revisions to choose from: "
            "the same weights would be measured under another name; leave model.revision out "
            "(null), or give a hub name"
        )


def _place(config: ModelConfig) -> str:
    """Folder or hub name to load from."""
    name = config.name_or_path
    refuse_revision(config)
    if name in PACKAGED:
        return str(resources.files("spectro") / "assets" / PACKAGED[name])
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(
                f"model folder {name!r} has no config.json: expected a Hugging Face checkpoint "
                "(config.json, model.safetensors, tokenizer.json)"
            )
        return str(path)
    if path.exists():
        raise ValueError(f"model {name!r} is a file: expected a checkpoint folder or a hub name")
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ValueError(
            f"model folder {name!r} does not exist, and it is no hub name (owner/name)"
        )
    return name


def _require_complete(config: ModelConfig, info: dict[str, Any]) -> None:
    for what in ("missing_keys", "mismatched_keys"):
        if info.get(what):
            names = sorted(str(key) for key in info[what])
            raise ValueError(
                f"model {config.name_or_path!r} has {what.replace('_', ' ')} ({len(names)}, such "
                f"as {names[0]}): the weights and config.json are of different models"
            )


def _require_same_tensors(
    config: ModelConfig, files: list[Path], model: GPTNeoXForCausalLM
) -> None:
    """Every tensor of the files is one parameter: none is there under two names."""
    with _named(config):
        check_count(files, len(list(model.parameters())))
        if model.config.rope_parameters["rope_type"] == "default":
            check_frequencies(files, model.gpt_neox.rotary_emb.inv_freq)


def _line(error: Exception) -> str:
    """First line of a library's message, and the next where the first only announces it."""
    first, *rest = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first
