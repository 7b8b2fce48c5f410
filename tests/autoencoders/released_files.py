"""Autoencoders in the files of each library, with what they must compute, written out slowly.

`VARIANTS` has one function per variant: it writes a folder as the library does and returns the
reference: activations [n, D] → (features [n, F], reconstruction [n, D]) in float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

Array = NDArray[np.float64]
Reference = Callable[[Array], tuple[Array, Array]]
D, F, K = 6, 12, 3


def weights(seed: int = 0, size: int = D) -> dict[str, Array]:
    """Random weights by plain names; float32 numbers."""
    rng = np.random.default_rng(seed)

    def of(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    return {
        "enc": of(size, F), "dec": of(F, size), "b_enc": 0.3 * of(F), "b_dec": 0.5 * of(size),
        "threshold": 0.5 + 0.2 * np.abs(of(F)), "gate": 0.2 * of(F), "r": 0.3 * of(F),
    }  # fmt: skip


def relu(a: Array) -> Array:
    return np.maximum(a, 0.0)


def top_k(a: Array, k: int) -> Array:
    """All but the k largest of each row at zero."""
    out = np.zeros_like(a)
    for row, values in enumerate(a):
        for place in sorted(range(len(values)), key=lambda i: -values[i])[:k]:
            out[row, place] = values[place]
    return out


def tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.array(array, np.float32, order="C"))


def put_safetensors(folder: Path, name: str, arrays: dict[str, Any], cfg: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor(value) for key, value in arrays.items()}, folder / name)
    if cfg is not None:
        (folder / "cfg.json").write_text(json.dumps(cfg))


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


VARIANTS: dict[str, Callable[[Path], Reference]] = {
    each.__name__: each
    for each in (
        saelens_standard, saelens_no_shift, saelens_topk, saelens_topk_rescaled, saelens_jumprelu,
        saelens_gated, saelens_layer_norm, saelens_constant_norm, saelens_old_topk, saelens_oldest,
        dictionary_standard, dictionary_new, dictionary_gated, dictionary_top_k,
        dictionary_batch_top_k, dictionary_matryoshka, dictionary_jumprelu, sparsify_topk,
        sparsify_groupmax, gemma_scope,
    )
}  # fmt: skip
