"""Autoencoders saved by SAELens 6, dictionary_learning and sparsify themselves, read by us.

The files that tests/autoencoders writes by hand have the same tensors and settings.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from spectro.autoencoders.read import read_autoencoder
from tests.autoencoders.made_weights import D, F, K
from tests.autoencoders.released_files import VARIANTS

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True)
def keyed() -> None:
    torch.manual_seed(0)


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Random parameters, thresholds above zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.5 if parameter.dim() == 1 else 1.0))
            if "threshold" in name:
                parameter.abs_()
    return module.eval()


def compare(folder: Path, encode: Encode) -> None:
    """Features and reconstruction are the library's own."""
    found = read_autoencoder(str(folder))[0].autoencoder
    x_nD = torch.randn(64, D) * 2
    features, decoded = encode(x_nD)
    assert 0.05 < float((features > 0).float().mean()) < 0.95
    f_nF = found.features(x_nD)
    torch.testing.assert_close(f_nF, features, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.decode(f_nF, x_nD), decoded, atol=1e-4, rtol=1e-4)


def same_files(folder: Path, by_hand: Path, variant: str, settings: str, weights: str) -> None:
    """Names of tensors and of settings are those that the hand-written files have."""
    VARIANTS[variant](by_hand)

    def keys(place: Path) -> tuple[set[str], set[str]]:
        path = place / weights
        if path.suffix == ".pt":
            state = torch.load(path, weights_only=True)
        else:
            state = load_file(path)
        return set(state), set(json.loads((place / settings).read_text()))

    assert keys(folder) == keys(by_hand)


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        ("standard", {}),
        ("standard", {"normalize_activations": "layer_norm"}),
        ("standard", {"normalize_activations": "constant_norm_rescale"}),
        ("standard", {"apply_b_dec_to_input": False}),
        ("topk", {"k": K, "rescale_acts_by_decoder_norm": False}),
        ("topk", {"k": K, "rescale_acts_by_decoder_norm": True}),
        ("jumprelu", {}),
        ("gated", {}),
    ],
)
def test_saelens(architecture: str, more: dict[str, Any], tmp_path: Path) -> None:
    saes = pytest.importorskip("sae_lens.saes", reason="pip install sae-lens==6.54.12")
    names = {"standard": "StandardSAE", "topk": "TopKSAE", "jumprelu": "JumpReLUSAE"}
    name = names.get(architecture, "GatedSAE")
    cfg = getattr(saes, f"{name}Config")(d_in=D, d_sae=F, **more)
    cfg.metadata.hook_name = "blocks.1.hook_resid_post"
    sae = randomised(getattr(saes, name)(cfg))
    sae.save_model(tmp_path / "own")
    compare(tmp_path / "own", lambda x: (sae.encode(x).detach(), sae(x).detach()))
    variant = f"saelens_{architecture}"
    same_files(tmp_path / "own", tmp_path / "hand", variant, "cfg.json", "sae_weights.safetensors")


@pytest.mark.parametrize(
    ("module", "name", "variant"),
    [
        ("dictionary", "AutoEncoder", "standard"),
        ("dictionary", "AutoEncoderNew", "new"),
        ("dictionary", "GatedAutoEncoder", "gated"),
        ("dictionary", "JumpReluAutoEncoder", "jumprelu"),
        ("trainers.top_k", "AutoEncoderTopK", "top_k"),
        ("trainers.batch_top_k", "BatchTopKSAE", "batch_top_k"),
        ("trainers.matryoshka_batch_top_k", "MatryoshkaBatchTopKSAE", "matryoshka"),
    ],
)
def test_dictionary_learning(module: str, name: str, variant: str, tmp_path: Path) -> None:
    reason = "pip install dictionary-learning==0.1.0"
    pytest.importorskip("dictionary_learning", reason=reason)
    kind = getattr(importlib.import_module(f"dictionary_learning.{module}"), name)
    arguments: dict[str, Any] = {"k": K} if "TopK" in name else {}
    if "Matryoshka" in name:
        arguments["group_sizes"] = [4, 8]
    own = randomised(kind(D, F, **arguments))
    if "Batch" in name:
        own.threshold.fill_(0.75)
    VARIANTS[f"dictionary_{variant}"](tmp_path)
    by_hand = set(torch.load(tmp_path / "ae.pt", weights_only=True))
    torch.save(own.state_dict(), tmp_path / "ae.pt")
    assert set(own.state_dict()) == by_hand
    loaded = kind.from_pretrained(str(tmp_path / "ae.pt"))
    compare(tmp_path, lambda x: (loaded.encode(x).detach(), loaded(x).detach()))


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
def test_sparsify(activation: str, tmp_path: Path) -> None:
    sparsify = pytest.importorskip("sparsify", reason="pip install eai-sparsify==1.3.3")
    cfg = sparsify.SparseCoderConfig(activation=activation, expansion_factor=2, k=K)
    own = randomised(sparsify.SparseCoder(D, cfg))
    folder = tmp_path / "layers.1"
    own.save_to_disk(folder)

    def encode(x_nD: Tensor) -> tuple[Tensor, Tensor]:
        values, index, _ = own.encode(x_nD)
        dense = torch.zeros(len(x_nD), F).scatter(-1, index, values.detach())
        return dense, dense @ own.W_dec.detach() + own.b_dec.detach()

    compare(folder, encode)
    by_hand = tmp_path / "hand" / "layers.1"
    same_files(folder, by_hand, f"sparsify_{activation}", "cfg.json", "sae.safetensors")
