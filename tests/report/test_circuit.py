"""Head scores against loops over positions; the circuit's claims on planted axes."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.analysis.circuit import circuit, claims
from spectro.analysis.head_scores import (
    HeadKind,
    HeadScores,
    ablation_rises,
    attention_patterns,
    pattern_scores,
)
from spectro.analysis.principal_axes import principal
from spectro.analysis.repeated_tokens import repeated_tokens
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.clustering.vectors.moments import Moments
from spectro.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.pretrain.evaluate import model_token_losses

LENGTH = 7


@pytest.fixture
def ids():
    return repeated_tokens(61, num_sequences=3, length=LENGTH)


def gpt_neox():
    config = GPTNeoXConfig(
        vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config).double().eval().requires_grad_(False)


def attention_only():
    config = AttentionOnlyConfig(
        vocab_size=61, hidden_size=32, num_attention_heads=4, initializer_range=0.2
    )
    return AttentionOnlyForCausalLM(config).double().eval().requires_grad_(False)


@pytest.mark.parametrize("make", [gpt_neox, attention_only])
def test_pattern_scores_are_means_over_positions(make, ids):
    torch.manual_seed(0)
    pattern = attention_patterns(make(), ids[:, :-1])
    matching, previous = pattern_scores(pattern)
    assert matching.shape == previous.shape == (2, 4)
    after_earlier, before = [], []
    for s in range(3):
        tokens = ids[s, :-1].tolist()
        for now in range(1, len(tokens)):
            before.append(pattern[:, s, :, now, now - 1])
            if now > LENGTH:  # a token of the second half: its earlier occurrence by place
                assert tokens[now - LENGTH] == tokens[now]
                after_earlier.append(pattern[:, s, :, now, now - LENGTH + 1])
    assert np.allclose(matching, torch.stack(after_earlier).mean(0), rtol=0, atol=1e-12)
    assert np.allclose(previous, torch.stack(before).mean(0), rtol=0, atol=1e-12)


def test_the_second_half_repeats_the_first(ids):
    assert ids.shape == (3, 1 + 2 * LENGTH) and not ids[:, 0].any()
    assert torch.equal(ids[:, 1 : LENGTH + 1], ids[:, LENGTH + 1 :])


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (gpt_neox, "gpt_neox.layers.{}.attention.dense"),
        (attention_only, "model.layers.{}.self_attn.o_proj"),
    ],
)
def test_ablation_is_the_model_without_the_heads_output(ids, make, output):
    """Against the checkpoint with the head's columns of the output projection at 0."""
    torch.manual_seed(0)
    model, names = make(), ["l0h1", "l1h2"]
    engine = engine_of(model)
    groups = engine.shape.groups(["l*h*"], with_full=False)
    found = ablation_rises((group_model(engine, group) for group in groups), names, ids)
    assert set(found) == set(names)
    before = model_token_losses(model, ids)
    for name, rises in found.items():
        own, layer, head = make(), int(name[1]), int(name[3])
        own.load_state_dict(model.state_dict())
        own.get_submodule(output.format(layer)).weight[:, 8 * head : 8 * head + 8] = 0.0
        rise = (model_token_losses(own, ids) - before).mean(0)
        expected = [float(half.mean()) for half in (rise[LENGTH + 1 :], rise[1:LENGTH])]
        assert rises == pytest.approx(expected)


def planted(is_repeat_N, seed=0):
    """A uniform mode, and heads 6 and 7 that express repeated pairs, the others a little less."""
    rng = np.random.default_rng(seed)
    common_N1 = rng.normal(size=(len(is_repeat_N), 1))
    side_H = np.array([0.3] * 6 + [-1.0] * 2)
    noise_NH = 0.2 * rng.normal(size=(len(is_repeat_N), 8))
    return 3 * common_N1 + (is_repeat_N[:, None] + noise_NH[:, :1]) * side_H + noise_NH


def scores_of(matching, previous=0.0):
    zeros = np.zeros(8)
    return HeadScores(
        components=tuple(f"l{n // 4}h{n % 4}" for n in range(8)),
        prefix_matching_C=np.array(matching),
        previous_token_C=zeros + previous,
        rise_repeated_C=zeros,
        rise_first_C=zeros,
    )


def found_in(scores, chi_NH, is_repeat_N):
    moments = Moments.of(chi_NH, covariances=True)
    scale = ResponseScale.of(moments, Scaling.STANDARDISED)
    axes = principal(moments, scale, scores.components, 3)
    return circuit(scores, axes, chi_NH, is_repeat_N)


@pytest.fixture
def is_repeat():
    return np.random.default_rng(1).random(4000) < 0.3


def test_planted_induction_heads_are_found(is_repeat):
    scores = scores_of([0.0] * 6 + [0.5, 0.9])
    assert scores.kinds[5:] == (HeadKind.MULTIGRAM, HeadKind.INDUCTION, HeadKind.INDUCTION)
    found = found_in(scores, planted(is_repeat), is_repeat)
    assert found.principal.share_H[0] > 0.5
    assert found.head_auc_A[1] == 1.0 and found.token_auc_A[1] > 0.95
    assert [claim.holds for claim in claims(found)] == [True, True, True]


def test_what_is_not_there_is_not_claimed(is_repeat):
    """Other heads by the scores; tokens on the other side; no uniform mode."""
    others = scores_of([0.5] + [0.0] * 3 + [0.5] + [0.0] * 3)
    assert not claims(found_in(others, planted(is_repeat), is_repeat))[1].holds
    reverse = found_in(scores_of([0.0] * 6 + [0.5] * 2), -planted(is_repeat), is_repeat)
    assert reverse.token_auc_A[1] < 0.05 and not claims(reverse)[2].holds
    noise = np.random.default_rng(2).normal(size=(4000, 8))
    assert not claims(found_in(scores_of([0.5] + [0.0] * 7), noise, is_repeat))[0].holds


def test_previous_token_heads_are_apart_and_no_kind_is_no_auc(is_repeat):
    scores = scores_of([0.0] * 8, previous=0.7)
    assert set(scores.kinds) == {HeadKind.PREVIOUS_TOKEN}
    found = found_in(scores, planted(is_repeat), is_repeat)
    assert np.isnan(found.head_auc_A).all() and np.isnan(found.token_auc_A).all()
    assert [claim.holds for claim in claims(found)] == [True, False, False]


def test_axes_of_other_columns_are_refused(is_repeat):
    scores = scores_of([0.5] * 8)
    found = found_in(scores, planted(is_repeat), is_repeat)
    other = dataclasses.replace(found.principal, components=tuple("abcdefgh"))
    with pytest.raises(
        ValueError, match=r"expected axes of the heads l0h0, .* found those of a, b"
    ):
        circuit(scores, other, planted(is_repeat), is_repeat)
