"""The shipped attention-only model: small, as its record says, with the textbook's circuit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import spectro
from spectro.analysis.head_scores import HeadKind, attention_patterns, head_kind, pattern_scores
from spectro.analysis.repeated_tokens import halves, repeated_tokens
from spectro.models.attention_only import AttentionOnlyForCausalLM
from spectro.pretrain.evaluate import induction_score, model_token_losses

ASSETS = Path(spectro.__file__).parent / "assets"
FOLDER = ASSETS / "attention_only"


@pytest.fixture(scope="module")
def model():
    return AttentionOnlyForCausalLM.from_pretrained(FOLDER).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def record():
    return json.loads((FOLDER / "training.json").read_text())


def test_the_folder_is_small_and_holds_no_pickle():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8e6
    assert {path.suffix for path in files} <= {".json", ".safetensors"}


def test_it_reads_the_tokens_of_the_embedded_model(model):
    texts = [(folder / "tokenizer.json").read_bytes() for folder in (FOLDER, ASSETS / "model")]
    assert texts[0] == texts[1]
    assert len(AutoTokenizer.from_pretrained(FOLDER)) == model.config.vocab_size == 2048


def test_its_induction_score_is_that_of_the_record_and_was_learnt(model, record):
    scores = [step["induction_score"] for step in record["history"]]
    assert scores[0] < 0.3 and scores[-1] > 1.0
    assert induction_score(model) == pytest.approx(scores[-1], abs=1e-2)
    assert record["finished"] and record["heldout_loss"] < 3.0


@pytest.fixture(scope="module")
def kinds(model):
    """Kind → heads as (layer, number), by attention alone."""
    pattern = attention_patterns(model, repeated_tokens(2048)[:, :-1])
    found = {kind: [] for kind in HeadKind}
    for place in np.ndindex(2, 8):
        found[head_kind(*(scores_LH[place] for scores_LH in pattern_scores(pattern)))].append(place)
    return found


def test_it_has_a_previous_token_head_below_induction_heads(kinds):
    """Elhage et al. 2021: an induction head needs a previous-token head in a layer below."""
    assert kinds[HeadKind.PREVIOUS_TOKEN] and kinds[HeadKind.INDUCTION]
    assert {layer for layer, _ in kinds[HeadKind.PREVIOUS_TOKEN]} == {0}
    assert {layer for layer, _ in kinds[HeadKind.INDUCTION]} == {1}


def test_the_circuit_is_what_makes_the_second_half_cheaper(model, kinds):
    """Without these heads the score is gone; without as many others, in the same layers, it stays.

    The heads' outputs are removed in the checkpoint itself, through no code of the project.
    """
    circuit = kinds[HeadKind.INDUCTION] + kinds[HeadKind.PREVIOUS_TOKEN]
    others = [(layer, next(h for h in range(8) if (layer, h) not in circuit)) for layer in (0, 1)]
    whole = _score_without(model, [])
    assert _score_without(model, circuit) < 0.1 * whole
    assert _score_without(model, others) > 0.7 * whole


def _score_without(model, heads):
    own = AttentionOnlyForCausalLM(model.config).eval()
    own.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer, head in heads:
            own.model.layers[layer].self_attn.o_proj.weight[:, 32 * head : 32 * head + 32] = 0.0
    first, second = halves(model_token_losses(own, repeated_tokens(2048)))
    return float(first.mean() - second.mean())
