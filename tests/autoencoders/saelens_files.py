"""Autoencoders in the files of SAELens, each with what it must compute, written out slowly.

A function writes a folder as the library does and returns the reference: activations [n, D] →
(features [n, F], reconstruction [n, D]) in float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.autoencoders.made_weights import (
    Array,
    D,
    F,
    K,
    Reference,
    put_safetensors,
    relu,
    top_k,
    weights,
)


def saelens_cfg(architecture: str, **more: Any) -> dict[str, Any]:
    """cfg.json of SAELens 6."""
    cfg: dict[str, Any] = {
        "d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12", "sae_lens_training_version": "6.54.12",
            "model_name": "pythia-70m-deduped", "hook_name": "blocks.1.hook_resid_post",
            "hook_head_index": None, "prepend_bos": True,
        },
        "architecture": architecture,
    }  # fmt: skip
    return cfg | more


def saelens_arrays(w: dict[str, Array], *names: str) -> dict[str, Array]:
    own = {"W_enc": w["enc"], "W_dec": w["dec"], "b_dec": w["b_dec"], "b_enc": w["b_enc"]}
    own |= {"threshold": w["threshold"], "b_gate": w["gate"], "b_mag": w["b_enc"], "r_mag": w["r"]}
    return {name: own[name] for name in ("W_enc", "W_dec", "b_dec", *names)}


def saelens_standard(folder: Path) -> Reference:
    w = weights()
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"),
                    saelens_cfg("standard"))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"])
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def saelens_no_shift(folder: Path) -> Reference:
    w = weights(1)
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"),
                    saelens_cfg("standard", apply_b_dec_to_input=False))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu(x @ w["enc"] + w["b_enc"])
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def saelens_topk(folder: Path) -> Reference:
    w = weights(2)
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"),
                    saelens_cfg("topk", k=K, rescale_acts_by_decoder_norm=False))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu(top_k((x - w["b_dec"]) @ w["enc"] + w["b_enc"], K))
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def saelens_topk_rescaled(folder: Path) -> Reference:
    w = weights(3)
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"),
                    saelens_cfg("topk", k=K, rescale_acts_by_decoder_norm=True))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        norm = np.linalg.norm(w["dec"], axis=1)
        f = relu(top_k(((x - w["b_dec"]) @ w["enc"] + w["b_enc"]) * norm, K))
        return f, (f / norm) @ w["dec"] + w["b_dec"]

    return reference


def saelens_jumprelu(folder: Path) -> Reference:
    w = weights(4)
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc", "threshold"),
                    saelens_cfg("jumprelu"))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        pre = (x - w["b_dec"]) @ w["enc"] + w["b_enc"]
        f = np.where(pre > w["threshold"], relu(pre), 0.0)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def saelens_gated(folder: Path) -> Reference:
    w = weights(5)
    put_safetensors(folder, "sae_weights.safetensors",
                    saelens_arrays(w, "b_gate", "b_mag", "r_mag"),
                    saelens_cfg("gated"))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        u = x - w["b_dec"]
        f = (u @ w["enc"] + w["gate"] > 0) * relu(u @ (w["enc"] * np.exp(w["r"])) + w["b_enc"])
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def saelens_layer_norm(folder: Path) -> Reference:
    w = weights(6)
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"),
                    saelens_cfg("standard", normalize_activations="layer_norm"))  # fmt: skip

    def reference(x: Array) -> tuple[Array, Array]:
        mean = x.mean(axis=1, keepdims=True)
        sd = (x - mean).std(axis=1, ddof=1, keepdims=True)
        f = relu(((x - mean) / (sd + 1e-5) - w["b_dec"]) @ w["enc"] + w["b_enc"])
        return f, (f @ w["dec"] + w["b_dec"]) * sd + mean

    return reference


def saelens_constant_norm(folder: Path) -> Reference:
    w = weights(7)
    cfg = saelens_cfg("standard", normalize_activations="constant_norm_rescale")
    put_safetensors(folder, "sae_weights.safetensors", saelens_arrays(w, "b_enc"), cfg)

    def reference(x: Array) -> tuple[Array, Array]:
        scale = np.sqrt(D) / np.linalg.norm(x, axis=1, keepdims=True)
        f = relu((x * scale - w["b_dec"]) @ w["enc"] + w["b_enc"])
        return f, (f @ w["dec"] + w["b_dec"]) / scale

    return reference


def old_saelens_cfg(**more: Any) -> dict[str, Any]:
    """cfg.json of SAELens 3."""
    cfg: dict[str, Any] = {
        "architecture": "standard", "d_in": D, "d_sae": F, "activation_fn_str": "relu",
        "apply_b_dec_to_input": True, "finetuning_scaling_factor": False, "context_size": 128,
        "model_name": "pythia-70m-deduped", "hook_name": "blocks.1.hook_resid_post",
        "hook_layer": 1, "hook_head_index": None, "prepend_bos": False, "dataset_path": "pile",
        "dataset_trust_remote_code": True, "normalize_activations": "none",
        "dtype": "torch.float32", "device": "cuda", "sae_lens_training_version": "3.20.0",
        "activation_fn_kwargs": {}, "neuronpedia_id": None,
        "model_from_pretrained_kwargs": {"revision": "step143000"},
    }  # fmt: skip
    return cfg | more


def saelens_old_topk(folder: Path) -> Reference:
    """Version 4: TopK is an activation function with arguments."""
    reference = saelens_topk(folder)
    cfg = old_saelens_cfg(activation_fn_str="topk", activation_fn_kwargs={"k": K})
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return reference


def saelens_oldest(folder: Path) -> Reference:
    """Before version 3: the settings of the training beside others, defaults left out, scaling."""
    w = weights(8)
    arrays = saelens_arrays(w, "b_enc") | {"scaling_factor": np.full(F, 1.5)}
    cfg = {
        "model_name": "pythia-70m-deduped", "hook_point": "blocks.1.hook_mlp_out", "d_in": D,
        "hook_point_layer": 1, "hook_point_head_index": None, "d_sae": F, "l1_coefficient": 5e-5,
        "lr": 4e-4, "train_batch_size": 4096, "total_training_tokens": 10, "wandb_project": "x",
        "normalize_activations": True, "dtype": "torch.float32",
    }  # fmt: skip
    put_safetensors(folder, "sae_weights.safetensors", arrays, cfg)

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"])
        return f, (1.5 * f) @ w["dec"] + w["b_dec"]

    return reference


WRITERS = (
    saelens_standard,
    saelens_no_shift,
    saelens_topk,
    saelens_topk_rescaled,
    saelens_jumprelu,
    saelens_gated,
    saelens_layer_norm,
    saelens_constant_norm,
    saelens_old_topk,
    saelens_oldest,
)
