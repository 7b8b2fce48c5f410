"""Training in the small: the same numbers when stopped and resumed, and clear refusals."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from spectro.pretrain import run
from spectro.pretrain.config import (
    Family,
    LearningRateSchedule,
    ModelShape,
    PretrainConfig,
    TextGroup,
)
from spectro.pretrain.data import gather, sequence_order
from spectro.pretrain.optim import Muon, learning_rate_factor, orthogonalise
from spectro.pretrain.run import pretrain
from spectro.pretrain.text import is_heldout, read_group, read_pieces
from spectro.tokens.packing import num_samples


@pytest.fixture
def config(tmp_path):
    """Two groups of numbered sentences; a model of one layer; eight steps."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), size=6)) for _ in range(400)]
    for group in ("one", "two"):
        (tmp_path / group).mkdir()
        for i in range(30):
            text = " ".join(rng.choice(words, size=300))
            (tmp_path / group / f"{i}.txt").write_text(text)
    return PretrainConfig(
        groups={g: TextGroup(globs=[f"{tmp_path}/{g}/*.txt"], weight=1) for g in ("one", "two")},
        schedule=LearningRateSchedule(
            num_tokens=8 * 4 * 32, batch_sequences=4, context=32, warmup_tokens=128,
            checkpoint_every_tokens=512,
        ),
        out_dir=str(tmp_path / "model"),
        work_dir=str(tmp_path / "work"),
        model=ModelShape(
            num_layers=1, num_heads=2, hidden_size=16, intermediate_size=32, vocab_size=512
        ),
        heldout_permille=200,
    )  # fmt: skip


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.mark.slow
def test_a_run_ends_in_an_ordinary_folder_with_its_record(config):
    pretrain(config)
    record = json.loads(Path(config.out_dir, "training.json").read_text())
    assert record["finished"] and record["tokens_seen"] == 1024
    assert [h["tokens_seen"] for h in record["history"]] == [512, 1024]
    assert set(record["heldout_loss_by_group"]) == {"one", "two"}
    assert "work_dir" not in record["config"]
    assert len(AutoTokenizer.from_pretrained(config.out_dir)) == 512


@pytest.mark.slow
def test_another_models_tokenizer_and_an_attention_only_model_with_copies(config, tmp_path):
    pretrain(config)
    shape = ModelShape(
        family=Family.ATTENTION_ONLY, num_layers=2, num_heads=2, hidden_size=16, vocab_size=512
    )
    other = dataclasses.replace(
        config, model=shape, tokenizer=config.out_dir, out_dir=str(tmp_path / "second"),
        work_dir=str(tmp_path / "other"),
        schedule=dataclasses.replace(config.schedule, kept_tokens=[0, 300, 1000]),
    )  # fmt: skip
    pretrain(other)
    texts = [Path(c.out_dir, "tokenizer.json").read_bytes() for c in (config, other)]
    assert texts[0] == texts[1]
    kept = {path.name: weights(path) for path in Path(other.work_dir, "kept").iterdir()}
    assert set(kept) == {"tokens-0", "tokens-384", "tokens-1024"}
    last = weights(other.out_dir)
    assert all(torch.equal(last[name], kept["tokens-1024"][name]) for name in last)
    assert not torch.equal(last["lm_head.weight"], kept["tokens-0"]["lm_head.weight"])


@pytest.mark.slow
def test_a_tokenizer_of_another_size_is_refused(config):
    pretrain(config)
    bad = dataclasses.replace(
        config, tokenizer=config.out_dir, model=dataclasses.replace(config.model, vocab_size=600)
    )
    with pytest.raises(ValueError, match=r"has 512 entries, expected model\.vocab_size=600"):
        pretrain(bad)


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_weights(config, tmp_path):
    pretrain(config)
    stopped = dataclasses.replace(
        config, work_dir=str(tmp_path / "other"), out_dir=str(tmp_path / "resumed")
    )

    def killed_at_the_first_export(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "export", killed_at_the_first_export)
        with pytest.raises(KeyboardInterrupt):
            pretrain(stopped)
    pretrain(stopped)
    plain, resumed = weights(config.out_dir), weights(stopped.out_dir)
    assert all(torch.equal(plain[name], resumed[name]) for name in plain)


def test_a_glob_that_matches_nothing_is_named(config):
    bad = dataclasses.replace(
        config, groups={"x": TextGroup(globs=["/no/such/folder/*.txt"], weight=1)}
    )
    with pytest.raises(FileNotFoundError, match=r"group 'x'.*/no/such/folder/\*.txt"):
        pretrain(bad)


def test_too_little_text_is_an_error(config, tmp_path):
    (tmp_path / "short.txt").write_text("short")
    bad = dataclasses.replace(
        config, groups={"x": TextGroup(globs=[f"{tmp_path}/short.txt"], weight=1)}
    )
    with pytest.raises(ValueError, match=r"too little text|none holds usable text"):
        pretrain(bad)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda: TextGroup(globs=[], weight=1), "at least one pattern"),
        (lambda: TextGroup(globs=["x"], weight=0), "weight"),
        (lambda: ModelShape(hidden_size=130), "multiple of num_heads"),
        (lambda: ModelShape(vocab_size=100), "vocab_size"),
        (lambda: ModelShape(family=Family.ATTENTION_ONLY, rotary_pct=0.5), "no effect"),
        (lambda: LearningRateSchedule(num_tokens=0), "num_tokens"),
        (lambda: LearningRateSchedule(num_tokens=1, decay_fraction=0), "decay_fraction"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def test_held_out_documents_are_chosen_by_their_text_alone(config):
    both = read_group(
        "one", config.groups["one"], seed=0, document_bytes=60_000, permille=200, seen=set()
    )
    assert both.heldout and both.train
    assert all(is_heldout(text, 200) for text in both.heldout)
    assert not any(is_heldout(text, 200) for text in both.train)


def test_long_files_are_cut_at_line_breaks_and_binary_ones_dropped(tmp_path):
    (tmp_path / "a").write_text("".join(f"line {i}\n" for i in range(1000)))
    pieces = list(read_pieces(tmp_path / "a", 500, 4))
    assert len(pieces) == 4 and all(p.endswith("\n") and len(p) < 520 for p in pieces)
    (tmp_path / "b").write_bytes(b"\x00\x01" * 100)
    assert list(read_pieces(tmp_path / "b", 500, 4)) == []


def test_the_order_of_a_larger_budget_begins_with_that_of_a_smaller():
    counts, shares = {"a": 7, "b": 50}, {"a": 1.0, "b": 3.0}
    few, many = (sequence_order(0, counts, shares, n) for n in (40, 400))
    assert all(np.array_equal(f, m[:40]) for f, m in zip(few, many, strict=True))
    group_S, index_S = many
    for g, count in enumerate((7, 50)):
        seen = np.bincount(index_S[group_S == g], minlength=count)
        assert seen.max() - seen.min() <= 1  # every sequence once per epoch
    assert 70 < (group_S == 0).sum() < 130  # 100 expected, sd 8.7


def test_sequences_overlap_by_one():
    stream = np.arange(50, dtype=np.uint16)
    assert num_samples(len(stream), 7) == 7
    rows = gather([stream], np.zeros(2, np.int16), np.array([0, 1], np.int32), 7)
    assert rows.tolist() == [list(range(8)), list(range(7, 15))]


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16)])
def test_newton_schulz_brings_singular_values_near_one(shape):
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalise(x))
    # the quintic's fixed band is [0.68, 1.13] (Jordan et al.); tiny values of square x lag behind
    assert values.max() < 1.3 and values.median() > 0.6
    singular = torch.linalg.svd(x, full_matrices=False)
    nearest = singular.U @ singular.Vh
    cosine = (orthogonalise(x) * nearest).sum() / orthogonalise(x).norm() / nearest.norm()
    assert cosine > 0.9


def test_a_muon_step_is_its_equation():
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    param = torch.nn.Parameter(start.clone())
    optimiser = Muon([param], lr=0.1, momentum=0.5, weight_decay=0.2)
    gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    param.grad = gradient
    optimiser.step()
    update = orthogonalise(1.5 * gradient) * (6 / 4) ** 0.5
    assert torch.allclose(param.detach(), 0.98 * start - 0.1 * update, atol=1e-6)


def test_learning_rate_rises_stays_and_falls():
    settings = {"num_tokens": 1000, "warmup_tokens": 100, "decay_fraction": 0.5}
    factors = [learning_rate_factor(t, **settings) for t in (0, 49, 200, 500, 750, 1000)]
    assert factors == pytest.approx([0.01, 0.5, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.slow
def test_any_byte_can_be_encoded(config):
    pretrain(config)
    tokenizer = Tokenizer.from_file(f"{config.out_dir}/tokenizer.json")
    text = "\x00 unseen: ZQX é 東京 \U0001f600"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
