"""Rounded products against float64, by bounds that follow from the rounding."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spectro.models.components import FULL_GROUP, all_components, group_components
from spectro.models.config import ModelConfig, Precision
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.precision import (
    batched_linear,
    causal_attention,
    linear,
    matmul,
    multiply,
    operand,
    round_to_tf32,
)
from spectro.models.token_loss import token_losses

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")],
)
ROUNDED = {Precision.TF32: 2.0**-11, Precision.BFLOAT16: 2.0**-8}
"""Largest relative error u of one operand."""


def product_bound(left: Tensor, right: Tensor, unit: float) -> Tensor:
    """|fl(A)·fl(B) − A·B| ≤ (2u + u²) |A|·|B|, and 2⁻²⁴ for each of the sum's K additions."""
    per_term = 2 * unit + unit**2 + left.shape[-1] * 2.0**-24
    return per_term * (left.double().abs() @ right.double().abs())


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_products_and_their_gradients_keep_the_bound(
    precision: Precision, batch: tuple, device: str
) -> None:
    torch.manual_seed(0)
    left = torch.randn(*batch, 9, 40, device=device, requires_grad=True)
    right = torch.randn(*batch, 40, 13, device=device, requires_grad=True)
    upstream = torch.randn(*batch, 9, 13, device=device)
    found = matmul(left, right, precision)
    grads = torch.autograd.grad(found, (left, right), upstream)
    assert [t.dtype for t in (found, *grads)] == [torch.float32] * 3
    for ours, one, other in (
        (found, left, right),
        (grads[0], upstream, right.mT),
        (grads[1], left.mT, upstream),
    ):
        error = (ours.double() - one.double() @ other.double()).abs()
        assert (error <= product_bound(one, other, ROUNDED[precision])).all()
        assert error.max() > 1e-5  # float32 would be 100 times nearer: something was rounded


@pytest.mark.parametrize("precision", ROUNDED)
def test_operands_that_need_no_rounding_give_float32_results(precision: Precision) -> None:
    """Integers up to 128 are exact in 7 bits; their products' sums are not, in bfloat16."""
    torch.manual_seed(0)
    left, right = torch.randint(-128, 128, (2, 30, 30)).float()
    exact = left.double() @ right.double()
    assert torch.equal(matmul(left, right, precision).double(), exact)
    out = torch.empty(30, 30)
    multiply(operand(left, precision), operand(right, precision), precision, out=out)
    assert torch.equal(out.double(), exact)


def test_tf32_rounds_to_nearest_and_ties_to_even() -> None:
    torch.manual_seed(0)
    values = torch.cat((torch.randn(2000) * 10, torch.randn(2000) * 1e-20, torch.zeros(1)))
    ties = 1 + (2 * torch.arange(64) + 1) * 2.0**-11
    values = torch.cat((values, ties, -ties, torch.tensor([3.4e38, -3.0e38])))
    mantissa, exponent = torch.frexp(values.double())
    nearest = torch.ldexp(torch.round(mantissa * 2**11) / 2**11, exponent)  # round: ties to even
    assert torch.equal(round_to_tf32(values), nearest.float())
    special = torch.tensor([math.inf, -math.inf, math.nan])
    torch.testing.assert_close(round_to_tf32(special), special, equal_nan=True)


def test_float32_is_torchs_own_arithmetic_to_the_bit() -> None:
    torch.manual_seed(0)
    states, weight, bias = torch.randn(4, 5, 8), torch.randn(6, 8), torch.randn(6)
    plain = Precision.FLOAT32
    assert torch.equal(linear(states, weight, bias, plain), functional.linear(states, weight, bias))
    assert torch.equal(linear(states, weight, None, plain), states @ weight.T)
    many, biases = torch.randn(4, 6, 8), torch.randn(4, 6)
    assert torch.equal(
        batched_linear(states, many, biases, plain),
        torch.baddbmm(biases[:, None], states, many.transpose(1, 2)),
    )
    assert torch.equal(
        causal_attention(states, states, states, plain),
        functional.scaled_dot_product_attention(states, states, states, is_causal=True),
    )


@pytest.mark.parametrize("precision", list(Precision))
def test_loss_of_exact_operands_is_exact(precision: Precision) -> None:
    """Logits near 30 would be off by 0.06 in bfloat16; the loss must not be."""
    torch.manual_seed(0)
    hidden, unembed = torch.randint(-3, 4, (50, 16)).float(), torch.randint(-3, 4, (70, 16)).float()
    targets = torch.randint(0, 70, (50,))
    exact = functional.cross_entropy(hidden @ unembed.T, targets, reduction="none")
    assert (token_losses(hidden, unembed, targets, precision) - exact).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_every_component_is_as_near_as_rounded_weights_allow(
    make_model, precision: Precision, parallel: bool, device: str
) -> None:
    """Losses and gradients of every kind against float64.

    The measure is what a relative change of every weight by u·ξ, ξ uniform in ±1, does in float64.
    Rounding to nearest errs by at most that much per operand; there are two operands per product
    (three in a gradient), and attention's own: four times the measure bounds them in the mean
    square, and an eighth of it shows that something was rounded at all.
    """
    hf = make_model(use_parallel_residual=parallel).to(device)
    exact_hf, moved_hf = copy.deepcopy(hf).double(), copy.deepcopy(hf).double()
    for parameter in moved_hf.parameters():
        parameter.data *= 1 + ROUNDED[precision] * (2 * torch.rand_like(parameter) - 1)
    exact = GPTNeoX.from_pretrained_model(exact_hf)
    moved = GPTNeoX.from_pretrained_model(moved_hf)
    rounded = GPTNeoX.from_pretrained_model(hf, precision)
    ids = torch.randint(0, 61, (6, 18), device=device)
    components = all_components(3, 4)
    for group in [*group_components(components), FULL_GROUP]:
        found = [losses_and_gradients(model, group, ids) for model in (exact, moved, rounded)]
        for name, truth in found[0].items():
            measure = rms(found[1][name] - truth)
            error = rms(found[2][name].double() - truth)
            assert measure / 8 < error < 4 * measure, name


def losses_and_gradients(model: GPTNeoX, group, ids: Tensor) -> dict[str, Tensor]:
    """Losses of a component that is displaced, and gradients, as one vector of each per name."""
    part = group_model(model, group)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: {
            block: (
                tensor + 0.05 * torch.randn(2, *tensor.shape, generator=generator).to(tensor)
            ).requires_grad_()
            for block, tensor in part.weights(name).items()
        }
        for name in part.names
    }
    losses = part.losses(part.prepare(ids), weights)
    torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
    found = {f"{name} loss": loss.detach().flatten() for name, loss in losses.items()}
    for name, blocks in weights.items():
        assert all(tensor.grad.dtype == tensor.dtype for tensor in blocks.values())
        found[f"{name} gradient"] = torch.cat([t.grad.flatten() for t in blocks.values()])
    return found


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_resident_weights_are_rounded_once_and_masters_stay(make_model) -> None:
    model = GPTNeoX.from_pretrained_model(make_model(), Precision.BFLOAT16)
    before = {name: tensor.clone() for name, tensor in model.params.items()}
    model.clean_losses(torch.randint(0, 61, (2, 9)))
    name = "gpt_neox.layers.0.attention.dense.weight"
    assert model.operand(name).dtype == torch.bfloat16
    assert model.operand(name) is model.operand(name)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.params.items())
    assert all(tensor.dtype == torch.float32 for tensor in model.params.values())


@pytest.mark.parametrize("precision", ROUNDED)
def test_torchs_own_settings_are_put_back(precision: Precision) -> None:
    def settings() -> tuple[str, str]:
        backends = torch.backends
        return backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision

    before = settings()
    matmul(torch.randn(3, 3), torch.randn(3, 3), precision)
    with pytest.raises(RuntimeError):
        matmul(torch.randn(3, 3), torch.randn(4, 3), precision)
    assert settings() == before


@pytest.mark.parametrize("precision", ROUNDED)
def test_a_float64_model_cannot_be_rounded(make_model, precision: Precision) -> None:
    with pytest.raises(ValueError, match="needs a float32 model, found float64"):
        GPTNeoX.from_pretrained_model(make_model().double(), precision)
    with pytest.raises(ValueError, match="needs a float32 model, found float64"):
        ModelConfig(dtype="float64", precision=precision)
