"""dictionary_learning: ae.pt (read without unpickling objects) beside config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.released import (
    Released,
    Tensors,
    float_of,
    require_k,
    require_tensors,
)

LINEAR = {"encoder.weight": "FD", "encoder.bias": "F", "decoder.weight": "DF"}
OWN = {"W_enc": "DF", "W_dec": "FD", "b_enc": "F", "b_dec": "D"}
WITH_K = {"k": "", "threshold": ""}
SHAPES = {
    "AutoEncoder": {**LINEAR, "bias": "D"},
    "AutoEncoderNew": {**LINEAR, "decoder.bias": "D"},
    "GatedAutoEncoder": {
        "encoder.weight": "FD", "decoder.weight": "DF", "decoder_bias": "D", "r_mag": "F",
        "gate_bias": "F", "mag_bias": "F",
    },
    "AutoEncoderTopK": {**LINEAR, "b_dec": "D", **WITH_K},
    "BatchTopKSAE": {**LINEAR, "b_dec": "D", **WITH_K},
    "MatryoshkaBatchTopKSAE": {**OWN, **WITH_K, "group_sizes": "G"},
    "JumpReluAutoEncoder": {**OWN, "threshold": "F"},
}  # fmt: skip
"""Tensors of each class, as its library saves them."""
BIASES = {
    "AutoEncoder": "bias",
    "AutoEncoderNew": "decoder.bias",
    "GatedAutoEncoder": "decoder_bias",
}
NOT_SUBTRACTED = ("AutoEncoderNew", "JumpReluAutoEncoder")


def read_dictionary_learning(config: Mapping[str, Any], tensors: Tensors) -> Released:
    """An autoencoder from its config.json and its tensors.

    Raises ValueError, in one line, for a class or a tensor that is not known, and for a threshold
    that was never set.
    """
    trainer = dict(config.get("trainer") or {})
    name = str(trainer.get("dict_class") or _class_of(tensors))
    if name not in SHAPES:
        raise ValueError(
            f"dict_class {name!r} of dictionary_learning is not read; known: {', '.join(SHAPES)}"
        )
    wanted = SHAPES[name]
    if name == "AutoEncoderTopK" and "threshold" not in tensors:  # before it had one
        wanted = {key: letters for key, letters in wanted.items() if key != "threshold"}
    sizes = require_tensors(tensors, wanted, name)
    return Released(
        autoencoder=_autoencoder(name, tensors, sizes["F"]),
        layout="dictionary_learning",
        hook=_hook(trainer),
        model=trainer.get("lm_name"),
    )


def _class_of(tensors: Tensors) -> str:
    """The class whose tensors these are, where config.json does not say."""
    found = [name for name, shapes in SHAPES.items() if shapes.keys() == tensors.keys()]
    if len(found) != 1:
        raise ValueError(
            f"config.json has no dict_class, and its tensors are those of {len(found)} classes: "
            f"add trainer.dict_class, one of {', '.join(SHAPES)}"
        )
    return found[0]


def _hook(trainer: Mapping[str, Any]) -> str | None:
    """Its module, with the layer where the name lacks it."""
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if name and layer is not None and not re.search(r"\d", str(name)):
        return f"{name}_{layer}"
    return name or (None if layer is None else f"resid_post_{layer}")


def _autoencoder(name: str, tensors: Tensors, num_features: int) -> Autoencoder:
    t = {key: float_of(tensor) for key, tensor in tensors.items()}
    linear = "encoder.weight" in t
    w_enc_DF = t["encoder.weight"].T.contiguous() if linear else t["W_enc"]
    w_dec_FD = t["decoder.weight"].T.contiguous() if linear else t["W_dec"]
    b_dec_D = t[BIASES.get(name, "b_dec")]
    bias = {"GatedAutoEncoder": "mag_bias"}.get(name, "encoder.bias" if linear else "b_enc")
    b_enc_F, norm_F = t[bias], w_dec_FD.norm(dim=1)
    if name == "AutoEncoder":  # its library brings decoder columns to norm 1 on loading
        w_enc_DF, b_enc_F, w_dec_FD = (
            w_enc_DF * norm_F,
            b_enc_F * norm_F,
            w_dec_FD / norm_F[:, None],
        )
    kind, k, threshold_F = _sparsity(name, t, num_features)
    return Autoencoder(
        w_enc_DF=w_enc_DF,
        b_enc_F=b_enc_F,
        w_dec_FD=w_dec_FD,
        b_dec_D=b_dec_D,
        shift_D=torch.zeros_like(b_dec_D) if name in NOT_SUBTRACTED else b_dec_D,
        kind=kind,
        k=k,
        threshold_F=threshold_F,
        b_gate_F=t.get("gate_bias"),
        r_mag_F=t.get("r_mag"),
    )


def _sparsity(
    name: str, t: Mapping[str, Tensor], num_features: int
) -> tuple[ActivationKind, int, Tensor | None]:
    """The activation, with its k or its thresholds."""
    if name == "AutoEncoderTopK":
        return ActivationKind.TOP_K, require_k(int(t["k"]), num_features, name), None
    if name == "GatedAutoEncoder":
        return ActivationKind.GATED, 0, None
    if "threshold" not in t:
        return ActivationKind.RELU, 0, None
    threshold = t["threshold"]
    if threshold.dim() == 0 and float(threshold) < 0:
        raise ValueError(
            f"threshold of {name} is {float(threshold):g}, never set: every feature would be "
            "active; it was saved before training had estimated one"
        )
    return ActivationKind.JUMP_RELU, 0, threshold.expand(num_features).contiguous()
