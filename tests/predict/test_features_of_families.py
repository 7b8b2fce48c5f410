"""Features of other families against the model's own hidden states and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from spectro.models.components import group_components
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.transformer import Transformer
from spectro.predict.clean_pass import CleanPass
from spectro.predict.features import feature_names, num_features, token_features
from tests.models.small_models import CASES, SMALL, V, build, exact_norms

FAMILIES = (
    "neox_tied", "neox_sequential", "gpt2", "llama", "llama_tied_biases", "mistral_window",
    "gemma", "qwen3", "attention_only",
)  # fmt: skip
B, T = 3, 12
UNIVERSAL = {
    "gemma2": {
        **SMALL, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6,
        "final_logit_softcapping": 5.0, "pad_token_id": 0,
    },
    "opt": {
        **{k: v for k, v in SMALL.items() if k != "intermediate_size"},
        "ffn_dim": 48, "intermediate_size": 48, "word_embed_proj_dim": 32,
    },
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def hf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    return exact_norms(build(request.param), monkeypatch)


@pytest.fixture
def engine(hf: PreTrainedModel) -> Transformer:
    found = engine_of(hf)
    assert isinstance(found, Transformer)
    return found


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(1))


def own_streams(hf: PreTrainedModel, ids_BT: Tensor) -> tuple[list[Tensor], Tensor]:
    """Streams entering each layer, and the final-normed one, by the model's own forward."""
    if hf.config.model_type != "attention_only":
        *streams, last = hf(ids_BT, output_hidden_states=True).hidden_states
        return streams, last
    streams = []
    for layer in hf.model.layers:
        layer.register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    return streams, hf.model(ids_BT).last_hidden_state


def test_streams_are_the_models_own_hidden_states(
    engine: Transformer, hf: PreTrainedModel, ids: Tensor
) -> None:
    clean = CleanPass(engine, ids)
    streams, last = own_streams(hf, ids[:, :-1])
    assert len(streams) == len(clean.streams) - 1
    for own, theirs in zip((*clean.streams[:-1], clean.hidden_BTD), (*streams, last), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-9, atol=1e-9)
    losses = token_features(engine, ids)[:, feature_names(engine.shape).index("loss")]
    np.testing.assert_allclose(losses, engine.clean_losses(ids).flatten(), rtol=1e-6)


def test_patterns_are_the_models_own(engine: Transformer, hf: PreTrainedModel, ids: Tensor) -> None:
    if hf.config.model_type != "attention_only":
        hf.set_attn_implementation("eager")
    theirs = hf(ids[:, :-1], output_attentions=True).attentions
    for layer, pattern in zip(CleanPass(engine, ids).layers, theirs, strict=True):
        torch.testing.assert_close(layer.pattern_BHTT, pattern.double(), rtol=1e-5, atol=1e-6)


def test_features_are_finite_and_named_and_of_the_sequence(
    engine: Transformer, ids: Tensor
) -> None:
    names = feature_names(engine.shape)
    features = token_features(engine, ids)
    assert features.shape == (B * T, num_features(engine.shape))
    assert len(set(names)) == len(names)
    assert any(name.startswith("l0mlp") for name in names) == engine.shape.has_mlp
    varies = features.std(0) > 0
    constant = {name.split(".")[-1] for name, v in zip(names, varies, strict=True) if not v}
    assert constant <= {"seen", "earlier_target"}
    alone = token_features(engine, ids[1:2])
    np.testing.assert_allclose(alone, features[T : 2 * T], rtol=1e-5, atol=1e-7)


def test_squares_of_the_last_layer_are_those_of_autograd(engine: Transformer, ids: Tensor) -> None:
    """There a token's loss depends on a component's output map at its own position only."""
    layer = engine.shape.num_layers - 1
    group = group_components([c for c in engine.shape.components if c.layer == layer])[0]
    part = group_model(engine, group)
    cases = [(f"l{layer}h1", "output", ("o_weight", "dense_weight"))]
    if engine.shape.has_mlp:
        inner = ("gate_weight", "gate_bias", "up_weight", "up_bias")
        cases += [(f"l{layer}mlp", "down", ("down_weight",)), (f"l{layer}mlp", "up", inner)]
    features = token_features(engine, ids).reshape(B, T, -1)
    for component, feature, blocks in cases:
        own = {b: t[None].clone().requires_grad_() for b, t in part.weights(component).items()}
        wanted = [own[block] for block in blocks if block in own]
        loss = part.losses(part.prepare(ids), {component: own})[component][0, 1, 9]
        expected = sum(float(g.square().sum()) for g in torch.autograd.grad(loss, wanted))
        found = features[1, 9, feature_names(engine.shape).index(f"{component}.{feature}")]
        assert found == pytest.approx(expected, rel=1e-4), (component, feature)


def test_the_last_norm_has_the_hessian_of_autograd(engine: Transformer, ids: Tensor) -> None:
    names, clean = feature_names(engine.shape), CleanPass(engine, ids)
    row, place, last = 1, 7, engine.shape.num_layers
    unembed, target = engine.params[engine.unembed_name], ids[row, place + 1]

    def loss(stream_D: Tensor) -> Tensor:
        hidden = engine.suffix(stream_D[None, None], last)
        return functional.cross_entropy(unembed @ hidden[0, 0], target)

    hessian = torch.autograd.functional.hessian(loss, clean.streams[-1][row, place])
    space = clean.layers[1].output_HKD[2]
    features = token_features(engine, ids).reshape(B, T, -1)[row, place]
    for prefix, expected in (
        ("last.", hessian.trace()),
        ("l1h2.last_", (space @ hessian @ space.T).trace()),
    ):
        parts = [features[names.index(prefix + what)] for what in ("curvature", "response")]
        assert sum(parts) == pytest.approx(float(expected), rel=1e-4)


def test_the_response_of_a_gated_mlp_is_a_trace_of_second_derivatives(ids: Tensor) -> None:
    """g · tr ∂²o/∂w² over both inner maps, by autograd over each unit's weights."""
    engine = engine_of(build("llama_tied_biases"))
    assert isinstance(engine, Transformer)
    clean = CleanPass(engine, ids)
    mlp = clean.layers[2].mlp
    assert mlp is not None
    row, place = 0, 9
    grad_D = clean.pull_back(clean.loss_gradient_BTD).streams[3][row, place]
    x_D = torch.cat([mlp.in_BTD[row, place], torch.ones(1)])  # the bias's input
    maps = [values[row, place] for values in mlp.maps]
    total = 0.0
    for unit, weight in enumerate(grad_D @ mlp.down_DF):

        def term(shifts: Tensor, unit: int = unit, weight: Tensor = weight) -> Tensor:
            gate, up = (m[unit] + shift @ x_D for m, shift in zip(maps, shifts, strict=True))
            return weight * functional.silu(gate) * up

        size = 2 * len(x_D)
        hessian = torch.autograd.functional.hessian(
            lambda flat, term=term: term(flat.view(2, -1)), torch.zeros(size, dtype=torch.float64)
        )
        total += float(hessian.trace())
    names = feature_names(engine.shape)
    found = token_features(engine, ids).reshape(B, T, -1)[row, place, names.index("l2mlp.response")]
    assert found == pytest.approx(total / 2, rel=1e-4)


@pytest.mark.parametrize("family", UNIVERSAL)
def test_features_of_the_universal_engine_are_of_the_models_hidden_states(
    family: str, ids: Tensor
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **UNIVERSAL[family])
    hf = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    engine = engine_of(hf)
    names = feature_names(engine.shape)
    features = token_features(engine, ids).reshape(B, T, -1)
    assert features.shape[-1] == len(names) == len(set(names))
    found = hf(ids[:, :-1], output_hidden_states=True)
    last = found.hidden_states[-1].clone().requires_grad_()
    logits = hf.get_output_embeddings()(last)
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
    loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    (grad,) = torch.autograd.grad(loss.sum(), last)

    def column(name: str) -> np.ndarray:
        return features[..., names.index(name)]

    np.testing.assert_allclose(column("loss"), loss.detach().view(B, T), rtol=1e-5)
    np.testing.assert_allclose(column("last.gradient"), grad.norm(dim=-1), rtol=1e-4)
    for index, state in enumerate(found.hidden_states):
        np.testing.assert_allclose(column(f"state{index}.norm"), state.norm(dim=-1), 1e-4)
        along = (state * grad).sum(-1)
        np.testing.assert_allclose(column(f"state{index}.along"), along, rtol=1e-3, atol=1e-5)
    moved = (found.hidden_states[2] - found.hidden_states[1]).norm(dim=-1)
    np.testing.assert_allclose(column("state2.moved"), moved, rtol=1e-4)
    later = ids.clone()
    later[:, 8:] = (later[:, 8:] + 7) % V  # no feature sees what comes later
    others = token_features(engine, later).reshape(B, T, -1)
    np.testing.assert_allclose(others[:, :7], features[:, :7], rtol=1e-4, atol=1e-5)


def test_models_without_hidden_states_are_refused(ids: Tensor) -> None:
    engine = engine_of(build("attention_only"), universal=True)
    with pytest.raises(ValueError, match=r"expected 4 hidden states .* found 0"):
        token_features(engine, ids)


assert set(FAMILIES) <= set(CASES)
