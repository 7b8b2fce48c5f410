"""Estimates of peak memory against the allocator's real peak: never below, never far above."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peak import peak_bytes
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.models.components import FULL_GROUP, Group, all_components, group_components
from spectro.models.cost.budget import RowBudget
from spectro.models.cost.memory import resident_bytes, scoring_bytes, stepping_bytes
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.models.size import ModelSize
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.samplers import Exponential, Gaussian

SHAPES: dict[str, dict[str, Any]] = {
    "parallel": {},
    "sequential": {"use_parallel_residual": False},
    "vocabulary": {"vocab_size": 5000, "num_hidden_layers": 2},
    "many_heads": {"num_attention_heads": 16, "hidden_size": 128, "intermediate_size": 512},
    "deep_and_wide": {"num_hidden_layers": 8, "intermediate_size": 512},
}
FAR_ABOVE = 3


@pytest.fixture(params=SHAPES)
def model(request) -> GPTNeoX:
    settings = {
        "vocab_size": 101,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "max_position_embeddings": 256,
        **SHAPES[request.param],
    }
    torch.manual_seed(0)
    hf = GPTNeoXForCausalLM(GPTNeoXConfig(**settings, tie_word_embeddings=False))
    return GPTNeoX.from_pretrained_model(hf.eval().requires_grad_(False))


def some_groups(size: ModelSize) -> list[Group]:
    layers = {"l0", f"l{size.num_layers // 2}"}
    groups = group_components(all_components(size.num_layers, size.num_heads))
    return [*(g for g in groups if g.name in layers | {"embed", "unembed"}), FULL_GROUP]


def ids_of(size: ModelSize, num_seq: int, num_pos: int) -> torch.Tensor:
    return torch.randint(0, size.vocab_size, (num_seq, num_pos + 1))


@pytest.mark.parametrize(("num_seq", "num_variants"), [(4, 1), (2, 6), (1, 24)])
def test_scoring_stays_within_its_estimate(model: GPTNeoX, num_seq: int, num_variants: int) -> None:
    size, num_pos = model.shape, 96
    ids, scoring = ids_of(size, num_seq, num_pos), Scoring(budget=RowBudget(rows=10**9))
    for group in some_groups(size):
        part = group_model(model, group)
        weights = {name: part.weights(name) for name in part.names}
        source = gaussian_draws(weights, Gaussian(), 0, KeyedRandomness(seed=0))
        for component in (group.components[0], group.components[-1]):
            name = component.name
            wanted = [DrawSlice(0, name, slice(0, num_variants))]

            def score(part=part, source=source, wanted=wanted) -> None:
                for _ in pack_losses(part, ids, {0: source}, wanted, scoring):
                    pass

            real = peak_bytes(score)
            positions = num_seq * num_pos
            bound = scoring_bytes(
                size, [component], num_positions=positions, num_variants=num_variants
            )
            assert real <= bound, (group.name, name)
            assert bound <= FAR_ABOVE * real or name in ("unembed", "full"), (group.name, name)


@pytest.mark.parametrize(("num_chains", "num_seq"), [(1, 1), (1, 6), (3, 2)])
def test_a_step_stays_within_its_estimate(model: GPTNeoX, num_chains: int, num_seq: int) -> None:
    size, num_pos, sampler = model.shape, 96, Exponential()
    ids = ids_of(size, num_chains * num_seq, num_pos).view(num_chains, num_seq, -1)
    for group in some_groups(size):
        part = group_model(model, group)
        for components in (group.components[:1], group.components):
            names = [c.name for c in components]

            def step(part=part, names=names) -> None:
                states = {
                    name: [sampler.init(part.weights(name)) for _ in range(num_chains)]
                    for name in names
                }
                delta = {n: [state.displacement for state in own] for n, own in states.items()}
                _, gradients = minibatch_gradients(part, delta, ids)
                moved = []
                for name, own in states.items():
                    for chain, state in enumerate(own):
                        noise = {b: torch.randn_like(t) for b, t in state.displacement.items()}
                        gradient = {b: g[chain] for b, g in gradients[name].items()}
                        moved.append(sampler.step(state, gradient, noise))

            real = peak_bytes(step)
            bound = stepping_bytes(
                size,
                components,
                num_positions=num_chains * num_seq * num_pos,
                num_chains=num_chains,
            )
            assert real <= bound, (group.name, names)
            assert bound <= FAR_ABOVE * real or group.name == "unembed", (group.name, names)


def test_the_resident_model(model: GPTNeoX) -> None:
    size = model.shape
    held = sum(t.numel() * t.element_size() for t in model.params.values())
    assert resident_bytes(size) == held
    assert resident_bytes(size, 2) == held * 3 // 2
