"""Loading causal language models: the embedded one, a local folder, or the hub.

Weights are safetensors, whole or sharded, or one GGUF file; pickled weights are never opened, and
code of a checkpoint is never run. Missing weights, NaN and models that are not causal are errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import cached_file

import spectro.models.attention_only  # noqa: F401 - registers the type
from spectro.models.config import PACKAGED, ModelConfig
from spectro.models.config_json import FAMILIES, check_config
from spectro.models.consistency import require_causal_model, require_finite
from spectro.models.gguf_file import read_gguf_config, read_gguf_tensors
from spectro.models.weight_files import (
    check_count,
    check_files,
    check_frequencies,
    check_tied,
    check_unexpected,
    loaded_files,
)

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
    unless the folder is a copy without weights. Of a GGUF file, its settings by the same names.

    Raises ValueError, in one line, for a folder that is not there or whose weights and config
    are not those of one causal language model that can be measured (see config_json.py and
    weight_files.py); ModuleNotFoundError for a GGUF file without the extra.
    """
    if config.gguf_file is not None:
        with _named(config):
            raw = read_gguf_config(_gguf_path(config))
            check_config(raw)
            return dict(AutoConfig.for_model(**raw).to_dict())
    place = _place(config)
    try:
        raw = dict(json.loads(Path(_cached(config, "config.json")).read_text()))
    except Exception as error:
        raise ValueError(
            f"model {config.name_or_path!r} cannot be opened: {_line(error)}"
        ) from error
    with _named(config):
        check_config(raw)
        if has_weights and Path(place).is_dir():
            check_files(Path(place))
    return raw


def load_model(config: ModelConfig) -> PreTrainedModel:
    """Load a checkpoint, frozen and in evaluation mode, on the config's device.

    Raises ValueError, in one line, for what `read_config` refuses, for weights that are corrupt,
    missing, not finite, or that the config does not ask for, and for a model that is not causal.
    """
    device = resolve_device(config.device)
    raw = read_config(config)
    try:
        model, info = _read_model(config, raw)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(
            f"model {config.name_or_path!r} cannot be loaded: {_line(error)}"
        ) from error
    with _named(config):
        check_unexpected([str(key) for key in info["unexpected_keys"]])
    _require_complete(config, info)
    if config.gguf_file is None:
        _require_same_tensors(config, model)
    model = model.to(device).eval().requires_grad_(False)
    with _named(config):
        require_finite(model)
        require_causal_model(model)
    return model


def _read_model(config: ModelConfig, raw: dict[str, Any]) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model on the CPU, and what transformers says of its tensors."""
    dtype = DTYPES[config.dtype]
    if config.gguf_file is not None:
        path, of_model = _gguf_path(config), AutoConfig.for_model(**raw)
        found: tuple[PreTrainedModel, dict[str, Any]] = MODEL_FOR_CAUSAL_LM_MAPPING[
            type(of_model)
        ].from_pretrained(
            None,
            config=of_model,
            state_dict=read_gguf_tensors(path, of_model, dtype),
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused later, with their names
        )
        return found
    found = AutoModelForCausalLM.from_pretrained(
        _place(config),
        revision=config.revision,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    return found


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
    gguf = {} if config.gguf_file is None else {"gguf_file": config.gguf_file}
    try:
        return AutoTokenizer.from_pretrained(
            _place(config), revision=config.revision, trust_remote_code=False, **gguf
        )
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
        if config.gguf_file is None and not (path / "config.json").is_file():
            raise ValueError(
                f"model folder {name!r} has no config.json: expected a Hugging Face checkpoint "
                "(config.json, model.safetensors, tokenizer.json)" + _gguf_hint(path)
            )
        return str(path)
    if path.exists():
        is_gguf = path.suffix == ".gguf"
        hint = f": give its folder, and model.gguf_file={path.name}" if is_gguf else ""
        raise ValueError(
            f"model {name!r} is a file: expected a checkpoint folder or a hub name{hint}"
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ValueError(
            f"model folder {name!r} does not exist, and it is no hub name (owner/name)"
        )
    return name


def _gguf_hint(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*.gguf"))
    return f"; to measure {names[0]} in it give model.gguf_file={names[0]}" if names else ""


def _cached(config: ModelConfig, name: str) -> str:
    """Path of one file of the checkpoint, from the folder or the hub's cache."""
    return str(cached_file(_place(config), name, revision=config.revision))


def _gguf_path(config: ModelConfig) -> Path:
    """Raises ValueError, without the model's name, if there is no such file."""
    folder = Path(_place(config))
    if folder.is_dir() and not (folder / str(config.gguf_file)).is_file():
        names = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "none"
        raise ValueError(f"has no {config.gguf_file} in its folder, which has these: {names}")
    try:
        return Path(_cached(config, str(config.gguf_file)))
    except Exception as error:
        raise ValueError(f"cannot be opened: {_line(error)}") from error


def _require_complete(config: ModelConfig, info: dict[str, Any]) -> None:
    for what in ("missing_keys", "mismatched_keys"):
        if info.get(what):
            names = sorted(str(key) for key in info[what])
            raise ValueError(
                f"model {config.name_or_path!r} has {what.replace('_', ' ')} ({len(names)}, such "
                f"as {names[0]}): the weights and config.json are of different models"
            )


def _require_same_tensors(config: ModelConfig, model: PreTrainedModel) -> None:
    """Every tensor of the files is one parameter: none is there under two names."""
    folder = Path(_cached(config, "config.json")).parent
    with _named(config):
        files = check_files(folder) if Path(_place(config)).is_dir() else loaded_files(folder)
        check_tied(files, model)
        if model.config.model_type not in FAMILIES:  # a class of another family may join tensors
            return
        check_count(files, model)
        rope = getattr(model.config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "default":
            check_frequencies(files, model.base_model.rotary_emb.inv_freq)


def _line(error: Exception) -> str:
    """First line of a library's message, and the next where the first only announces it."""
    first, *rest = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first
