"""Released autoencoders as their libraries write them, against slow references (ADR 102)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spectro.autoencoders.hooks import Site, parse_hook
from spectro.autoencoders.read import read_autoencoder
from tests.autoencoders.made_weights import D, F, K
from tests.autoencoders.other_files import (
    dictionary_batch_top_k,
    dictionary_standard,
    gemma_scope,
    put_ae,
    sparsify_cfg,
    sparsify_topk,
)
from tests.autoencoders.released_files import VARIANTS
from tests.autoencoders.saelens_files import (
    old_saelens_cfg,
    saelens_cfg,
    saelens_old_topk,
    saelens_oldest,
    saelens_standard,
    saelens_topk,
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_and_reconstruction_are_those_of_the_library(variant: str, tmp_path: Path) -> None:
    reference = VARIANTS[variant](tmp_path / "layers.1")
    found = read_autoencoder(str(tmp_path / "layers.1"))[0].autoencoder
    x = np.random.default_rng(3).normal(size=(40, D)) * 2
    features, decoded = reference(x)
    assert 0.05 < (features > 0).mean() < 0.9, "the reference must not be trivial"
    x_nD = torch.from_numpy(x).float()
    f_nF = found.features(x_nD)
    np.testing.assert_allclose(f_nF.numpy(), features, atol=2e-5)
    np.testing.assert_allclose(found.decode(f_nF, x_nD).numpy(), decoded, atol=5e-5)


def test_blocks_are_the_rows_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saelens_topk(tmp_path)
    found = read_autoencoder(str(tmp_path))[0].autoencoder
    x_nD = torch.randn(50, D, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("spectro.autoencoders.autoencoder.DENSE_ELEMENTS", 7 * F)
    blocks = list(found.blocks(x_nD))
    assert [rows.stop - rows.start for rows, _ in blocks] == [7] * 7 + [1]
    torch.testing.assert_close(torch.cat([f for _, f in blocks]), found.features(x_nD))


def test_what_the_files_say_of_their_origin(tmp_path: Path) -> None:
    saelens_old_topk(tmp_path / "old")
    found, _ = read_autoencoder(str(tmp_path / "old"))
    assert (found.model, found.revision) == ("pythia-70m-deduped", "step143000")
    assert (found.hook, found.prepend_bos) == ("blocks.1.hook_resid_post", False)
    saelens_oldest(tmp_path / "oldest")
    found, _ = read_autoencoder(str(tmp_path / "oldest"))
    assert (found.hook, found.prepend_bos) == ("blocks.1.hook_mlp_out", True)
    dictionary_standard(tmp_path / "ae")
    found, _ = read_autoencoder(str(tmp_path / "ae"))
    assert (found.model, found.hook) == ("EleutherAI/pythia-70m-deduped", "resid_post_layer_1")
    sparsify_topk(tmp_path / "layers.3.mlp")
    found, _ = read_autoencoder(str(tmp_path / "layers.3.mlp"))
    assert (found.model, found.hook) == (None, "layers.3.mlp")
    gemma_scope(tmp_path / "params")
    found, _ = read_autoencoder(str(tmp_path / "params"))
    assert (found.model, found.hook) == (None, None)


def test_the_digest_is_of_weights_and_settings(tmp_path: Path) -> None:
    saelens_standard(tmp_path)
    first = read_autoencoder(str(tmp_path))[1]
    assert read_autoencoder(str(tmp_path))[1] == first
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(cfg | {"apply_b_dec_to_input": False}))
    assert read_autoencoder(str(tmp_path))[1] != first


def _change_cfg(folder: Path, **more: Any) -> None:
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(cfg | more))


def _change_tensor(folder: Path, name: str, **tensors: Any) -> None:
    found = load_file(folder / name)
    found |= tensors
    save_file({k: v for k, v in found.items() if v is not None}, folder / name)


SAE = "sae_weights.safetensors"


def _without_threshold(folder: Path) -> None:
    dictionary_batch_top_k(folder)
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"threshold": torch.tensor(-1.0)}, folder / "ae.pt")


def _objects(folder: Path) -> None:
    folder.mkdir()
    (folder / "ae.pt").write_bytes(pickle.dumps({"weight": Path("/")}))


def _object_in_torch_file(folder: Path) -> None:
    folder.mkdir()
    torch.save({"model": Path("/")}, folder / "ae.pt")


def _no_class(folder: Path) -> None:
    dictionary_batch_top_k(folder)
    (folder / "config.json").unlink()


BAD = {
    "an unknown setting": (lambda p: (saelens_standard(p), _change_cfg(p, temperature=2)),
                           "unknown setting 'temperature'"),
    "an unknown old setting": (
        lambda p: (saelens_standard(p),
                   (p / "cfg.json").write_text(json.dumps(old_saelens_cfg(jump=1)))),
        "unknown setting 'jump'"),
    "an unknown tensor": (lambda p: (saelens_standard(p),
                                     _change_tensor(p, SAE, b_extra=torch.zeros(2))),
                          "b_extra is unknown"),
    "TopK without k": (lambda p: (saelens_standard(p), _change_cfg(p, architecture="topk")),
                       "k is None"),
    "a missing tensor": (lambda p: (saelens_standard(p), _change_tensor(p, SAE, b_enc=None)),
                         "b_enc is missing"),
    "NaN": (lambda p: (saelens_standard(p),
                       _change_tensor(p, SAE, b_enc=torch.full((F,), float("nan")))),
            "not finite"),
    "another shape": (lambda p: (saelens_standard(p),
                                 _change_tensor(p, SAE, b_dec=torch.zeros(D + 1))),
                      f"b_dec has shape \\[{D + 1}\\], expected \\[{D}\\]"),
    "no features": (
        lambda p: (saelens_standard(p), _change_cfg(p, d_sae=0),
                   _change_tensor(p, SAE, W_enc=torch.zeros(D, 0), W_dec=torch.zeros(0, D),
                                  b_enc=torch.zeros(0))),
        r"has shape \[.*0.*\], expected at least one feature"),
    "settings of another": (lambda p: (saelens_standard(p), _change_cfg(p, d_sae=F + 1)),
                            "of different autoencoders"),
    "an unknown architecture": (lambda p: (saelens_standard(p),
                                           _change_cfg(p, architecture="temporal")),
                                "'temporal' of SAELens is not read"),
    "an unknown norm": (lambda p: (saelens_standard(p),
                                   _change_cfg(p, normalize_activations="covariance_whitening")),
                        "'covariance_whitening'"),
    "a damaged file": (lambda p: (saelens_standard(p), (p / SAE).write_bytes(b"no")),
                       "is damaged"),
    "no settings": (lambda p: (saelens_standard(p), (p / "cfg.json").unlink()), "no cfg.json"),
    "settings that are no JSON": (lambda p: (saelens_standard(p),
                                             (p / "cfg.json").write_text("{")), "no JSON"),
    "settings too deep to read": (lambda p: (saelens_standard(p),
                                              (p / "cfg.json").write_text("[" * 100_000)),
                                  "no JSON"),
    "settings of another form": (lambda p: (saelens_standard(p), _change_cfg(
        p, sae_lens_version="6.0.0", metadata="x")), "not of the form that its library writes"),
    "an empty file": (lambda p: (p.mkdir(), (p / "ae.pt").write_bytes(b"")), "is damaged"),
    "a damaged archive": (lambda p: (p.mkdir(), (p / "params.npz").write_bytes(b"PK\3\4")),
                          "is damaged"),
    "texts for numbers": (lambda p: (p.mkdir(), np.savez(p / "params.npz", W_enc=["a"])),
                          "is damaged"),
    "a pickle": (_objects, "Python objects|is damaged"),
    "objects in a torch file": (_object_in_torch_file, "Python objects, which are not loaded"),
    "a threshold that was never set": (_without_threshold, "never set"),
    "an ambiguous class": (_no_class, "no dict_class"),
    "an unknown class": (lambda p: put_ae(p, {}, "CrossCoder"), "'CrossCoder'"),
    "a transcoder": (lambda p: (sparsify_topk(p), _change_cfg(p, transcode=True)), "transcoder"),
    "an unknown setting of sparsify": (lambda p: (sparsify_topk(p), _change_cfg(p, beta=1)),
                                       "unknown setting 'beta'"),
    "two autoencoders": (lambda p: (sparsify_topk(p), saelens_standard(p)), "expected one of"),
    "an empty folder": (lambda p: p.mkdir(), "found none"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    make(tmp_path / "sae")
    with pytest.raises(ValueError, match=message) as caught:
        read_autoencoder(str(tmp_path / "sae"))
    assert "\n" not in str(caught.value)


def test_a_folder_above_is_pointed_below(tmp_path: Path) -> None:
    saelens_standard(tmp_path / "blocks.1")
    with pytest.raises(ValueError, match=r"below, such as blocks\.1"):
        read_autoencoder(str(tmp_path))
    with pytest.raises(ValueError, match="is no folder"):
        read_autoencoder("owner/name")


@pytest.mark.parametrize(
    ("text", "site", "layer"),
    [
        ("blocks.3.hook_resid_post", Site.RESID_POST, 3),
        ("blocks.0.hook_resid_pre", Site.RESID_PRE, 0),
        ("blocks.11.hook_mlp_out", Site.MLP_OUT, 11),
        ("blocks.2.hook_attn_out", Site.ATTN_OUT, 2),
        ("blocks.2.attn.hook_z", Site.ATTN_Z, 2),
        ("resid_post_layer_3", Site.RESID_POST, 3),
        ("resid_post_4", Site.RESID_POST, 4),
        ("mlp_out_layer2", Site.MLP_OUT, 2),
        ("layers.5", Site.RESID_POST, 5),
        ("layers.5.mlp", Site.MLP_OUT, 5),
        ("gpt_neox.layers.5.attention", Site.ATTN_OUT, 5),
        ("transformer.h.7.attn", Site.ATTN_OUT, 7),
    ],
)
def test_hooks_by_their_names(text: str, site: Site, layer: int) -> None:
    found = parse_hook(text)
    assert (found.site, found.layer) == (site, layer)
    assert parse_hook(found.name) == found


@pytest.mark.parametrize("text", ["blocks.3.hook_resid_mid", "layers.3.mlp.act", "embed", ""])
def test_unknown_hooks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        parse_hook(text)


def test_hand_written_settings_are_of_version_6_and_3() -> None:
    """The keys that the peer test compares with the libraries' own."""
    assert saelens_cfg("topk", k=K)["metadata"]["sae_lens_version"].startswith("6.")
    assert "metadata" not in old_saelens_cfg()
    assert sparsify_cfg()["d_in"] == D
