"""Validation of a checkpoint folder, config and weights, before anything is loaded.

`transformers` leaves out, without an error, keys of config.json that it does not know and tensors
that the config does not ask for. A key that changes the arithmetic (`rope_theta` beside GPT-NeoX's
own `rotary_emb_base`, a sliding window) or a layer that is left out would give numbers of another
model, so both are refused here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.activations import ACT2FN

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
OLD_BUFFERS = re.compile(r"(attention\.(bias|masked_bias)|rotary_emb\.inv_freq)$")
"""Tensors that earlier versions of transformers saved though they follow from the config."""
_SHAPE = {
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "hidden_act", "layer_norm_eps", "use_parallel_residual",
    "attention_bias", "tie_word_embeddings", "model_type",
}  # fmt: skip
_ROTARY = {"rope_parameters", "rope_scaling", "rotary_emb_base", "rotary_pct"}
_NO_ARITHMETIC = re.compile(
    r"_.*|.*_token_id|output_.*|.*_dropout|(torch_)?dtype|architectures|transformers_version|"
    r"initializer_range|use_cache|use_return_dict|return_dict|is_decoder|gradient_checkpointing|"
    r"id2label|label2id|problem_type|finetuning_task|task_specific_params|tokenizer_class|prefix|"
    r"attn_implementation|tf_legacy_loss|torchscript|use_bfloat16|chunk_size_feed_forward|"
    # settings of text generation, which earlier versions kept here
    r"(max|min)_length|(max|min)_new_tokens|do_sample|early_stopping|num_beams|num_beam_groups|"
    r"diversity_penalty|temperature|top_[kp]|typical_p|repetition_penalty|length_penalty|"
    r"no_repeat_ngram_size|encoder_no_repeat_ngram_size|bad_words_ids|num_return_sequences|"
    r"remove_invalid_values|exponential_decay_length_penalty|suppress_tokens|begin_suppress_tokens"
)
_ROPE_FIELDS: dict[str, set[str]] = {
    "default": set(),
    "linear": {"factor"},
    "llama3": {
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    },
    "yarn": {
        "factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
        "truncate", "original_max_position_embeddings",
    },
}  # fmt: skip
"""Fields of the rotary embeddings that this engine has been compared for, by type. `dynamic` and
`longrope` take other frequencies for other lengths of the text."""


Check = tuple[Callable[[Any], bool], str]
_WHOLE: Check = (lambda v: type(v) is int and v >= 1, "a whole number of at least 1")
_POSITIVE: Check = (
    lambda v: type(v) in (int, float) and 0 < v < math.inf, "a finite number above 0",
)  # fmt: skip
_SHARE: Check = (lambda v: type(v) in (int, float) and 0 < v <= 1, "a number in (0, 1]")
_FLAG: Check = (lambda v: isinstance(v, bool), "true or false")
_VALUES: dict[tuple[str, ...], Check] = {
    ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
     "max_position_embeddings"): _WHOLE,
    ("layer_norm_eps", "rotary_emb_base"): _POSITIVE,
    ("rotary_pct",): _SHARE,
    ("use_parallel_residual", "attention_bias", "tie_word_embeddings"): _FLAG,
    ("hidden_act",): (lambda v: isinstance(v, str), "a name"),
}  # fmt: skip
"""Keys of config.json → test of a value, and its description."""
_ROPE_NUMBERS = {
    "rope_theta", "partial_rotary_factor", *set().union(*_ROPE_FIELDS.values()) - {"truncate"},
}  # fmt: skip


def check_config(raw: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line, for a config.json whose arithmetic is not what is computed.

    Args:
        raw: the file's content, before transformers fills in what is missing.
    """
    kind = raw.get("model_type")
    if kind != "gpt_neox":
        raise ValueError(
            f"is of type {kind!r}: spectro reads GPT-NeoX checkpoints (all Pythia sizes)"
        )
    if raw.get("quantization_config"):
        raise ValueError(
            "has a quantization_config: displacements of quantised weights would be rounded; give "
            "the checkpoint that it was made from"
        )
    if raw.get("tie_word_embeddings"):
        raise ValueError(
            "ties its embedding to its unembedding: 'embed' and 'unembed' would be one component; "
            "spectro measures untied GPT-NeoX models only (as Pythia)"
        )
    foreign = [
        name
        for name, value in raw.items()
        if name not in _SHAPE | _ROTARY and value and not _NO_ARITHMETIC.fullmatch(name)
    ]
    if foreign:
        raise ValueError(
            f"has keys in config.json that GPT-NeoX does not have: {', '.join(foreign)}; they "
            "would be left out, so the numbers could be of another model (if they change nothing, "
            "take them out of a copy)"
        )
    _check_values(raw)
    if raw.get("hidden_act", "gelu") not in ACT2FN:
        raise ValueError(f"has hidden_act {raw['hidden_act']!r}, which transformers does not know")
    _check_rotary(raw)


def _check_values(raw: Mapping[str, Any]) -> None:
    """Types and ranges of the keys that are there; transformers knows what the others are."""
    for names, (fits, expected) in _VALUES.items():
        for name in names:
            if name in raw and not fits(raw[name]):
                raise ValueError(f"has {name} {raw[name]!r} in config.json, expected {expected}")
    width, heads = raw.get("hidden_size"), raw.get("num_attention_heads")
    if width is not None and heads is not None and width % heads:
        raise ValueError(
            f"has hidden_size {width} in config.json, which is no multiple of num_attention_heads "
            f"{heads}"
        )
    for group in ("rope_parameters", "rope_scaling"):
        rope = raw.get(group)
        if rope is not None and not isinstance(rope, Mapping):
            raise ValueError(f"has {group} {rope!r} in config.json, expected an object, or null")
        for name, value in (rope or {}).items():
            optional = value is None and name not in ("rope_theta", "partial_rotary_factor")
            if name in _ROPE_NUMBERS and not optional and not _POSITIVE[0](value):
                raise ValueError(
                    f"has {group}.{name} {value!r} in config.json, expected {_POSITIVE[1]}"
                )


def _check_rotary(raw: Mapping[str, Any]) -> None:
    """Rotary settings may be written in two ways; the one that is not read must say the same."""
    if raw.get("rope_parameters") and raw.get("rope_scaling"):
        raise ValueError("has both rope_parameters and rope_scaling: only one of them is read")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    check_rope(rope)
    for old, new in (("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")):
        if old in raw and new in rope and raw[old] != rope[new]:
            raise ValueError(
                f"has {old} {raw[old]} and {new} {rope[new]} in config.json: which is it?"
            )


def check_rope(rope: Mapping[str, Any]) -> None:
    """Raise ValueError for rotary embeddings of a type, or with a setting, that is not computed."""
    kinds = {str(rope[name]) for name in ("type", "rope_type") if rope.get(name)} or {"default"}
    if len(kinds) > 1 or not kinds <= set(_ROPE_FIELDS):
        raise ValueError(
            f"has rotary embeddings of type {' and '.join(sorted(kinds))}, expected one of "
            f"{', '.join(_ROPE_FIELDS)}"
        )
    known = {"type", "rope_type", "rope_theta", "partial_rotary_factor"}
    known |= _ROPE_FIELDS[kinds.pop()]
    if foreign := [name for name, value in rope.items() if name not in known and value]:
        raise ValueError(f"has unknown settings of its rotary embeddings: {', '.join(foreign)}")


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


def check_count(files: Collection[Path], num_parameters: int) -> None:
    """Raise ValueError if a tensor is there under two names, such as `embed_out` and `lm_head`."""
    names: list[str] = []
    for path in files:
        with safe_open(path, "pt") as file:
            names += [name for name in file.keys() if not OLD_BUFFERS.search(name)]  # noqa: SIM118
    if len(names) != num_parameters:
        outside = ", ".join(sorted(name for name in names if ".layers." not in name))
        raise ValueError(
            f"has {len(names)} tensors for {num_parameters} parameters: some are there under two "
            f"names, and only one of them would be read (outside the layers: {outside})"
        )


def check_frequencies(files: Collection[Path], frequencies: Tensor) -> None:
    """Raise ValueError for saved rotary frequencies that are not those which the config gives.

    Args:
        files: weight files; those of earlier versions hold the frequencies of every layer.
        frequencies: by the config, for rotary embeddings of type `default`.
    """
    for path in files:
        with safe_open(path, "pt") as file:
            for name in (n for n in file.keys() if n.endswith("inv_freq")):  # noqa: SIM118
                saved = file.get_tensor(name).to(frequencies)
                # float16 keeps three digits, and nothing below 6e-8
                if saved.shape != frequencies.shape or not torch.allclose(
                    saved, frequencies, rtol=1e-2, atol=1e-6
                ):
                    raise ValueError(
                        f"has rotary frequencies ({name}) that are not those of its config.json: "
                        "are rotary_emb_base, rotary_pct and num_attention_heads those that it "
                        "was trained with?"
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
