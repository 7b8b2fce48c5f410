"""The attention-only transformer against its equations, and as a Hugging Face model."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from spectro.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = AttentionOnlyConfig(
        vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        initializer_range=0.3,
    )  # fmt: skip
    made = AttentionOnlyForCausalLM(config).double().eval().requires_grad_(False)
    for name, param in made.named_parameters():
        if "norm" in name:
            param += 0.1 * torch.randn_like(param)
    return made


@pytest.fixture
def ids():
    return torch.randint(0, 61, (3, 14), generator=torch.Generator().manual_seed(1))


def turned(vector, position, theta):
    """Pairs (i, i + K/2) as complex numbers, each turned by its angle."""
    half = len(vector) // 2
    turned_pairs = [
        complex(float(vector[i]), float(vector[i + half]))
        * complex(math.cos(angle), math.sin(angle))
        for i in range(half)
        for angle in [position * theta ** (-2 * i / len(vector))]
    ]
    parts = [p.real for p in turned_pairs] + [p.imag for p in turned_pairs]
    return torch.tensor(parts, dtype=torch.float64)


def normed(x, norm):
    return (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, keepdim=True, unbiased=False) + norm.eps
    ).sqrt() * norm.weight + norm.bias


def reference_logits(model, ids_T):
    """Head by head, position by position."""
    base, size = model.model, model.config.head_dim
    x_TD = base.embed_tokens.weight[ids_T]
    for layer in base.layers:
        y_TD, attention = normed(x_TD, layer.input_layernorm), layer.self_attn
        terms = torch.zeros_like(x_TD)
        for h in range(model.config.num_attention_heads):
            own = slice(h * size, (h + 1) * size)
            q, k, v = (
                y_TD @ p.weight[own].T
                for p in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            for t in range(len(ids_T)):
                now = turned(q[t], t, model.config.rope_theta)
                scores = [
                    now @ turned(k[s], s, model.config.rope_theta) / math.sqrt(size)
                    for s in range(t + 1)
                ]
                share = torch.stack(scores).softmax(0)
                terms[t] += attention.o_proj.weight[:, own] @ (share @ v[: t + 1])
        x_TD = x_TD + terms
    return normed(x_TD, base.norm) @ model.lm_head.weight.T


def test_logits_are_those_of_the_equations(model, ids):
    expected = torch.stack([reference_logits(model, row) for row in ids])
    assert torch.allclose(model(ids).logits, expected, rtol=0, atol=1e-12)


def test_attention_patterns_are_shares_of_the_past_and_change_no_logit(model, ids):
    plain, seen = model(ids), model(ids, output_attentions=True)
    assert plain.attentions is None and len(seen.attentions) == 2
    assert torch.allclose(plain.logits, seen.logits, rtol=0, atol=1e-12)
    for pattern in seen.attentions:
        assert pattern.shape == (3, 3, 14, 14)
        assert torch.allclose(pattern.sum(-1), torch.ones(3, 3, 14).double())
        assert not pattern.triu(1).any()


def test_it_is_saved_as_safetensors_and_opened_by_its_model_type(model, ids, tmp_path):
    model.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert isinstance(opened, AttentionOnlyForCausalLM)
    assert torch.equal(opened(ids).logits, model(ids).logits)


def test_impossible_dimensions_are_refused():
    with pytest.raises(ValueError, match="rotary positions turn pairs; found 24"):
        AttentionOnlyConfig(hidden_size=24, num_attention_heads=8)
    with pytest.raises(ValueError, match="untied"):
        AttentionOnlyConfig(tie_word_embeddings=True)
