"""An autoencoder against the clusters of a run: planted ones, resumption, refusals (ADR 102)."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_autoencoder import (
    CONTEXT,
    NUM_CLUSTERS,
    NUM_FEATURES,
    NUM_PLANTED,
    NUM_SEQUENCES,
    NUM_TOKENS,
    Planted,
    encoded,
    put_autoencoder,
    vectors,
)

from spectro.autoencoders.config import EncodeConfig, MatchConfig, ReadingModelConfig
from spectro.autoencoders.read import read_autoencoder
from spectro.formats.encodings import FOLDER, shard_name
from spectro.formats.object_kinds import kind_of
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer
from spectro.storage.checksummed_arrays import read_arrays
from spectro.storage.store import Store
from spectro.views.autoencoder import encode as encoding_module
from spectro.views.autoencoder.encode import encode
from spectro.views.autoencoder.match import match_clusters
from spectro.views.autoencoder.source import source_of
from spectro.views.autoencoder.verification import check_encoding
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary
from spectro.work.stage import PartContents

Job = Callable[..., int]


def test_planted_clusters_are_matched_and_random_ones_are_not(
    copied: Planted, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(copied.run), str(copied.sae), "model.device=cpu", "encode.num_cells=8")
    assert job("sae", *arguments) == 0
    out = capsys.readouterr().out
    assert f"{NUM_PLANTED} of {NUM_CLUSTERS} clusters have a feature with F1 >= 0.5" in out
    assert f"{NUM_PLANTED} of them beyond their y" in out
    assert job("sae", *arguments, "format=json") == 0
    found = json.loads(capsys.readouterr().out)
    best = [row["features"][0] if row["features"] else None for row in found["clusters"]]
    assert best[:NUM_PLANTED] == list(range(NUM_PLANTED))
    f1 = np.array([row["f1"][0] for row in found["clusters"]])
    assert (f1[:NUM_PLANTED] > 0.5).all()
    assert (f1[NUM_PLANTED:] < 0.4).all()
    curves = found["curves"]
    at = curves["thresholds"].index(0.5)
    assert curves["clusters"][at] == NUM_PLANTED / NUM_CLUSTERS
    assert curves["null"][at] < 0.05
    assert curves["y"][at] < 0.1
    assert curves["control"][at] == 0  # its clusters are others
    assert found["num_features_matched"] == NUM_PLANTED


def test_what_is_stored_is_what_the_autoencoder_gives(copied: Planted) -> None:
    """Features of every token against transformers' vectors; sums of reconstruction."""
    found = encoded(copied)
    dense = np.zeros((NUM_TOKENS, NUM_FEATURES), np.float32)
    first = 0
    for shard in range(RunView(str(copied.run)).num_shards):
        arrays = read_arrays(found.folder, shard_name(shard))
        assert arrays["is_read"].all()
        row = np.repeat(np.arange(first, first + arrays["count"].size), arrays["count"])
        dense[row, arrays["index"]] = arrays["value"]
        first += arrays["count"].size
    assert first == NUM_TOKENS
    np.testing.assert_allclose(dense, copied.f_NF, atol=1e-3)
    assert {kind_of(name) for name in Store(str(copied.run)).list(FOLDER)} == {"encodings"}
    view = RunView(str(copied.run))
    match = match_clusters(view, found, MatchConfig())
    autoencoder = read_autoencoder(str(copied.sae))[0].autoencoder
    x_ND = torch.from_numpy(copied.x_ND)
    error = x_ND - autoencoder.decode(torch.from_numpy(copied.f_NF), x_ND)
    fvu = error.square().sum() / (x_ND - x_ND.mean(dim=0)).square().sum()
    assert match.content["fvu"] == pytest.approx(float(fvu), rel=1e-3)
    assert match.content["l0"] == pytest.approx((copied.f_NF > 0).sum() / NUM_TOKENS)
    assert match.content["num_read"] == NUM_TOKENS
    names = {kind_of(f"clusters/{n}") for n in view.store.child("clusters").list()}
    assert names == {"clusters", "feature_matches"}


def test_a_stopped_encoding_goes_on_where_it_was(
    copied: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoded(dataclasses.replace(copied, run=_copy(copied, "whole")))
    put, done = encoding_module.put_arrays, []

    def stop(store: Store, name: str, arrays: object) -> None:
        if name.startswith("shard") and len(done) == 2:
            raise KeyboardInterrupt
        done.append(name)
        put(store, name, arrays)

    monkeypatch.setattr(encoding_module, "put_arrays", stop)
    with pytest.raises(KeyboardInterrupt):
        encoded(copied)
    assert len(done) == 2  # the cells, and one shard
    monkeypatch.setattr(encoding_module, "put_arrays", put)
    again = encoded(copied)
    monkeypatch.setattr(encoding_module, "put_arrays", stop)  # nothing is put any more
    assert encoded(copied).key == again.key
    for name in whole.folder.list():
        assert whole.folder.read(name) == again.folder.read(name), name


def _copy(made: Planted, name: str) -> Path:
    target = made.run.parent / name
    shutil.copytree(made.run, target)
    return target


def test_context_and_target_are_different_encodings(copied: Planted) -> None:
    first = encoded(copied)
    config = EncodeConfig(num_cells=8, num_fitted=512, read_at="context")
    with pytest.raises(ValueError, match="of the variance"):
        encoded(copied, config=dataclasses.replace(config, num_cells=9), hook="layers.0.mlp")
    other = encoded(copied, config=config)
    assert first.key != other.key
    there = {name.split("/")[1] for name in Store(str(copied.run)).list(FOLDER)}
    assert there == {first.key, other.key}


def test_a_model_of_the_same_tokenizer_reads_the_same_ids(copied: Planted, tmp_path: Path) -> None:
    view = RunView(str(copied.run))
    ids_ST1 = view.sequences(np.arange(NUM_SEQUENCES))[0]
    x_ND = vectors("attention-only", ids_ST1, 1)[:, 1:].flatten(0, 1)
    made = put_autoencoder(tmp_path / "sae", x_ND, "attention-only", "layers.0")
    with pytest.raises(ValueError, match="is of the model 'attention-only', the run's model is"):
        encoded(copied, tmp_path / "sae")
    reading = ReadingModelConfig(name_or_path="attention-only", device="cpu")
    config = EncodeConfig(num_cells=8, num_fitted=512)
    source = source_of(str(tmp_path / "sae"), ModelConfig(), reading, config)
    arrays = read_arrays(encode(view, source).folder, shard_name(0))
    own = made.features(x_ND)[: arrays["count"].size].numpy()
    np.testing.assert_array_equal(arrays["count"], (own > 0).sum(axis=1))
    np.testing.assert_allclose(arrays["value"], own[own > 0], rtol=1e-3, atol=1e-3)


def test_a_model_of_another_tokenizer_reads_the_same_text(
    copied: Planted, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Its tokens are bytes: a row is read at the last byte of y, within its 32 positions."""
    view = RunView(str(copied.run))
    name = str(tiny_model_dir)
    x_ND = vectors(name, np.random.default_rng(0).integers(0, 256, (64, 32)), 1).flatten(0, 1)
    made = put_autoencoder(tmp_path / "sae", x_ND, name, "layers.0")
    reading = ReadingModelConfig(name_or_path=name, device="cpu")
    config = EncodeConfig(num_cells=8, num_fitted=512)
    source = source_of(str(tmp_path / "sae"), ModelConfig(), reading, config, accept_mismatch=True)
    found = encode(view, source)
    arrays = read_arrays(found.folder, shard_name(0))
    pieces = vocabulary(ModelConfig(), 2048).pieces
    row = view.sequences(np.array([0]))[0][0]
    text = b"".join(pieces[token] for token in row)
    ends = np.cumsum([len(pieces[token]) for token in row])[1:]
    is_read = arrays["is_read"][:CONTEXT]
    np.testing.assert_array_equal(is_read, ends <= 32)
    ids = load_tokenizer(ModelConfig(name_or_path=name))(text[:32].decode())["input_ids"]
    assert len(ids) == 32  # one byte each
    x_UD = vectors(name, np.array([ids]), 1)[0]
    f_UF = made.features(x_UD).numpy()[ends[is_read] - 1]
    np.testing.assert_array_equal(arrays["count"][: is_read.sum()], (f_UF > 0).sum(axis=1))


def test_damaged_features_are_found(copied: Planted) -> None:
    found = encoded(copied)
    name = shard_name(0)
    data = bytearray(found.folder.read(name))
    contents = PartContents(root=found.folder, store=found.folder, names=set())
    check_encoding(contents, name, bytes(data))
    data[-1] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        check_encoding(contents, name, bytes(data))


def test_what_does_not_belong_together_is_refused(copied: Planted, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of the variance"):
        encoded(copied, hook="blocks.2.hook_attn_out", config=EncodeConfig(num_fitted=300))
    with pytest.raises(ValueError, match="layers 0 to 3"):
        encoded(copied, hook="blocks.4.hook_resid_post")
    x_ND = torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    put_autoencoder(tmp_path / "small", x_ND, "embedded", "layers.2")
    with pytest.raises(ValueError, match="reads vectors of 64, found 128 there"):
        encoded(copied, tmp_path / "small")
    cfg = json.loads((copied.sae / "cfg.json").read_text())
    other = tmp_path / "weights"
    shutil.copytree(copied.sae, other)
    cfg["metadata"]["model_weights_sha256"] = "0" * 64
    (other / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(ValueError, match="was trained on weights 0000"):
        encoded(copied, other)
    cfg["metadata"]["model_from_pretrained_kwargs"] = {"revision": "step1000"}
    (other / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(ValueError, match="is of revision 'step1000'"):
        encoded(copied, other)
    cfg["metadata"]["hook_name"] = None
    (other / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(ValueError, match="do not say where it reads"):
        encoded(copied, other)


def test_a_run_without_clusters_is_refused_before_anything_is_encoded(
    copied: Planted, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied.run / "clusters")
    assert job("sae", str(copied.run), str(copied.sae)) == 2
    assert "has no clusters yet" in capsys.readouterr().err
    assert not (copied.run / FOLDER).exists()
