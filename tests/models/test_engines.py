"""Every family's engine against the universal one: losses and gradients of every component.

The universal engine is the model's own forward pass. In float64 transformers rounds RMS norms and
rotary angles to float32 in places; the norms are taken in float64 here, so that both sides are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from spectro.models.components import (
    Component,
    ComponentKind,
    Group,
    ParameterPattern,
    group_components,
)
from spectro.models.engine import FAMILIES, engine_of
from spectro.models.groups import group_model
from spectro.models.size import ModelSize
from tests.models.small_models import CASES, V, build, exact_norms

T, R, B = 17, 3, 4


@pytest.fixture(params=CASES)
def hf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    return exact_norms(build(request.param), monkeypatch)


def groups_of(size: ModelSize) -> list[Group]:
    """Standard components, all others of layer 1 and of no layer, and two definitions."""
    norms = ParameterPattern(parameters=r".*(norm|ln_)\w*(\.weight|\.bias)?.*")
    rows = ParameterPattern(
        parameters=r".*\.1\.(mlp|attn|attention|self_attn)\..*weight", ranges="2:9"
    )
    defined = [
        Component(name="norms", kind=ComponentKind.DEFINED, definition=(norms,)),
        Component(name="rows", kind=ComponentKind.DEFINED, definition=(rows,)),
    ]
    return list(group_components([*size.components, *others_of(size), *defined]))


def others_of(size: ModelSize) -> list[Component]:
    """Components of the other granularities, of one layer and of none."""
    return [c for c in chain(*size.granularities) if c.layer in (None, 1)]


def displaced(weights: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    return {
        block: (
            own + 0.1 * torch.randn((R, *own.shape), generator=noise, dtype=own.dtype)
        ).requires_grad_()
        for block, own in weights.items()
    }


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(5))


def test_logits_of_a_displaced_variant_are_the_models_own(hf: PreTrainedModel, ids: Tensor) -> None:
    fast, slow = engine_of(hf), engine_of(hf, universal=True)
    torch.testing.assert_close(fast.logits(ids), hf(ids).logits, rtol=1e-9, atol=1e-9)
    for group in groups_of(fast.shape):
        own, reference = group_model(fast, group), group_model(slow, group)
        for name in own.names:
            mine, theirs = (
                side.logits(
                    name, {b: w[1] for b, w in displaced(side.weights(name), 1).items()}, ids
                )
                for side in (own, reference)
            )
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
            assert not torch.equal(theirs, slow.logits(ids))


def test_losses_and_gradients_are_those_of_the_models_own_forward(
    hf: PreTrainedModel, ids: Tensor
) -> None:
    fast, slow = engine_of(hf), engine_of(hf, universal=True)
    assert type(fast) is FAMILIES[hf.config.model_type]
    torch.testing.assert_close(fast.clean_losses(ids), slow.clean_losses(ids), rtol=1e-9, atol=1e-9)
    found = []
    for group in groups_of(fast.shape):
        own, reference = group_model(fast, group), group_model(slow, group)
        assert own.names == reference.names
        paired_ids = ids.repeat(R, 1)
        for paired in (False, True):
            given = paired_ids if paired else ids
            weights = {name: displaced(own.weights(name), 1) for name in own.names}
            others = {name: displaced(reference.weights(name), 1) for name in own.names}
            mine = own.losses(own.prepare(given), weights, paired=paired)
            theirs = reference.losses(reference.prepare(given), others, paired=paired)
            for name in own.names:
                torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-9)
                found.append(name)
            for (name, block), gradient, expected in zip(
                ((n, b) for n in own.names for b in weights[n]),
                gradients(mine, weights),
                gradients(theirs, others),
                strict=True,
            ):
                torch.testing.assert_close(
                    gradient,
                    expected,
                    rtol=1e-8,
                    atol=1e-9,
                    msg=lambda m, n=name, b=block: f"{n} {b}: {m}",
                )
    others = {component.name for component in others_of(fast.shape)}
    assert set(found) == {c.name for c in fast.shape.components} | others | {"norms", "rows"}


def gradients(losses: dict[str, Tensor], weights: dict[str, dict[str, Tensor]]) -> Iterator[Tensor]:
    leaves = [tensor for blocks in weights.values() for tensor in blocks.values()]
    total = sum(loss.square().sum() for loss in losses.values())
    return iter(torch.autograd.grad(total, leaves))


def test_the_components_of_a_model_hold_all_its_matrices_once(hf: PreTrainedModel) -> None:
    """Columns of chi divide the matrices among them; biases and norms may belong to none."""
    fast = engine_of(hf)
    counts = {name: torch.zeros_like(p) for name, p in fast.params.items()}
    for component in fast.shape.components:
        for part in fast.blocks(component).values():
            counts[part.parameter][part.index] += 1
    for name, count in counts.items():
        if "norm" in name or "ln_" in name or name.endswith("bias") or "wpe" in name:
            assert count.max() <= 1, name
        else:
            assert (count == 1).all(), name


def test_size_counts_the_models_weights(hf: PreTrainedModel) -> None:
    fast = engine_of(hf)
    biased = getattr(hf.config, "mlp_bias", False)  # Llama's optional ones are not in the size
    if not biased:
        assert fast.shape.num_weights == sum(p.numel() for p in hf.parameters())
        for component in [*fast.shape.components, *others_of(fast.shape)]:
            blocks = fast.blocks(component).values()
            own = sum(fast.params[p.parameter][p.index].numel() for p in blocks)
            assert fast.shape.weights_of(component) == own, component.name
