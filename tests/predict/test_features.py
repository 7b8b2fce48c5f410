"""Features against independent derivatives, on small random models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.models.components import all_components, group_components
from spectro.models.gpt_neox import GPTNeoX
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
    hf = make_model(use_parallel_residual=parallel, attention_bias=bias)
    model = GPTNeoX.from_pretrained_model(hf)
    features = token_features(model, ids)
    names = feature_names(model.shape)
    assert features.shape == (36, num_features(model.shape)) and features.dtype == np.float32
    assert len(set(names)) == len(names) == num_features(model.shape)
    loss = features[:, names.index("loss")]
    np.testing.assert_allclose(loss, model.clean_losses(ids).flatten(), rtol=1e-4)
    varies = features.std(0) > 0
    constant = {name.split(".")[-1] for name, v in zip(names, varies, strict=True) if not v}
    assert constant <= {"seen", "earlier_target"}


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


def test_the_curvature_of_the_last_layer_is_the_squared_gradient(
    make_model: MakeModel, ids: Tensor
) -> None:
    """Σ over the logits' covariance of squared gradients with respect to a head's own weights,
    at one position: with 7 tokens in the vocabulary all but one direction is exact."""
    model = GPTNeoX.from_pretrained_model(make_model(vocab_size=7).double())
    ids = ids % 7
    features = token_features(model, ids).reshape(3, 12, -1)
    names = feature_names(model.shape)
    group = group_components([c for c in all_components(3, 4) if c.group == "l2"])[0]
    part = group_model(model, group)
    log_p = CleanPass(model, ids).log_p_BTV[0, 9]
    prepared = part.prepare(ids[:1, :11])
    own = {b: t[None].clone().requires_grad_() for b, t in part.weights("l2h1").items()}
    total = torch.zeros(())
    for token in range(7):
        prepared.targets_BT[:] = token
        loss = part.losses(prepared, {"l2h1": own})["l2h1"][0, 0, 9]
        (gradient,) = torch.autograd.grad(loss, own["dense_weight"])
        total = total + log_p[token].exp() * gradient.square().sum()
    found = features[0, 9, names.index("l2h1.curvature.output")]
    assert found == pytest.approx(float(total), rel=1e-3)


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
