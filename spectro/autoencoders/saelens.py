"""SAELens folders: cfg.json, sae_weights.safetensors, of version 6 and before (flat, with other
names and defaults)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder, InputNorm
from spectro.autoencoders.released import (
    Released,
    Tensors,
    float_of,
    require_k,
    require_keys,
    require_tensors,
)

COMMON = {"W_enc": "DF", "W_dec": "FD", "b_dec": "D"}
SHAPES = {
    "standard": {**COMMON, "b_enc": "F"},
    "topk": {**COMMON, "b_enc": "F"},
    "jumprelu": {**COMMON, "b_enc": "F", "threshold": "F"},
    "gated": {**COMMON, "b_gate": "F", "b_mag": "F", "r_mag": "F"},
}
"""Tensors of each architecture; batchtopk and matryoshka are saved as jumprelu."""
KINDS = {
    "standard": ActivationKind.RELU,
    "topk": ActivationKind.TOP_K,
    "jumprelu": ActivationKind.JUMP_RELU,
    "gated": ActivationKind.GATED,
}
KEYS = (
    "architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input",
    "normalize_activations", "reshape_activations", "metadata", "k", "rescale_acts_by_decoder_norm",
)  # fmt: skip
OLD_KEYS = (
    *KEYS, "activation_fn", "activation_fn_str", "activation_fn_kwargs", "context_size",
    "dataset_path", "dataset_trust_remote_code", "finetuning_scaling_factor", "hook_head_index",
    "hook_layer", "hook_name", "hook_point", "hook_point_head_index", "hook_point_layer",
    "model_from_pretrained_kwargs", "model_name", "neuronpedia_id", "prepend_bos",
    "sae_lens_training_version", "sae_lens_version", "seqpos_slice", "model_kwargs",
)  # fmt: skip
"""Before version 6, without the settings of training."""
OLD_TRAINING = (
    "adam", "act_store", "autocast", "b_dec_init", "cached_activations", "checkpoint", "compile",
    "dead_feature", "decoder_", "eval_", "expansion_factor", "feature_sampling", "finetuning_",
    "from_pretrained_path", "hook_eval", "init_encoder", "is_dataset", "l0_", "l1_", "llm_", "log_",
    "lp_norm", "lr", "model_class", "mse_loss", "n_", "noise_scale", "normalize_sae_decoder",
    "resume", "run_name", "sae_compilation", "scale_sparsity", "seed", "sparsity_", "store_batch",
    "streaming", "tokens_per", "total_training", "train_batch", "training_tokens", "use_",
    "verbose", "wandb_", "d_head", "ghost_", "prefetch", "exclude_special", "entity",
)  # fmt: skip
"""Beginnings of settings of training that files before version 6 have besides."""
UNFOLDED = "expected_average_only_in"
"""A norm of training that does nothing at inference."""


def read_saelens(cfg: Mapping[str, Any], tensors: Tensors) -> Released:
    """An autoencoder from its cfg.json and its tensors.

    Raises ValueError, in one line, for an architecture, a setting or a tensor that is not known.
    """
    own = _of_version_6(cfg)
    architecture = str(own.get("architecture", "standard"))
    if architecture not in SHAPES:
        raise ValueError(
            f"architecture {architecture!r} of SAELens is not read; known: {', '.join(SHAPES)}"
        )
    found = _without_scaling(_threshold_of_log(tensors))
    what = f"{architecture} autoencoder of SAELens"
    sizes = require_tensors(found, SHAPES[architecture], what)
    for key, letter in (("d_in", "D"), ("d_sae", "F")):
        if own.get(key, sizes[letter]) != sizes[letter]:
            raise ValueError(
                f"cfg.json says {key} = {own[key]}, its tensors have {sizes[letter]}: are the two "
                "files of different autoencoders?"
            )
    metadata = dict(own.get("metadata") or {})
    of_model = dict(metadata.get("model_from_pretrained_kwargs") or {})
    if metadata.get("hook_head_index") is not None:
        raise ValueError("it reads one attention head (hook_head_index), which is not supported")
    return Released(
        autoencoder=_autoencoder(own, architecture, found, sizes["F"], what),
        layout="SAELens",
        hook=metadata.get("hook_name"),
        model=metadata.get("model_name"),
        revision=of_model.get("revision"),
        weights_sha256=metadata.get("model_weights_sha256"),
        prepend_bos=bool(metadata.get("prepend_bos", True)),
        centred=bool(of_model.get("center_writing_weights", False)),
    )


def _of_version_6(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as version 6 writes them; of files before it with their defaults."""
    metadata = cfg.get("metadata")
    version = str((metadata or cfg).get("sae_lens_version") or "0")
    if metadata is not None and int(version.split(".")[0]) >= 6:
        require_keys(cfg, KEYS, "cfg.json of SAELens")
        return dict(cfg)
    known = [key for key in cfg if key.startswith(OLD_TRAINING)]
    require_keys(cfg, (*OLD_KEYS, *known), "cfg.json of SAELens")
    found = {
        {
            "hook_point": "hook_name",
            "hook_point_head_index": "hook_head_index",
            "activation_fn_str": "activation_fn",
        }.get(key, key): value
        for key, value in cfg.items()
    }
    activation = found.get("activation_fn") or "relu"
    if activation not in ("relu", "topk"):
        raise ValueError(f"activation_fn {activation!r} of SAELens is not read; known: relu, topk")
    if activation == "topk":
        found["architecture"] = "topk"
        found["k"] = (found.get("activation_fn_kwargs") or {}).get("k")
    norm = found.get("normalize_activations") or "none"
    found["normalize_activations"] = UNFOLDED if norm is True else norm
    found.setdefault("apply_b_dec_to_input", True)
    found["metadata"] = {key: value for key, value in found.items() if key in OLD_KEYS}
    return found


def _threshold_of_log(tensors: Tensors) -> dict[str, torch.Tensor]:
    found = dict(tensors)
    if "log_threshold" in found:
        found["threshold"] = found.pop("log_threshold").float().exp()
    return found


def _without_scaling(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A scaling of fine-tuning folded into the decoder."""
    scaling = tensors.pop("scaling_factor", None)
    if scaling is not None:
        tensors["W_dec"] = tensors["W_dec"].float() * scaling.float()[:, None]
    return tensors


def _autoencoder(
    own: Mapping[str, Any], architecture: str, found: Tensors, num_features: int, what: str
) -> Autoencoder:
    norm = own.get("normalize_activations") or "none"
    if norm not in (UNFOLDED, *InputNorm):
        raise ValueError(
            f"normalize_activations {norm!r} of SAELens is not read; known: {UNFOLDED}, "
            f"{', '.join(InputNorm)}"
        )
    if (reshape := own.get("reshape_activations") or "none") not in ("none", "hook_z"):
        raise ValueError(f"reshape_activations {reshape!r} of SAELens is not read")
    t = {name: float_of(tensor) for name, tensor in found.items()}
    if own.get("rescale_acts_by_decoder_norm"):  # the same features, with rows of norm 1
        norm_F = t["W_dec"].norm(dim=1)
        t |= {"W_enc": t["W_enc"] * norm_F, "b_enc": t["b_enc"] * norm_F}
        t["W_dec"] = t["W_dec"] / norm_F[:, None]
    shift = t["b_dec"] if own.get("apply_b_dec_to_input") else torch.zeros_like(t["b_dec"])
    return Autoencoder(
        w_enc_DF=t["W_enc"],
        b_enc_F=t["b_mag"] if architecture == "gated" else t["b_enc"],
        w_dec_FD=t["W_dec"],
        b_dec_D=t["b_dec"],
        shift_D=shift,
        kind=KINDS[architecture],
        norm=InputNorm.NONE if norm == UNFOLDED else InputNorm(norm),
        k=require_k(own.get("k"), num_features, what) if architecture == "topk" else 0,
        threshold_F=t.get("threshold"),
        b_gate_F=t.get("b_gate"),
        r_mag_F=t.get("r_mag"),
    )
