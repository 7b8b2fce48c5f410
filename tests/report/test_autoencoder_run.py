"""An autoencoder against the clusters of a run: planted features, resumption, refusals (ADR 102).

The run is made up; its ids are read by the embedded model. Half of its clusters are the tokens on
which features of the autoencoder are active, the other half are random.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import made_up_run
import numpy as np
import pytest
import stored_run
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.config import EncodeConfig, MatchConfig, ReadingModelConfig
from spectro.autoencoders.read import read_autoencoder
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.formats.encodings import FOLDER, shard_name
from spectro.formats.object_kinds import kind_of
from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer
from spectro.pretrain.autoencoder import write_saelens
from spectro.pretrain.autoencoder_config import AutoencoderConfig
from spectro.storage.checksummed_arrays import read_arrays
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder import encode as encoding_module
from spectro.views.autoencoder.encode import encode
from spectro.views.autoencoder.match import match_clusters
from spectro.views.autoencoder.source import source_of
from spectro.views.autoencoder.stored import StoredMatch, stored_match
from spectro.views.autoencoder.verification import check_encoding
from spectro.views.figures.clusters import card_data
from spectro.views.map.features import features_json, features_shown
from spectro.views.query.config import Window
from spectro.views.query.lookups import of_cluster, of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary
from spectro.work.stage import PartContents

NUM_SEQUENCES, CONTEXT, NUM_FEATURES, NUM_PLANTED, NUM_CLUSTERS = 60, 32, 48, 12, 24
NUM_TOKENS, PER_FEATURE = NUM_SEQUENCES * CONTEXT, 40
Job = Callable[..., int]


@dataclass(frozen=True)
class Planted:
    """A run and its autoencoder."""

    run: Path
    sae: Path
    x_ND: NDArray[np.float32]
    """Vectors at the targets."""
    f_NF: NDArray[np.float32]
    """Features there."""


def vectors(name: str, ids_ST1: NDArray[np.integer], layer: int) -> torch.Tensor:
    """What the first norm of a layer is given: the residual stream, [S, T + 1, D]."""
    model = load_model(ModelConfig(name_or_path=name, device="cpu"))
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    found: list[torch.Tensor] = []
    layers[layer].input_layernorm.register_forward_hook(lambda _, args, __: found.append(args[0]))
    with torch.no_grad():
        model(torch.from_numpy(ids_ST1.astype(np.int64)))
    return found[0]


def put_autoencoder(folder: Path, x_ND: torch.Tensor, name: str, hook: str) -> Autoencoder:
    """Random directions of whitened vectors, active on the strongest tokens of each; the decoder is
    fitted. In the layout of SAELens, as JumpReLU."""
    rng = torch.Generator().manual_seed(0)
    centred = x_ND - x_ND.mean(dim=0)
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = min(40, x_ND.shape[1])
    white_DK = axes[:kept].T / scale[:kept] * len(x_ND) ** 0.5
    random_KF = torch.randn(kept, NUM_FEATURES, generator=rng)
    w_enc_DF = white_DK @ torch.nn.functional.normalize(random_KF, dim=0)
    pre_NF = centred @ w_enc_DF
    threshold_F = pre_NF.sort(dim=0, descending=True).values[PER_FEATURE]
    f_NF = pre_NF * (pre_NF > threshold_F)
    found = Autoencoder(
        w_enc_DF=w_enc_DF.contiguous(),
        b_enc_F=-(x_ND.mean(dim=0) @ w_enc_DF),
        w_dec_FD=torch.linalg.lstsq(f_NF, centred).solution.contiguous(),
        b_dec_D=x_ND.mean(dim=0),
        shift_D=torch.zeros(x_ND.shape[1]),
        kind=ActivationKind.JUMP_RELU,
        threshold_F=threshold_F,
    )
    config = AutoencoderConfig(out_dir="x", model=ModelConfig(name_or_path=name), hook=hook)
    write_saelens(folder, found, load_model(ModelConfig(name_or_path=name)), config)
    tensors = {
        "W_enc": found.w_enc_DF, "W_dec": found.w_dec_FD, "b_enc": found.b_enc_F,
        "b_dec": found.b_dec_D, "threshold": threshold_F.contiguous(),
    }  # fmt: skip
    save_file(tensors, folder / "sae_weights.safetensors")
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg |= {"architecture": "jumprelu", "apply_b_dec_to_input": False}
    del cfg["k"], cfg["rescale_acts_by_decoder_norm"]
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    pieces = vocabulary(ModelConfig(), 2048).pieces
    what = made_up_run.made(
        num_sequences=NUM_SEQUENCES, context=CONTEXT, num_clusters=NUM_CLUSTERS, vocabulary=pieces
    )
    ascii_ids = np.array([n for n, piece in enumerate(pieces) if piece and max(piece) < 128])
    ids = ascii_ids[what.probe.ids_ST1 % len(ascii_ids)].astype(np.int32)
    what = dataclasses.replace(what, probe=dataclasses.replace(what.probe, ids_ST1=ids))
    x_ND = vectors("embedded", what.probe.ids_ST1, 3)[:, 1:].flatten(0, 1)
    made = put_autoencoder(folder / "sae", x_ND, "embedded", "blocks.2.hook_resid_post")
    f_NF = made.features(x_ND).numpy()
    rng = np.random.default_rng(0)
    label = np.full(NUM_TOKENS, -1)
    for cluster in range(NUM_PLANTED):
        own = np.flatnonzero((f_NF[:, cluster] > 0) & (label < 0))
        label[rng.permutation(own)[: len(own) * 9 // 10]] = cluster
    free = rng.permutation(np.flatnonzero(label < 0))
    for cluster in range(NUM_PLANTED, NUM_CLUSTERS):
        label[free[cluster * 30 : cluster * 30 + 30]] = cluster
    what = dataclasses.replace(what, label_N=label)
    stored_run.write_run(folder / "run", what)
    return Planted(folder / "run", folder / "sae", x_ND.numpy(), f_NF)


@pytest.fixture
def copied(planted: Planted, tmp_path: Path) -> Planted:
    """The same in a folder of the test's own."""
    shutil.copytree(planted.run, tmp_path / "run")
    return dataclasses.replace(planted, run=tmp_path / "run")


def encoded(made: Planted, sae: str | Path | None = None, **reading: object):
    """The run encoded; by default by its planted autoencoder."""
    config = reading.pop("config", EncodeConfig(num_cells=8, num_fitted=512))
    source = source_of(
        str(sae or made.sae), ModelConfig(device="cpu"), ReadingModelConfig(device="cpu"),
        config, **reading,
    )  # fmt: skip
    return encode(RunView(str(made.run)), source)


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


def test_the_picture_and_what_cards_show(
    copied: Planted, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    view = RunView(str(copied.run))
    assert features_shown(stored_match(view)) == {}
    assert features_json(stored_match(view)) is None
    assert job("figure", str(copied.run), "kind=sae", "out=sae.svg") == 2
    assert "has not been matched to an autoencoder" in capsys.readouterr().err
    match_clusters(view, encoded(copied), MatchConfig(num_features=3))
    assert job("figure", str(copied.run), "kind=sae", "out=sae.svg") == 0
    svg = Path("sae.svg").read_text()
    assert "12 of 24 clusters have a feature" in svg.replace("\n", " ")
    columns = features_shown(stored_match(view))
    assert columns["features"].shape == (NUM_CLUSTERS, 5)
    assert columns["features"][:NUM_PLANTED, 0].tolist() == list(range(NUM_PLANTED))
    assert (columns["features"][:, 3:] == -1).all()
    assert (columns["feature_recall"][:NUM_PLANTED, 0] > 0.9).all()
    assert stored_match(view, "resid_post") is not None
    with pytest.raises(ValueError, match="no match with 'mlp', expected one of: features-"):
        stored_match(view, "mlp")


def test_features_are_asked_in_sql(copied: Planted) -> None:
    """Every element of the lists is a row, of all matches; without a match there is no table."""
    view, control = RunView(str(copied.run)), RunView(str(copied.run / "control"))
    with Query(view) as query:
        assert not any("features" in name for name in query.tables)
    encoding = encoded(copied)
    found = match_clusters(view, encoding, MatchConfig())
    more = match_clusters(view, encoding, MatchConfig(num_features=1, max_q=1e-6))
    of_control = match_clusters(control, encoding, MatchConfig(num_features=2))
    assert found.content["num_beyond_y"] > more.content["num_beyond_y"]
    with Query(view) as query:
        rows = query.table("from features").to_pylist()
        features = query.table("from all_features").to_pylist()
        unmatched = query.table(
            "from clusters anti join (from features where f1 >= 0.5) using (cluster_id)"
        )
        num_control = query.table("select count(*) as n from control_features").to_pylist()
        assert query.table("from control_all_features").num_rows == NUM_FEATURES
    expected = [
        {"cluster_id": own["cluster_id"], "place": place + 1, "feature": own["features"][place]}
        | {name: own[name][place] for name in SCORES}
        | {name: own[name] for name in ("null_f1", "q_value", "y_f1", "cell_f1")}
        | of_match(match)
        for match in (found, more)  # that with most matched clusters first
        for own in match.by_cluster.to_pylist()
        for place in range(len(own["features"]))
    ]
    assert rows == expected
    assert features == [
        own | of_match(match) | {"cluster_id": None if own["cluster_id"] < 0 else own["cluster_id"]}
        for match in (found, more)
        for own in match.by_feature.to_pylist()
    ]
    assert unmatched["cluster_id"].to_pylist() == list(range(NUM_PLANTED, NUM_CLUSTERS))
    assert num_control == [{"n": sum(map(len, of_control.by_cluster["features"].to_pylist()))}]


SCORES = ("level", "f1", "precision", "recall", "auc", "num_active")


def of_match(match: StoredMatch) -> dict[str, str]:
    return {
        "match": match.stem.removeprefix("features-"),
        "autoencoder": "SAELens jumprelu of embedded",
        "hook": "blocks.2.hook_resid_post",
        "read_at": "target",
    }


def test_a_token_a_cluster_and_a_card_say_their_features(copied: Planted) -> None:
    view, known = RunView(str(copied.run)), Vocabulary(pieces=None)
    assert card_data(view, 1, 2, 0, known).features_of == ""
    token = int(view.clusters.members["token_id"][0].as_py())
    with Query(view) as query:
        assert not any("features" in note for note in of_cluster(query, 0, Window()).notes)
        assert not any("features" in note for note in of_token(query, token, Window()).notes)
    found = match_clusters(view, encoded(copied), MatchConfig())
    own = found.by_cluster.to_pylist()[0]
    said = (
        f"best features of cluster 0 ({found.title}): 0"
        f"{'' if own['level'][0] == 1 else ', top ' + format(own['level'][0], '.0%')} "
        f"(F1 {own['f1'][0]:.2f}, AUC {own['auc'][0]:.2f}); "
    )
    with Query(view) as query:
        for notes in (of_cluster(query, 0, Window()).notes, of_token(query, token, Window()).notes):
            (note,) = [note for note in notes if "features" in note]
            assert note.startswith(said)
        loose = next(t for t in range(NUM_TOKENS) if t not in set(map(int, clustered(view))))
        assert not any("features" in note for note in of_token(query, loose, Window()).notes)
    card = card_data(view, 0, 2, 0, known)
    assert card.features_of == found.title and len(card.features) == 3
    assert [feature[1:] for feature in card.features] == list(
        zip(own["f1"][:3], own["auc"][:3], strict=True)
    )


def clustered(view: RunView) -> NDArray[np.int64]:
    return np.asarray(view.clusters.members["token_id"])


def test_features_of_other_clusters_are_not_shown(copied: Planted) -> None:
    match_clusters(RunView(str(copied.run)), encoded(copied), MatchConfig())
    folder = Store(str(copied.run / "clusters"))
    provenance = read_sealed(folder, PROVENANCE)
    folder.delete(PROVENANCE)
    folder.put(PROVENANCE, seal({**provenance, "made": "again"}))
    view = RunView(str(copied.run))
    assert stored_match(view) is None
    with Query(view) as query:
        assert "features" not in query.tables


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
