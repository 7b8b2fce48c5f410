"""Validation of config.json before anything is loaded.

`transformers` leaves out, without an error, keys of config.json that it does not know. A key that
changes the arithmetic (`rope_theta` beside GPT-NeoX's own `rotary_emb_base`, a sliding window)
would give numbers of another model. Families with a fast engine are therefore read by the keys that
their config class declares, and by a table of those that it accepts beside them; all other families
run by the model's own forward, where the config means what transformers makes of it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers.activations import ACT2FN
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Keys that a family's checkpoints have beside those that its config class declares."""

    title: str
    """Its name in messages."""
    rotary: frozenset[str] = frozenset()
    """Settings of the rotary embeddings, read by `_check_rotary`."""
    same: Mapping[str, str] = field(default_factory=dict)
    """Older name of a setting → the attribute of the config that must have its value."""


_ROPE = frozenset({"rope_scaling", "rope_theta"})
FAMILIES = {
    "gpt_neox": _Family(
        title="GPT-NeoX", rotary=frozenset({"rope_scaling", "rotary_emb_base", "rotary_pct"})
    ),
    "gpt2": _Family(title="GPT-2", same={"n_ctx": "n_positions"}),
    "llama": _Family(title="Llama", rotary=_ROPE),
    "mistral": _Family(title="Mistral", rotary=_ROPE),
    "qwen2": _Family(title="Qwen2", rotary=_ROPE),
    "qwen3": _Family(title="Qwen3", rotary=_ROPE),
    "attention_only": _Family(title="attention-only"),
    "gemma": _Family(title="Gemma", rotary=_ROPE, same={"hidden_activation": "hidden_act"}),
}
"""Families with a fast engine, by `model_type`; SmolLM is of type llama."""
_NO_ARITHMETIC = re.compile(
    r"_.*|.*_token_id|output_.*|.*_dropout|(torch_)?dtype|architectures|transformers_version|"
    r"initializer_range|use_cache|use_return_dict|return_dict|is_decoder|gradient_checkpointing|"
    r"id2label|label2id|problem_type|finetuning_task|task_specific_params|tokenizer_class|prefix|"
    r"attn_implementation|tf_legacy_loss|torchscript|use_bfloat16|chunk_size_feed_forward|"
    # settings of text generation, which earlier versions kept here
    r"(max|min)_length|(max|min)_new_tokens|do_sample|early_stopping|num_beams|num_beam_groups|"
    r"diversity_penalty|temperature|top_[kp]|typical_p|repetition_penalty|length_penalty|"
    r"no_repeat_ngram_size|encoder_no_repeat_ngram_size|bad_words_ids|num_return_sequences|"
    # settings of other programs
    r"is_llama_config|transformers\.js_config|"
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
"""Fields of the rotary embeddings that fast engines have been compared for, by type. `dynamic` and
`longrope` take other frequencies for other lengths of the text."""


Check = tuple[Callable[[Any], bool], str]
_WHOLE: Check = (lambda v: type(v) is int and v >= 1, "a whole number of at least 1")
_WHOLE_OR_NULL: Check = (lambda v: v is None or _WHOLE[0](v), f"{_WHOLE[1]}, or null")
_POSITIVE: Check = (
    lambda v: type(v) in (int, float) and 0 < v < math.inf, "a finite number above 0",
)  # fmt: skip
_SHARE: Check = (lambda v: type(v) in (int, float) and 0 < v <= 1, "a number in (0, 1]")
_FLAG: Check = (lambda v: isinstance(v, bool), "true or false")
_NAME: Check = (lambda v: isinstance(v, str), "a name")
_VALUES: dict[tuple[str, ...], Check] = {
    ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
     "max_position_embeddings", "n_embd", "n_layer", "n_head", "n_positions"): _WHOLE,
    ("num_key_value_heads", "head_dim", "n_inner", "sliding_window"): _WHOLE_OR_NULL,
    ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "rotary_emb_base", "rope_theta"):
        _POSITIVE,
    ("rotary_pct",): _SHARE,
    ("use_parallel_residual", "attention_bias", "mlp_bias", "tie_word_embeddings",
     "use_sliding_window"): _FLAG,
    ("hidden_act", "activation_function"): _NAME,
}  # fmt: skip
"""Keys of config.json → test of a value, and its description."""
_ROTARY_NAMES = (
    ("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor"),
    ("rope_theta", "rope_theta"),
)  # fmt: skip
"""Key beside `rope_parameters` → the field that means the same."""
_ROPE_NUMBERS = {
    "rope_theta", "partial_rotary_factor", *set().union(*_ROPE_FIELDS.values()) - {"truncate"},
}  # fmt: skip


def check_config(raw: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line, for a config.json whose arithmetic is not what is computed.

    Args:
        raw: the file's content, before transformers fills in what is missing.
    """
    kind = str(raw.get("model_type"))
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(
            f"is of type {kind!r}, expected a causal language model that transformers has"
        )
    if raw.get("auto_map"):
        raise ValueError(
            "has auto_map in config.json: its forward pass is code that comes with the checkpoint, "
            f"which is never run; if it is a {kind} as transformers has it, take auto_map out of a "
            "copy"
        )
    if raw.get("is_encoder_decoder"):
        raise ValueError(
            "is an encoder-decoder model (is_encoder_decoder): its losses depend on a second text; "
            "expected a decoder alone"
        )
    if raw.get("quantization_config"):
        raise ValueError(
            "has a quantization_config: displacements of quantised weights would be rounded; give "
            "the checkpoint that it was made from"
        )
    if (family := FAMILIES.get(kind)) is not None:
        _check_family(kind, family, raw)


def arithmetic_settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a config that may change a model's losses, in the order of their names."""
    return {name: raw[name] for name in sorted(raw) if not _NO_ARITHMETIC.fullmatch(name)}


def _check_family(kind: str, family: _Family, raw: Mapping[str, Any]) -> None:
    """Every key and value of a family with a fast engine."""
    config_class = CONFIG_MAPPING[kind]
    known = _declared(config_class) | family.rotary | set(family.same)
    foreign = [
        name
        for name, value in raw.items()
        if name not in known and value and not _NO_ARITHMETIC.fullmatch(name)
    ]
    if foreign:
        raise ValueError(
            f"has keys in config.json that {family.title} does not have: {', '.join(foreign)}; "
            "they would be left out, so the numbers could be of another model (if they change "
            "nothing, take them out of a copy)"
        )
    _check_values(raw)
    for name in ("hidden_act", "activation_function"):
        if raw.get(name, "gelu") not in ACT2FN:
            raise ValueError(f"has {name} {raw[name]!r}, which transformers does not know")
    if "rope_parameters" in known:
        _check_rotary(raw)
    for old, new in family.same.items():
        read = getattr(config_class.from_dict(dict(raw)), new)
        if raw.get(old) is not None and raw[old] != read:
            raise ValueError(f"has {old} {raw[old]!r} and {new} {read!r} in config.json: which?")


def _declared(config_class: type) -> set[str]:
    """Keys that a config class of transformers declares, and their other names."""
    names = set(config_class.attribute_map) | {"model_type"}  # type: ignore[attr-defined]
    for base in config_class.__mro__:
        names |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return names - {"self", "args", "kwargs"}


def _check_values(raw: Mapping[str, Any]) -> None:
    """Types and ranges of the keys that are there; transformers knows what the others are."""
    for names, (fits, expected) in _VALUES.items():
        for name in names:
            if name in raw and not fits(raw[name]):
                raise ValueError(f"has {name} {raw[name]!r} in config.json, expected {expected}")
    for of_width, of_heads in (("hidden_size", "num_attention_heads"), ("n_embd", "n_head")):
        width, heads = raw.get(of_width), raw.get(of_heads)
        if width and heads and not raw.get("head_dim") and width % heads:
            raise ValueError(
                f"has {of_width} {width} in config.json, which is no multiple of {of_heads} {heads}"
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
    for old, new in _ROTARY_NAMES:
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
