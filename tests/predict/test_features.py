"""Features against independent derivatives, on small random models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.models.components import all_components, group_components
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.predict.clean_pass import CleanPass
from spectro.predict.features import feature_names, num_features, token_features

MakeModel = Callable[..., GPTNeoXForCausalLM]


@pytest.fixture
def model(make_model: MakeModel) -> GPTNeoX:
    return GPTNeoX.from_pretrained_model(make_model().double())


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 61, (3, 13), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_features_are_finite_and_named(
    make_model: MakeModel, ids: Tensor, parallel: bool, bias: bool
) -> None:
    activation = "gelu" if bias else "relu"
    hf = make_model(use_parallel_residual=parallel, attention_bias=bias, hidden_act=activation)
    model = GPTNeoX.from_pretrained_model(hf)
    features = token_features(model, ids)
    names = feature_names(model.shape)
    assert features.shape == (36, num_features(model.shape)) and features.dtype == np.float32
    assert len(set(names)) == len(names) == num_features(model.shape)
    loss = features[:, names.index("loss")]
    np.testing.assert_allclose(loss, model.clean_losses(ids).flatten(), rtol=1e-4)
    varies = features.std(0) > 0
    constant = {name.split(".")[-1] for name, v in zip(names, varies, strict=True) if not v}
    without_curvature = set() if bias else {"response"}  # of relu
    assert constant <= {"seen", "earlier_target"} | without_curvature


def test_features_of_a_token_are_those_of_its_sequence(model: GPTNeoX, ids: Tensor) -> None:
    whole = token_features(model, ids)
    np.testing.assert_allclose(token_features(model, ids[1:2]), whole[12:24], rtol=1e-5, atol=1e-7)


def test_no_feature_but_the_target_sees_what_comes_later(model: GPTNeoX, ids: Tensor) -> None:
    """Probes' noise is in units of the whole sequence's stream; all else is causal."""
    later = ids.clone()
    later[:, 8:] = (later[:, 8:] + 7) % 61
    first, second = (token_features(model, x).reshape(3, 12, -1)[:, :7] for x in (ids, later))
    causal = [not name.startswith("probe") for name in feature_names(model.shape)]
    np.testing.assert_allclose(first[..., causal], second[..., causal], rtol=1e-5, atol=1e-7)


def test_the_last_layer_norm_has_the_hessian_of_autograd(model: GPTNeoX, ids: Tensor) -> None:
    features = token_features(model, ids).reshape(3, 12, -1)
    names = feature_names(model.shape)
    clean = CleanPass(model, ids)
    row, place = 1, 7
    unembed = model.params[model.unembed_name]

    def loss(stream_D: Tensor) -> Tensor:
        hidden = model.suffix(stream_D[None, None], model.shape.num_layers)
        return _loss(hidden[0, 0], unembed, target)

    target = int(ids[row, place + 1])
    hessian = torch.autograd.functional.hessian(loss, clean.streams[-1][row, place])
    space = clean.layers[1].output_HKD[2]
    for prefix, expected in (
        ("last.", hessian.trace()),
        ("l1h2.last_", (space @ hessian @ space.T).trace()),
    ):
        parts = [features[row, place, names.index(prefix + w)] for w in ("curvature", "response")]
        assert sum(parts) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("component", "block", "feature"),
    [
        ("l2h1", "dense_weight", "l2h1.output"),
        ("l2mlp", "down_weight", "l2mlp.down"),
        ("l2mlp", "up_weight", "l2mlp.up"),
    ],
)
def test_squares_are_those_of_autograd(
    model: GPTNeoX, ids: Tensor, component: str, block: str, feature: str
) -> None:
    """In the last layer, where a token's loss depends on the component at its own position only."""
    group = group_components([c for c in all_components(3, 4) if c.group == "l2"])[0]
    part = group_model(model, group)
    own = {b: t[None].clone().requires_grad_() for b, t in part.weights(component).items()}
    loss = part.losses(part.prepare(ids), {component: own})[component][0, 1, 9]
    (gradient,) = torch.autograd.grad(loss, own[block], retain_graph=True)
    expected = gradient.square().sum()
    if block == "up_weight":  # the feature counts the bias, whose input is 1
        expected += torch.autograd.grad(loss, own["up_bias"])[0].square().sum()
    features = token_features(model, ids).reshape(3, 12, -1)
    found = features[1, 9, feature_names(model.shape).index(feature)]
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_the_response_of_an_mlp_is_the_mean_over_noise(model: GPTNeoX, ids: Tensor) -> None:
    """Gaussian noise on the input weights shifts the mean output by tr ∂²o/∂w² / (2γ)."""
    clean = CleanPass(model, ids)
    mlp = clean.layers[2].mlp
    assert mlp is not None
    gradient = clean.pull_back(clean.loss_gradient_BTD).streams[3][0, 9]
    names = feature_names(model.shape)
    found = token_features(model, ids).reshape(3, 12, -1)[0, 9, names.index("l2mlp.response")]
    size = float((mlp.in_BTD[0, 9].square().sum() + 1).sqrt())
    step = 1e-3 * torch.randn(20_000, 48, dtype=torch.float64).abs()  # ± pairs: no first order
    up = mlp.maps[0][0, 9]
    activation = model.activation
    even = (activation(up + size * step) + activation(up - size * step)) / 2 - activation(up)
    shift = (even / 1e-6).mean(0)
    # 20 000 squares of normal deviates: each unit's mean is known to 1 %
    expected = float(gradient @ (mlp.down_DF @ shift))
    scale = float((gradient @ mlp.down_DF).abs() @ shift.abs())
    assert found == pytest.approx(expected, abs=0.02 * scale)


def test_a_damaged_model_is_refused(model: GPTNeoX, ids: Tensor) -> None:
    params = dict(model.params)
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    params[name] = params[name].clone()
    params[name][0, 0] = torch.nan
    with pytest.raises(ValueError, match="is not finite for 36 of 36 tokens"):
        token_features(model.with_params(params), ids)


def _loss(hidden_D: Tensor, unembed_VD: Tensor, target: int) -> Tensor:
    logits = unembed_VD @ hidden_D
    return torch.logsumexp(logits, 0) - logits[target]
