"""Chains of a small GPT-NeoX: decisions, stopping, schedules, and what must not matter."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from spectro.models.components import all_components, group_components, select_components
from spectro.models.cost.budget import RowBudget, fit
from spectro.models.delta import DrawSlice, packs
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.sampling.chain import ChainResult, GroupChains
from spectro.sampling.config import ChainConfig
from spectro.sampling.effective_sample_size import ess_of_trace
from spectro.sampling.gradients import minibatch_gradients
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot import independent_components, run_pilot
from spectro.sampling.pilot.sampler_bias import mean_error
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Gaussian, Psgld
from spectro.susceptibility.score import ScoredChain, score_tile

VOCAB, CONTEXT = 31, 12
CONFIG = ChainConfig(
    num_chains=2, num_draws=6, batch_size=3, steps_between_draws=1, num_burnin_steps=0
)
SHARP = Reweighted(gamma=300.0, nbeta=10.0)


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
    return torch.randint(0, VOCAB, (8, CONTEXT + 1), generator=stream)


@pytest.fixture
def part(model: GPTNeoX):
    return group_model(model, group_components(select_components(["l1*"], all_components(2, 2)))[0])


def run(
    part, sampler: Sampler, ids: Tensor, config: ChainConfig = CONFIG, *, chain: int = 0, **more
) -> ChainResult:
    return run_together(part, sampler, ids, config, chains=[chain], **more)[chain]


RUN_OPTIONS = {"sinks", "on_step", "checkpoints", "left_out"}


def run_together(
    part, sampler: Sampler, ids: Tensor, config: ChainConfig = CONFIG, **more
) -> dict[int, ChainResult]:
    randomness = KeyedRandomness(seed=5)
    pilot = {} if isinstance(sampler, Gaussian) else run_pilot(part, sampler, ids, randomness)
    settings = {"randomness": randomness, "pilot": pilot, **more}
    chains = settings.pop("chains")
    options = {key: settings.pop(key) for key in RUN_OPTIONS & settings.keys()}
    group = GroupChains(
        part=part, sampler=sampler, config=config, sampling_ids=ids, evaluation_ids=ids, **settings
    )
    return group.run(chains, **options)


def test_the_pilot_decides_by_component(part, ids: Tensor) -> None:
    """A component whose loss hardly moves is drawn without a chain, others are stepped."""
    pilot = run_pilot(part, SHARP, ids, KeyedRandomness(seed=5))
    fractions = {name: moments.effective_fraction for name, moments in pilot.items()}
    middle = sorted(fractions.values())[1]
    sampler = dataclasses.replace(SHARP, min_effective_fraction=middle)
    alone = independent_components(sampler, pilot)
    assert alone == {name for name, f in fractions.items() if f >= middle}
    assert 0 < len(alone) < 3
    result = run(part, sampler, ids)
    assert {n for n, c in result.components.items() if c.independent} == alone
    for found in result.components.values():
        assert (len(found.step_loss) == 0) == found.independent == (not found.corrected)


def test_independent_draws_are_weighted_by_their_loss(part, ids: Tensor) -> None:
    """ω ∝ exp(−nβ ΔL), with one scale for all chains."""
    sampler = dataclasses.replace(SHARP, nbeta=3.0, min_effective_fraction=0.125)
    for chain in range(2):
        for name, found in run(part, sampler, ids, chain=chain).components.items():
            center = run_pilot(part, sampler, ids, KeyedRandomness(seed=5))[name].prior_delta_loss
            expected = np.exp(-sampler.nbeta * (found.delta_loss - center))
            np.testing.assert_allclose(found.weight, expected, rtol=1e-12)


def test_a_component_that_is_reliable_enough_takes_no_more_draws(part, ids: Tensor) -> None:
    """Checked after whole blocks; others go on, and their draws are not changed by it."""
    long = dataclasses.replace(CONFIG, num_draws=24, draws_per_block=4)
    for sampler in (Gaussian(gamma=30.0), Exponential(gamma=30.0, step_size=1e-2)):
        whole = run(part, sampler, ids, long).components
        final = sorted(found.reliability for found in whole.values())
        target = 0.5 * (final[1] + final[2])
        stopped = run(
            part, sampler, ids, dataclasses.replace(long, target_reliability=target)
        ).components
        lengths = {name: len(found.delta_loss) for name, found in stopped.items()}
        assert min(lengths.values()) < 24
        for name, found in stopped.items():
            count = lengths[name]
            assert count % 4 == 0
            assert count == 24 or found.reliability >= target
            np.testing.assert_allclose(found.delta_loss, whole[name].delta_loss[:count], rtol=1e-9)


def test_steps_between_draws_are_found_from_the_chains_own_memory(part, ids: Tensor) -> None:
    """Without loss ρ = exp(−εDγ/2) with D ≈ 1/a: ρ^k ≤ 0.1 first at k = ln 0.1 / ln ρ."""
    for rate in (0.3, 0.8, 5.0):  # εγ/2a
        sampler = Exponential(gamma=300.0, nbeta=0.0, damping=1e3, step_size=rate * 2e3 / 300.0)
        config = dataclasses.replace(CONFIG, steps_between_draws=None, num_burnin_steps=4)
        result = run(part, sampler, ids, config)
        expected = int(np.ceil(np.log(0.1) / -rate))
        for found in result.components.values():
            # The cosine of n weights has an error of 1/√n: a step more or less at the small heads.
            assert abs(found.steps_between_draws - expected) <= 1
            assert len(found.delta_loss) == 6


def test_blocks_and_lots_do_not_change_a_chain(part, ids: Tensor) -> None:
    sampler = Psgld(gamma=300.0, nbeta=10.0, step_size=1e-4)
    whole = run(part, sampler, ids)
    small = run(
        part,
        sampler,
        ids,
        dataclasses.replace(CONFIG, draws_per_block=2),
        scoring=Scoring(budget=RowBudget(rows=CONTEXT)),
        stepping=RowBudget(rows=CONTEXT),
    )
    for name in part.names:
        for block, tensor in whole.draws.read(name, slice(0, 6)).items():
            found = small.draws.read(name, slice(0, 6))[block]
            torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12)


def test_gradients_by_lots_are_those_of_the_minibatch(part, ids: Tensor) -> None:
    """One sequence of one chain at a time, of two chains, two of each, all of each."""
    moved = {
        n: [{b: c * w for b, w in part.weights(n).items()} for c in (0.1, -0.2, 0.3)]
        for n in part.names
    }
    batches = ids[:6].view(3, 2, -1)
    losses, gradients = minibatch_gradients(part, moved, batches)
    for sequences in (0, 1, 2, 3, 5, 6):
        budget = RowBudget(rows=max(1, CONTEXT * 3 * sequences))
        by_lots, found = minibatch_gradients(part, moved, batches, budget)
        for name in part.names:
            torch.testing.assert_close(by_lots[name], losses[name])
            for block, gradient in gradients[name].items():
                torch.testing.assert_close(found[name][block], gradient)


def test_memory_that_runs_out_halves_the_batch_and_is_said(
    part, ids: Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pass of more than 40 rows fails, as on a full device; the result is the same."""
    gaussian = run(part, Gaussian(gamma=300.0), ids)
    scored = {
        0: ScoredChain(
            draws=gaussian.draws,
            delta_loss={n: c.delta_loss for n, c in gaussian.components.items()},
            weight={n: c.weight for n, c in gaussian.components.items()},
        )
    }
    expected = score_tile(part, scored, ids)
    real = part.losses

    def scarce(clean, weights):
        rows = sum(len(w["qkv_weight" if "h" in n else "up_bias"]) for n, w in weights.items())
        if rows * clean.targets_BT.numel() > 40:
            raise torch.OutOfMemoryError("out of memory on a small device\nand so on")
        return real(clean, weights)

    monkeypatch.setattr(part, "losses", scarce)
    budget = RowBudget(rows=400)
    with caplog.at_level(logging.WARNING):
        found = score_tile(part, scored, ids, scoring=Scoring(budget=budget))
    assert budget.rows == 25
    assert "going on with 25 rows" in caplog.text
    assert "and so on" not in caplog.text
    for name in part.names:
        np.testing.assert_allclose(found[name].plain_CN, expected[name].plain_CN, rtol=1e-6)


def test_what_is_no_lack_of_memory_is_not_tried_again() -> None:
    calls = []

    def broken() -> None:
        calls.append(1)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fit(RowBudget(rows=8), broken)
    assert calls == [1]


def test_memory_for_one_row_is_needed() -> None:
    def hungry() -> None:
        raise torch.OutOfMemoryError("never enough")

    with pytest.raises(torch.OutOfMemoryError):
        fit(RowBudget(rows=8), hungry)


@pytest.mark.parametrize("together", [1, 4, 5, 100])
def test_packs_hold_every_draw_once_and_are_full(together: int) -> None:
    wanted = [DrawSlice(c, n, slice(2, 9)) for n in ("a", "b") for c in range(3)]
    found = list(packs(wanted, together))
    sizes = [sum(p.draws.stop - p.draws.start for p in pack) for pack in found]
    assert sizes == [together] * (42 // together) + [42 % together] * (42 % together > 0)
    flat = [(p.component, p.chain, d) for pack in found for p in pack for d in range(100)[p.draws]]
    assert flat == [(n, c, d) for n in ("a", "b") for c in range(3) for d in range(2, 9)]


def test_metropolis_chains_have_the_law_of_the_weighted_draws(part, ids: Tensor) -> None:
    """Two ways to the same posterior of a transformer's components, without a common line."""
    posterior = {"gamma": 300.0, "nbeta": 5.0}
    many = dataclasses.replace(CONFIG, num_draws=400)
    weighted = run(
        part, Reweighted(**posterior, min_effective_fraction=0.125), ids, many
    ).components
    config = dataclasses.replace(CONFIG, num_draws=40, steps_between_draws=None, num_burnin_steps=8)
    stepped = run_together(part, Mala(**posterior), ids, config, chains=[0, 1])
    for name, draws in weighted.items():
        share = draws.weight / draws.weight.sum()
        mean = float(share @ draws.delta_loss)
        error = float(np.sqrt(((share * (draws.delta_loss - mean)) ** 2).sum()))
        chains = [result.components[name] for result in stepped.values()]
        assert draws.independent and all(chain.corrected for chain in chains)
        difference = np.concatenate([c.delta_loss for c in chains]).mean() - mean
        assert abs(difference) < 4 * np.hypot(error, mean_error(chains)), name


def test_effective_sample_size_of_an_autoregressive_trace() -> None:
    """τ = (1 + r)/(1 − r); the mean of 16 estimates, each within a third or so, to 10 %."""
    stream, r = np.random.default_rng(0), 0.6
    traces = np.zeros((16, 2000))
    for t in range(1, traces.shape[1]):
        traces[:, t] = r * traces[:, t - 1] + stream.normal(size=16)
    found = np.mean([ess_of_trace(trace) for trace in traces])
    assert abs(found / (2000 * (1 - r) / (1 + r)) - 1) < 0.1
    assert ess_of_trace(np.ones(7)) == 7
    assert ess_of_trace(np.zeros(1)) == 1
