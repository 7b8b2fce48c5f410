"""The shipped model: loads unchanged, is small, and has the structure that the demo needs."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPTNeoXForCausalLM

import spectro
from spectro.pretrain.evaluate import induction_score

FOLDER = Path(spectro.__file__).parent / "assets" / "model"


@pytest.fixture(scope="module")
def model():
    return GPTNeoXForCausalLM.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "training.json").read_text())


def test_the_folder_is_small_and_holds_no_pickle():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8e6
    assert {path.suffix for path in files} <= {".json", ".safetensors"}


def test_it_is_an_ordinary_gpt_neox(model):
    config = model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (4, 4, 128)
    assert config.use_parallel_residual and not config.tie_word_embeddings
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in model.parameters())


def test_its_induction_score_is_that_of_the_record(model, record):
    score = induction_score(model, num_sequences=64, length=64, seed=0)
    assert score >= 1.5
    # float32 sums in another order: agreement to the digits that anyone would quote
    assert score == pytest.approx(record["induction_score"], abs=1e-2)


def test_induction_needs_the_repetition(model):
    """Control: without a repetition the second half is no easier than the first."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, model.config.vocab_size, (32, 129), generator=generator)
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none")
    assert abs(float(losses[:, 2:64].mean() - losses[:, 66:].mean())) < 0.5


def test_the_record_says_how_it_was_made(record):
    assert record["finished"]
    assert record["heldout_loss"] < 4.0
    assert set(record["heldout_loss_by_group"]) == set(record["config"]["groups"])
    assert record["tokens_seen"] > 5e6
    assert record["config"]["seed"] == 0


def test_the_tokenizer_loads_offline_and_loses_nothing():
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer.eos_token_id == 0 and len(tokenizer) == 2048
    text = "def f(x):\n\treturn x**2  # café → 東京 \U0001f600\n" + "".join(
        map(chr, range(32, 127))
    )
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer("<|endoftext|>", add_special_tokens=False)["input_ids"] == [0]
