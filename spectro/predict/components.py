"""What a displacement of a head's or an MLP's weights does to ℓ, per token.

With independent noise of variance 1/γ on every weight, E[Δℓ] is ½ tr ∂²ℓ/∂w² / γ to leading order.
Of a component's output o and the gradient g = ∂ℓ/∂o at the token:

    response   g · tr ∂²o/∂w²: the mean shift of its output. Only scores of heads and inputs of the
               activation function are not linear in a weight.
    output, value, query; down, up
               squared gradient ‖∂ℓ/∂W‖² = ‖input‖² ‖gradient‖² for a weight block, which for
               targets that the model itself would draw is tr ∂²ℓ/∂W² in expectation

Shapes as in clean_pass.py; a feature is [B, H, T] of heads and [B, T] of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spectro.predict.clean_pass import LayerPass, MlpPass

Features = dict[str, Tensor]


def head_terms(layer: LayerPass, grad_mixed_BHTK: Tensor, ids_BT1: Tensor) -> Features:
    """First order: a head's output, where it looks, and what another pattern would do to ℓ.

    Args:
        layer: the layer.
        grad_mixed_BHTK: gradient of ℓ with respect to the mixed values.
        ids_BT1: the sequences.
    """
    pattern = layer.pattern_BHTT
    value_gain = grad_mixed_BHTK @ layer.value_BHTK.transpose(-1, -2)  # g · v_j
    along = (grad_mixed_BHTK * layer.mixed_BHTK).sum(-1)
    own = value_gain.diagonal(dim1=-2, dim2=-1)
    even = value_gain.tril().sum(-1) / torch.arange(1, own.shape[-1] + 1, device=own.device)
    is_target = ids_BT1[:, None, :-1] == ids_BT1[:, 1:, None]
    variance = score_variance(layer)
    excess = variance - (pattern * variance).sum(-1, keepdim=True)
    return {
        "along_gradient": along,
        "response": 0.5 * (pattern * excess * value_gain).sum(-1),
        "to_even": even - along,
        "to_self": own - along,
        "gradient": grad_mixed_BHTK.norm(dim=-1),
        "mixed_norm": layer.mixed_BHTK.norm(dim=-1),
        "term_norm": (layer.mixed_BHTK @ layer.output_HKD).norm(dim=-1),
        "score_variance": (pattern * variance).sum(-1),
        "entropy": -(pattern * pattern.clamp_min(1e-12).log()).sum(-1),
        "self": pattern.diagonal(dim1=-2, dim2=-1),
        "first": pattern[..., 0],
        "on_target": (pattern * is_target[:, None].tril()).sum(-1),
    }


def score_variance(layer: LayerPass) -> Tensor:
    """γ times the variance of each score around the pattern's mean score, [B, H, T, T].

    Noise on the query weights moves the scores of i by ε x_i · k_j, on the key weights by
    q_i · ε x_j (biases: a further 1 in x); what all j have in common changes no pattern. Norms of
    queries and keys (Qwen3) are taken as constants.
    """
    states_BTD = layer.attention_in_BTD
    size = layer.query_BHTK.shape[-1]
    query_B = (layer.query_BHTK**2).sum(-1, keepdim=True)
    input_B = _with_bias(states_BTD, layer.attention_bias)[:, None, :, None]
    gram_BTT = (states_BTD @ states_BTD.transpose(1, 2) + layer.attention_bias)[:, None]
    keys_BHTT = layer.key_BHTK @ layer.key_BHTK.transpose(-1, -2)
    of_keys = _centred_quadratic(layer.pattern_BHTT, gram_BTT.expand_as(keys_BHTT))
    of_query = _centred_quadratic(layer.pattern_BHTT, keys_BHTT)
    return (query_B * of_keys + input_B * of_query) / size


def head_squares(layer: LayerPass, grad_BTD: Tensor, grad_mixed_BHTK: Tensor) -> Features:
    """Squared gradients with respect to weight blocks of the heads.

    `grad_BTD` is the gradient with respect to the stream that their terms are added to.
    """
    size = layer.query_BHTK.shape[-1]
    value_gain = grad_mixed_BHTK @ layer.value_BHTK.transpose(-1, -2)
    along = (grad_mixed_BHTK * layer.mixed_BHTK).sum(-1, keepdim=True)
    score_gradient = layer.pattern_BHTT * (value_gain - along)
    query_gradient = score_gradient @ layer.key_BHTK
    input_sq = _with_bias(layer.attention_in_BTD, layer.attention_bias)
    return {
        "output": (layer.mixed_BHTK**2).sum(-1) * (grad_BTD**2).sum(-1)[:, None],
        "value": layer.mixed_in_BHT * (grad_mixed_BHTK**2).sum(-1),
        "query": input_sq[:, None] * (query_gradient**2).sum(-1) / size,
    }


def mlp_terms(mlp: MlpPass, grad_BTD: Tensor, activation: Callable[[Tensor], Tensor]) -> Features:
    """First order: an MLP's output and what noise on its inputs does to ℓ, with ½ act″ n.

    The inner units of a gated MLP are linear in the second map.
    """
    inner, second = with_second_derivative(activation, mlp.maps[0])
    for factor in mlp.maps[1:]:
        inner, second = inner * factor, second * factor
    grad_inner = grad_BTD @ mlp.down_DF
    input_sq = _with_bias(mlp.in_BTD, mlp.bias)
    return {
        "along_gradient": (grad_inner * inner).sum(-1),
        "response": 0.5 * (input_sq * (grad_inner * second).sum(-1)),
        "gradient": grad_inner.norm(dim=-1),
        "inner_norm": inner.norm(dim=-1),
        "term_norm": (inner @ mlp.down_DF.T).norm(dim=-1),
    }


def mlp_squares(
    mlp: MlpPass,
    grad_BTD: Tensor,
    grad_maps: Sequence[Tensor],
    inner_of: Callable[[Sequence[Tensor]], Tensor],
) -> Features:
    """Squared gradients with respect to weight blocks of the MLP: its inner maps, and the last."""
    inner_sq = (inner_of(mlp.maps) ** 2).sum(-1)
    grad_sq = sum((grad**2).sum(-1) for grad in grad_maps)
    return {
        "down": (inner_sq * (grad_BTD**2).sum(-1)),
        "up": (_with_bias(mlp.in_BTD, mlp.bias) * grad_sq),
    }


def with_second_derivative(
    activation: Callable[[Tensor], Tensor], up: Tensor
) -> tuple[Tensor, Tensor]:
    """Value and second derivative of an elementwise function."""
    with torch.enable_grad():
        at = up.detach().requires_grad_()
        value = activation(at)
        (first,) = torch.autograd.grad(value.sum(), at, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), at)
    return value.detach(), second


def _with_bias(states: Tensor, bias: int) -> Tensor:
    """Squared norm of an input and of the 1 that multiplies its bias, where there is one."""
    squared: Tensor = (states**2).sum(-1) + bias
    return squared


def _centred_quadratic(pattern_BHTT: Tensor, matrix_BHTT: Tensor) -> Tensor:
    """(e_j − a_i)ᵀ M (e_j − a_i) for every i and j: variance of score j less its mean."""
    mean = pattern_BHTT @ matrix_BHTT
    own = matrix_BHTT.diagonal(dim1=-2, dim2=-1)[:, :, None, :]
    centred = own - 2 * mean + (mean * pattern_BHTT).sum(-1, keepdim=True)
    return centred.clamp_min(0)
