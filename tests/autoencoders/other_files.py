"""Autoencoders in files of dictionary_learning, sparsify and Gemma Scope, each with what it must
compute, written out slowly.

A function writes a folder as the library does and returns the reference: activations [n, D] →
(features [n, F], reconstruction [n, D]) in float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.autoencoders.made_weights import (
    Array,
    D,
    F,
    K,
    Reference,
    put_safetensors,
    relu,
    tensor,
    top_k,
    weights,
)


def put_ae(folder: Path, arrays: dict[str, Any], dict_class: str, **trainer: Any) -> None:
    """ae.pt and config.json of dictionary_learning."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"k": torch.tensor(K, dtype=torch.int), "group_sizes": torch.tensor([4, 8])}
    state = {key: whole.get(key, tensor(value)) for key, value in arrays.items()}
    torch.save(state, folder / "ae.pt")
    own = {
        "dict_class": dict_class, "trainer_class": "Trainer", "activation_dim": D, "dict_size": F,
        "layer": 1, "lm_name": "EleutherAI/pythia-70m-deduped",
        "submodule_name": "resid_post_layer_1", **trainer,
    }  # fmt: skip
    config = {"trainer": own, "buffer": {"ctx_len": 128}}
    (folder / "config.json").write_text(json.dumps(config))


def linear(w: dict[str, Array]) -> dict[str, Array]:
    return {"encoder.weight": w["enc"].T, "encoder.bias": w["b_enc"], "decoder.weight": w["dec"].T}


def dictionary_standard(folder: Path) -> Reference:
    """Decoder columns are brought to norm 1 on loading, as its library does by default."""
    w = weights(9)
    put_ae(folder, linear(w) | {"bias": w["b_dec"]}, "AutoEncoder")
    norm = np.linalg.norm(w["dec"], axis=1)

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu(((x - w["b_dec"]) @ w["enc"] + w["b_enc"]) * norm)
        return f, (f / norm) @ w["dec"] + w["b_dec"]

    return reference


def dictionary_new(folder: Path) -> Reference:
    w = weights(10)
    put_ae(folder, linear(w) | {"decoder.bias": w["b_dec"]}, "AutoEncoderNew")

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu(x @ w["enc"] + w["b_enc"])
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def dictionary_gated(folder: Path) -> Reference:
    w = weights(11)
    arrays = {
        "encoder.weight": w["enc"].T, "decoder.weight": w["dec"].T, "decoder_bias": w["b_dec"],
        "r_mag": w["r"], "gate_bias": w["gate"], "mag_bias": w["b_enc"],
    }  # fmt: skip
    put_ae(folder, arrays, "GatedAutoEncoder")

    def reference(x: Array) -> tuple[Array, Array]:
        u = (x - w["b_dec"]) @ w["enc"]
        f = (u + w["gate"] > 0) * relu(np.exp(w["r"]) * u + w["b_enc"])
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def dictionary_top_k(folder: Path) -> Reference:
    """Its threshold is there and not used: each token has its k largest."""
    w = weights(12)
    arrays = linear(w) | {"b_dec": w["b_dec"], "k": K, "threshold": 0.9}
    put_ae(folder, arrays, "AutoEncoderTopK", k=K)

    def reference(x: Array) -> tuple[Array, Array]:
        f = top_k(relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"]), K)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def dictionary_batch_top_k(folder: Path) -> Reference:
    w = weights(13)
    arrays = linear(w) | {"b_dec": w["b_dec"], "k": K, "threshold": 0.75}
    put_ae(folder, arrays, "BatchTopKSAE", k=K)

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"])
        f = np.where(f > 0.75, f, 0.0)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def own_names(w: dict[str, Array]) -> dict[str, Array]:
    return {"W_enc": w["enc"], "W_dec": w["dec"], "b_enc": w["b_enc"], "b_dec": w["b_dec"]}


def dictionary_matryoshka(folder: Path) -> Reference:
    w = weights(14)
    arrays = own_names(w) | {"k": K, "threshold": 0.75, "group_sizes": [4, 8]}
    put_ae(folder, arrays, "MatryoshkaBatchTopKSAE", k=K)

    def reference(x: Array) -> tuple[Array, Array]:
        f = relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"])
        f = np.where(f > 0.75, f, 0.0)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def dictionary_jumprelu(folder: Path) -> Reference:
    w = weights(15)
    put_ae(folder, own_names(w) | {"threshold": w["threshold"]}, "JumpReluAutoEncoder")

    def reference(x: Array) -> tuple[Array, Array]:
        pre = x @ w["enc"] + w["b_enc"]
        f = np.where(pre > w["threshold"], relu(pre), 0.0)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def sparsify_cfg(**more: Any) -> dict[str, Any]:
    """cfg.json of sparsify."""
    cfg: dict[str, Any] = {
        "activation": "topk", "expansion_factor": 2, "normalize_decoder": True, "num_latents": 0,
        "k": K, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D,
    }  # fmt: skip
    return cfg | more


def sparsify_arrays(w: dict[str, Array]) -> dict[str, Array]:
    return {
        "encoder.weight": w["enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["dec"],
        "b_dec": w["b_dec"],
    }  # fmt: skip


def sparsify_topk(folder: Path) -> Reference:
    w = weights(16)
    put_safetensors(folder, "sae.safetensors", sparsify_arrays(w), sparsify_cfg())

    def reference(x: Array) -> tuple[Array, Array]:
        f = top_k(relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"]), K)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def sparsify_groupmax(folder: Path) -> Reference:
    w = weights(17)
    cfg = sparsify_cfg(activation="groupmax")
    put_safetensors(folder, "sae.safetensors", sparsify_arrays(w), cfg)

    def reference(x: Array) -> tuple[Array, Array]:
        pre = relu((x - w["b_dec"]) @ w["enc"] + w["b_enc"])
        f = np.concatenate([top_k(part, 1) for part in np.split(pre, K, axis=1)], axis=1)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


def gemma_scope(folder: Path) -> Reference:
    w = weights(18)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = own_names(w) | {"threshold": w["threshold"]}
    np.savez(folder / "params.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})  # type: ignore[arg-type]

    def reference(x: Array) -> tuple[Array, Array]:
        pre = x @ w["enc"] + w["b_enc"]
        f = np.where(pre > w["threshold"], relu(pre), 0.0)
        return f, f @ w["dec"] + w["b_dec"]

    return reference


WRITERS = (
    dictionary_standard,
    dictionary_new,
    dictionary_gated,
    dictionary_top_k,
    dictionary_batch_top_k,
    dictionary_matryoshka,
    dictionary_jumprelu,
    sparsify_topk,
    sparsify_groupmax,
    gemma_scope,
)
