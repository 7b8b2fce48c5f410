"""Chains that step together are each what it is by itself, to rounding (float64)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.models.components import FULL_GROUP, Group, all_components, group_components
from spectro.models.cost.budget import RowBudget
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.sampling import advance as advance_module
from spectro.sampling.chain import ChainResult, GroupChains
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot import run_pilot
from spectro.sampling.recorder import NonFiniteLossError
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Blocks, Exponential, Psgld, Sgld

VOCAB, CONTEXT, NUM_CHAINS = 31, 12, 3
GROUPS: tuple[Group, ...] = (*group_components(all_components(2, 2)), FULL_GROUP)
SAMPLERS: dict[str, Sampler] = {
    "psgld": Psgld(gamma=30.0, nbeta=10.0, step_size=5e-3),
    "psgld_sampled": Psgld(gamma=30.0, nbeta=10.0, step_size=5e-3, vocabulary_sample=12),
    "exponential": Exponential(gamma=30.0, nbeta=10.0, step_size=2e-2),
    "reweighted": Reweighted(gamma=300.0, nbeta=10.0, min_effective_fraction=0.7),
}
FIXED = ChainConfig(
    num_chains=NUM_CHAINS, num_draws=5, batch_size=2, steps_between_draws=2, num_burnin_steps=0
)
SCHEDULES = {
    "fixed": dataclasses.replace(FIXED, num_burnin_steps=2),
    "measured": dataclasses.replace(
        FIXED, steps_between_draws=None, max_draw_correlation=0.3, num_burnin_steps=2
    ),
    "reliable": dataclasses.replace(
        FIXED, num_draws=12, draws_per_block=2, target_reliability=0.4, steps_between_draws=1
    ),
    "measured_and_reliable": dataclasses.replace(
        FIXED,
        num_draws=8,
        draws_per_block=2,
        target_reliability=0.4,
        steps_between_draws=None,
        num_burnin_steps=1,
    ),
}


@pytest.fixture(scope="module")
def model() -> GPTNeoX:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        initializer_range=0.4,
        tie_word_embeddings=False,
    )
    return GPTNeoX.from_pretrained_model(GPTNeoXForCausalLM(config).double().eval())


@pytest.fixture(scope="module")
def ids() -> Tensor:
    stream = torch.Generator().manual_seed(1)
    return torch.randint(0, VOCAB, (6, CONTEXT + 1), generator=stream)


def run(part, sampler: Sampler, ids: Tensor, config: ChainConfig, chains, **more):
    randomness = KeyedRandomness(seed=5)
    pilot = more.pop("pilot", None)
    if pilot is None:
        pilot = run_pilot(part, sampler, ids, randomness) if isinstance(sampler, Mala) else {}
    settings = {"randomness": randomness, "pilot": pilot, **more}
    options = {key: settings.pop(key) for key in ("sinks", "on_step") if key in settings}
    group = GroupChains(
        part=part, sampler=sampler, config=config, sampling_ids=ids, evaluation_ids=ids, **settings
    )
    return group.run(chains, **options)


def require_same(found: ChainResult, expected: ChainResult) -> None:
    assert list(found.components) == list(expected.components)
    for name, own in expected.components.items():
        other = found.components[name]
        assert other.independent == own.independent
        assert other.steps_between_draws == own.steps_between_draws
        for field in ("delta_loss", "weight", "step_loss"):
            a, b = getattr(other, field), getattr(own, field)
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11, err_msg=f"{name} {field}")
        assert other.acceptance == pytest.approx(own.acceptance, rel=1e-8, nan_ok=True)
        assert other.reliability == pytest.approx(own.reliability, rel=1e-6, nan_ok=True)
        draws = slice(0, len(own.delta_loss))
        for block, tensor in expected.draws.read(name, draws).items():
            torch.testing.assert_close(
                found.draws.read(name, draws)[block], tensor, rtol=1e-8, atol=1e-11
            )


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_chain_is_what_it_is_by_itself(
    model: GPTNeoX, ids: Tensor, sampler: str, schedule: str
) -> None:
    """Every kind of component, also where it ends after other numbers of steps in each chain."""
    for group in GROUPS:
        part = group_model(model, group)
        given = (part, SAMPLERS[sampler], ids, SCHEDULES[schedule])
        rule, randomness = SAMPLERS[sampler], KeyedRandomness(seed=5)
        pilot = run_pilot(part, rule, ids, randomness) if isinstance(rule, Mala) else {}
        together = run(*given, range(NUM_CHAINS), pilot=pilot)
        assert list(together) == list(range(NUM_CHAINS))
        for chain, found in together.items():
            alone = run(*given, [chain], pilot=pilot)
            require_same(found, alone[chain])


@pytest.mark.parametrize("sampler", ["psgld", "psgld_sampled"])
def test_company_budget_and_blocks_do_not_matter(model: GPTNeoX, ids: Tensor, sampler: str) -> None:
    part = group_model(model, GROUPS[2])
    config = SCHEDULES["fixed"]
    whole = run(part, SAMPLERS[sampler], ids, config, range(NUM_CHAINS))
    for chains in ([2, 0], [1]):
        for sequences in (1, 4):  # less than one of each chain; more
            budget = RowBudget(rows=CONTEXT * len(part.names) * sequences)
            small = dataclasses.replace(config, draws_per_block=2)
            found = run(part, SAMPLERS[sampler], ids, small, chains, stepping=budget)
            assert list(found) == chains
            for chain in chains:
                for name in part.names:
                    a, b = (r.draws.read(name, slice(0, 5)) for r in (found[chain], whole[chain]))
                    for block in b:
                        torch.testing.assert_close(a[block], b[block], rtol=1e-9, atol=1e-12)


def test_draws_go_to_their_chains_sinks(model: GPTNeoX, ids: Tensor) -> None:
    part = group_model(model, GROUPS[1])
    taken: dict[int, list[tuple[str, int, Blocks]]] = {0: [], 2: []}
    sinks = {c: lambda *block, c=c: taken[c].append(block) for c in taken}
    config = dataclasses.replace(FIXED, draws_per_block=2)
    run(part, SAMPLERS["exponential"], ids, config, [0, 2], sinks=sinks)
    kept = run(part, SAMPLERS["exponential"], ids, config, [0, 2])
    for chain, blocks in taken.items():
        assert {(name, first) for name, first, _ in blocks} == {
            (name, first) for name in part.names for first in (0, 2, 4)
        }
        for name, first, draws in blocks:
            for block, tensor in draws.items():
                whole = kept[chain].draws.read(name, slice(0, 5))[block]
                assert torch.equal(tensor, whole[first : first + len(tensor)])


def test_steps_are_those_of_the_components_and_chains_that_are_left(
    model: GPTNeoX, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Component n of chain c steps min(max over chains, max over components) times."""
    part, taken = group_model(model, GROUPS[1]), []
    real = advance_module.minibatch_gradients

    def counted(part, displacements, minibatches, budget, sample):
        for name, own in displacements.items():
            assert len(own) == len(minibatches)
            taken.append((name, len(own)))
        return real(part, displacements, minibatches, budget, sample)

    monkeypatch.setattr(advance_module, "minibatch_gradients", counted)
    config, every = SCHEDULES["reliable"], range(NUM_CHAINS)
    found = run(part, SAMPLERS["exponential"], ids, config, every)
    steps = {c: {n: len(o.step_loss) for n, o in r.components.items()} for c, r in found.items()}
    assert len({s for own in steps.values() for s in own.values()}) > 2, steps
    for name in part.names:
        of_name = max(own[name] for own in steps.values())
        expected = sum(min(of_name, max(own.values())) for own in steps.values())
        assert sum(count for other, count in taken if other == name) == expected


def test_progress_goes_up_to_its_end(model: GPTNeoX, ids: Tensor) -> None:
    for schedule in ("fixed", "reliable"):
        seen: list[tuple[int, int]] = []
        run(
            group_model(model, GROUPS[1]),
            SAMPLERS["exponential"],
            ids,
            SCHEDULES[schedule],
            range(2),
            on_step=lambda done, total, seen=seen: seen.append((done, total)),
        )
        assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
        assert seen[-1][0] == seen[-1][1]


def test_a_chain_that_diverges_is_named(model: GPTNeoX, ids: Tensor) -> None:
    part = group_model(model, GROUPS[0])
    wild = Sgld(gamma=1e-3, nbeta=1e300, step_size=1e3)
    with pytest.raises(NonFiniteLossError, match=r"component embed, chain 1, step"):
        run(part, wild, ids, FIXED, [1, 2])
