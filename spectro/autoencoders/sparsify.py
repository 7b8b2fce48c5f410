"""sparsify (EleutherAI): <hookpoint>/cfg.json, sae.safetensors; Gemma Scope: params of one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.released import (
    Released,
    Tensors,
    float_of,
    require_k,
    require_keys,
    require_tensors,
)

KEYS = (
    "activation", "d_in", "expansion_factor", "k", "multi_topk", "normalize_decoder", "num_latents",
    "signed", "skip_connection", "transcode",
)  # fmt: skip
SHAPES = {"encoder.weight": "FD", "encoder.bias": "F", "W_dec": "FD", "b_dec": "D"}
GEMMA = {"w_enc": "DF", "w_dec": "FD", "b_enc": "F", "b_dec": "D", "threshold": "F"}


def read_sparsify(cfg: Mapping[str, Any], tensors: Tensors, hook: str) -> Released:
    """An autoencoder of sparsify.

    Args:
        cfg: its cfg.json.
        tensors: of sae.safetensors.
        hook: name of its folder, which is the path of the module whose output it reads.

    Raises ValueError, in one line, for a transcoder, and for a setting or a tensor that is not
    known.
    """
    require_keys(cfg, KEYS, "cfg.json of sparsify")
    if cfg.get("transcode") or cfg.get("skip_connection"):
        raise ValueError(
            "it is a transcoder of sparsify (from the input of a module to its output): expected "
            "an autoencoder"
        )
    if cfg.get("signed"):
        raise ValueError("its features are signed, which is not supported: expected signed false")
    sizes = require_tensors(tensors, SHAPES, "sparse coder of sparsify")
    stated = cfg.get("num_latents") or int(cfg["d_in"]) * int(cfg.get("expansion_factor", 32))
    if (cfg["d_in"], stated) != (sizes["D"], sizes["F"]):
        raise ValueError(
            f"cfg.json says d_in = {cfg['d_in']} and {stated} latents, its tensors have "
            f"{sizes['D']} and {sizes['F']}: are the two files of different autoencoders?"
        )
    activation = cfg.get("activation", "topk")
    if activation not in (ActivationKind.TOP_K, ActivationKind.GROUP_MAX):
        raise ValueError(f"activation {activation!r} of sparsify is not read")
    k = require_k(cfg.get("k"), sizes["F"], "cfg.json of sparsify")
    if activation == ActivationKind.GROUP_MAX and sizes["F"] % k:
        raise ValueError(f"groupmax of sparsify: {sizes['F']} latents are no {k} equal groups")
    b_dec_D = float_of(tensors["b_dec"])
    return Released(
        autoencoder=Autoencoder(
            w_enc_DF=float_of(tensors["encoder.weight"].T),
            b_enc_F=float_of(tensors["encoder.bias"]),
            w_dec_FD=float_of(tensors["W_dec"]),
            b_dec_D=b_dec_D,
            shift_D=b_dec_D,
            kind=ActivationKind(activation),
            k=k,
        ),
        layout="sparsify",
        hook=hook,
    )


def read_gemma_scope(tensors: Tensors) -> Released:
    """An autoencoder of Gemma Scope, of which the file says neither model nor hook.

    Raises ValueError, in one line, for other tensors.
    """
    found = {name.lower(): tensor for name, tensor in tensors.items()}
    require_tensors(found, GEMMA, "autoencoder of Gemma Scope")
    t = {name: float_of(tensor) for name, tensor in found.items()}
    return Released(
        autoencoder=Autoencoder(
            w_enc_DF=t["w_enc"],
            b_enc_F=t["b_enc"],
            w_dec_FD=t["w_dec"],
            b_dec_D=t["b_dec"],
            shift_D=torch.zeros_like(t["b_dec"]),
            kind=ActivationKind.JUMP_RELU,
            threshold_F=t["threshold"],
        ),
        layout="Gemma Scope",
        prepend_bos=True,
    )
