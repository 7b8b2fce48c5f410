"""Flops of calls without values, of any depth and vocabulary, are those of the real calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spectro.models.components import FULL, Group, group_components
from spectro.models.config import ScoringConfig
from spectro.models.cost.flop_counter import counting
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.size import ModelSize
from spectro.models.variant_losses import fit_top_k
from spectro.planning.call_flops import (
    call_flops,
    component_flops,
    list_setup_flops,
    model_flops,
)
from spectro.planning.model_sizes import published_sizes
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K

SHAPES: dict[str, dict[str, Any]] = {
    "parallel": {},
    "one_layer_one_head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "deep_and_wide": {
        "num_hidden_layers": 5,
        "hidden_size": 48,
        "num_attention_heads": 3,
        "intermediate_size": 192,
        "vocab_size": 333,
    },
    "deep_sequential_without_bias": {
        "num_hidden_layers": 5,
        "use_parallel_residual": False,
        "attention_bias": False,
    },
}


def counted(call: Callable[..., Any], *arguments: Any) -> int:
    with counting() as counter:
        call(*arguments)
    return int(counter.get_total_flops())


def every_group(size: ModelSize) -> list[Group]:
    """Standard components, and every other kind in the last layer and outside layers."""
    places = {None, size.num_layers - 1}
    others = [c for c in chain(*size.granularities) if c.layer in places and c.head in (None, 0)]
    return list(group_components([*size.components, *others]))


@pytest.fixture(params=SHAPES)
def model(request, make_model) -> GPTNeoX:
    return GPTNeoX.from_pretrained_model(make_model(**SHAPES[request.param]))


def test_size_is_that_of_the_checkpoint_and_counts_its_weights(request, make_model) -> None:
    for overrides in SHAPES.values():
        hf = make_model(**overrides)
        model = GPTNeoX.from_pretrained_model(hf)
        size = model.shape
        assert size == ModelSize.of_config(hf.config.to_dict())
        assert size.num_weights == sum(p.numel() for p in hf.parameters())
        for group in every_group(size):
            part = group_model(model, group)
            for component in group.components:
                real = sum(t.numel() for t in part.weights(component.name).values())
                assert size.weights_of(component) == real


@pytest.mark.parametrize(("num_seq", "num_pos"), [(1, 1), (3, 9)])
def test_every_call_of_every_group(model: GPTNeoX, num_seq: int, num_pos: int) -> None:
    size, shape = model.shape, (num_seq, num_pos)
    ids = torch.randint(0, size.vocab_size, (num_seq, num_pos + 1))
    for group in every_group(size):
        part = group_model(model, group)
        with torch.no_grad():
            assert counted(part.prepare, ids) == call_flops(size, group, *shape).prepare
            clean = part.prepare(ids)
            assert counted(part.clean_losses, clean) == call_flops(size, group, *shape).clean_losses
            for component in group.components:
                for variants in (1, 3):
                    weights = {
                        block: tensor.expand(variants, *tensor.shape)
                        for block, tensor in part.weights(component.name).items()
                    }
                    real = counted(part.losses, clean, {component.name: weights})
                    assert real == variants * component_flops(size, component, *shape).losses, (
                        component.name
                    )


def test_a_step_of_every_component_alone_and_together(model: GPTNeoX) -> None:
    size, shape = model.shape, (2, 9)
    ids = torch.randint(0, size.vocab_size, (2, 10))
    for group in every_group(size):
        part = group_model(model, group)
        at_rest = {
            name: [{block: torch.zeros_like(t) for block, t in part.weights(name).items()}]
            for name in part.names
        }
        prepared = call_flops(size, group, *shape).prepare
        whole = counted(minibatch_gradients, part, at_rest, ids[None])
        assert whole == prepared + sum(
            component_flops(size, c, *shape).gradient for c in group.components
        )
        for c in group.components:
            alone = counted(minibatch_gradients, part, {c.name: at_rest[c.name]}, ids[None])
            assert alone == prepared + component_flops(size, c, *shape).gradient, c.name


def test_of_the_whole_model(model: GPTNeoX) -> None:
    size = model.shape
    ids = torch.randint(0, size.vocab_size, (2, 10))
    assert counted(model.clean_losses, ids) == model_flops(size, 2, 9)


def test_lists_of_every_group_that_has_them(model: GPTNeoX) -> None:
    size, shape = model.shape, (2, 9)
    num_listed = size.vocab_size // 16
    ids = torch.randint(0, size.vocab_size, (2, 10))
    config = ScoringConfig(shortlist_size=num_listed)
    assert counted(fit_top_k, model, config, ids) == list_setup_flops(size, *shape, num_listed)
    for group in every_group(size):
        if group.name in WITHOUT_TOP_K:
            continue
        part = group_model(model, group)
        fit = fit_top_k(model, config, ids)
        assert fit is not None
        fit = dataclasses.replace(fit, components=frozenset(part.names))
        with torch.no_grad():
            made = call_flops(size, group, *shape, num_listed).prepare
            assert counted(part.prepare, ids, fit) == made
            clean = part.prepare(ids, fit)
            for c in group.components:
                weights = {b: t.expand(3, *t.shape) for b, t in part.weights(c.name).items()}
                real = counted(part.losses, clean, {c.name: weights})
                assert real == 3 * component_flops(size, c, *shape, num_listed).losses, c.name


def test_counts_of_a_published_shape() -> None:
    """Pythia-1.4B at T = 1024, as the formulas of ADR 045 had them."""
    size, shape = published_sizes()["pythia-1.4b"], (3, 1024)
    groups = {group.name: group for group in every_group(size)}
    l12 = groups["l12"]
    head, mlp = l12.components[5], l12.components[-1]
    assert model_flops(size, *shape) == 8_673_149_583_360
    assert call_flops(size, l12, *shape).prepare == 4_483_945_857_024
    assert call_flops(size, l12, *shape).clean_losses == 4_318_052_745_216
    assert call_flops(size, l12, *shape, 1024).prepare == 4_483_945_857_024 + 4_951_023_550_464
    assert component_flops(size, head, *shape).losses == 4_326_105_808_896
    assert component_flops(size, mlp, *shape).losses == 4_524_211_175_424
    assert component_flops(size, head, *shape, 1024).losses == 3_731_814_875_136
    assert component_flops(size, head, *shape).gradient == 9_081_439_911_936
    assert component_flops(size, mlp, *shape).gradient == 9_576_703_328_256
    assert component_flops(size, FULL, *shape).gradient == 26_961_657_200_640
    assert list_setup_flops(size, 4, 1024, 1024) == 11_986_386_026_496


def test_a_config_without_its_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lacks intermediate_size, vocab_size"):
        ModelSize.of_config({"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8})


class Products(TorchDispatchMode):
    """Names of the operations that multiply matrices, whether the counter knows them or not."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Any] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(word in str(func) for word in ("mm", "attention", "matmul", "dot", "mv")):
            self.seen.add(func.overloadpacket)
        return func(*args, **(kwargs or {}))


def test_no_product_of_a_step_is_unknown_to_the_counter(model: GPTNeoX) -> None:
    size = model.shape
    ids = torch.randint(0, size.vocab_size, (2, 10))
    with Products() as products:
        for group in every_group(size):
            part = group_model(model, group)
            for name in part.names:
                at_rest = {b: torch.zeros_like(t) for b, t in part.weights(name).items()}
                minibatch_gradients(part, {name: [at_rest]}, ids[None])
    assert products.seen
    assert products.seen <= counting().flop_registry.keys()
