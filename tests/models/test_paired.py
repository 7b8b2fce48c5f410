"""Variants with sequences of their own: chains that step together, against each by itself."""

from __future__ import annotations

import pytest
import torch

from spectro.models.components import FULL_GROUP, Group, all_components, group_components
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model

VARIANTS = {
    "parallel": {},
    "sequential": {"use_parallel_residual": False},
    "no_attention_bias": {"attention_bias": False},
}


def every_group() -> list[Group]:
    components = all_components(3, 4)
    without_heads = tuple(c for c in components if c.head is None)
    some_heads = tuple(c for c in components if c.layer == 1 and c.head in (0, 2))
    return [
        *group_components(components),
        *group_components(without_heads),
        *group_components(some_heads),
        FULL_GROUP,
    ]


@pytest.mark.parametrize("num_chains", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_chains_together_equal_each_by_itself(make_model, variant: str, num_chains: int) -> None:
    """Values and gradients in float64, for every kind of component."""
    model = GPTNeoX.from_pretrained_model(make_model(**VARIANTS[variant]).double())
    batch = 2
    ids = torch.randint(0, 61, (num_chains * batch, 12))
    for group in every_group():
        part = group_model(model, group)
        weights = {
            name: {
                b: t + 0.1 * torch.randn(num_chains, *t.shape).double()
                for b, t in part.weights(name).items()
            }
            for name in part.names
        }
        together = {n: {b: t.requires_grad_() for b, t in w.items()} for n, w in weights.items()}
        losses = part.losses(part.prepare(ids), together, paired=True)
        assert list(losses) == list(part.names)
        upstream = torch.randn(num_chains, batch, 11).double()
        torch.stack([(loss * upstream).sum() for loss in losses.values()]).sum().backward()
        for chain in range(num_chains):
            own_ids = ids[chain * batch : (chain + 1) * batch]
            clean = part.prepare(own_ids)
            for name in part.names:
                alone = {
                    b: t.detach()[chain : chain + 1].clone().requires_grad_()
                    for b, t in weights[name].items()
                }
                expected = part.losses(clean, {name: alone})[name][0]
                (expected * upstream[chain]).sum().backward()
                torch.testing.assert_close(losses[name][chain], expected, rtol=1e-10, atol=1e-12)
                for block, tensor in alone.items():
                    found = together[name][block].grad[chain]
                    torch.testing.assert_close(found, tensor.grad[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["l1", "embed", "unembed", "full"])
def test_sequences_that_cannot_be_shared_out_are_refused(make_model, name: str) -> None:
    model = GPTNeoX.from_pretrained_model(make_model())
    part = group_model(model, next(g for g in every_group() if g.name == name))
    weights = {
        n: {b: t.expand(3, *t.shape) for b, t in part.weights(n).items()} for n in part.names
    }
    clean = part.prepare(torch.randint(0, 61, (4, 9)))
    with pytest.raises(ValueError, match="4 sequences cannot be shared out equally among 3"):
        part.losses(clean, weights, paired=True)


def test_components_with_different_numbers_of_chains_are_refused(make_model) -> None:
    model = GPTNeoX.from_pretrained_model(make_model())
    part = group_model(model, next(g for g in every_group() if g.name == "l1"))
    weights = {
        n: {b: t.expand(1 + (n == "l1mlp"), *t.shape) for b, t in part.weights(n).items()}
        for n in part.names
    }
    with pytest.raises(ValueError, match="differ in their number of variants"):
        part.losses(part.prepare(torch.randint(0, 61, (4, 9))), weights, paired=True)
