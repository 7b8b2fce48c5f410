"""Budgets and the plan's memory model against what the engine holds on the pretended device."""

from __future__ import annotations

import pytest

from spectro.models.components import Group
from spectro.models.cost.budget import RowBudget
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.scoring import Scoring
from spectro.planning.call_memory import CallShape, scoring_bytes, step_bytes
from spectro.sampling.advance import advance, start
from spectro.sampling.config import ChainConfig
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala
from spectro.sampling.samplers import Exponential, Gaussian, Sgld, Stepper
from tests.device.measured import (
    CONTEXT,
    ROWS,
    Settings,
    groups,
    measure,
    measured_model,
    probe_ids,
)
from tests.device.pretended_device import pretended_cuda

EMBED, LAYER, UNEMBED, FULL = groups()
ABOVE = 1.35
"""The plan counts the same calls; what differs are draws that are made one by one."""
RANDOMNESS = KeyedRandomness(seed=0)


@pytest.mark.parametrize("group", [EMBED, LAYER, UNEMBED], ids=lambda group: group.name)
def test_rows_by_free_memory_never_run_out_of_it(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    """One megabyte beside the model: budgets are of the order of what passes take. (`full` is not
    here: states and draws of all weights are more than its passes.)"""
    settings = Settings(
        sampler=Exponential(step_size=1e-3),
        chain=ChainConfig(
            num_chains=2, num_draws=4, num_burnin_steps=1, steps_between_draws=1, batch_size=4
        ),
    )
    with pretended_cuda() as card:
        own = measured_model("cuda", rows=None)
        card.memory_bytes = card.held + 2**20
        rows = own.scoring_budget(False).rows
        measure(own, settings, group)
    assert 100 < rows < ROWS
    assert "out of memory" not in caplog.text


@pytest.mark.parametrize("group", [EMBED, LAYER, UNEMBED, FULL], ids=lambda group: group.name)
def test_the_plan_knows_what_scoring_holds(group: Group) -> None:
    component = group.components[-1]
    rows = 8 * CONTEXT
    with pretended_cuda() as card:
        own = measured_model("cuda")
        part = own.part(Group(name=group.name, components=(component,)))
        ids = probe_ids(own)
        weights = {component.name: part.weights(component.name)}
        draws = gaussian_draws(weights, Gaussian(), 0, RANDOMNESS)
        wanted = [DrawSlice(0, component.name, slice(0, 8))]
        before = card.held
        card.reset()
        for _ in pack_losses(part, ids, {0: draws}, wanted, Scoring(budget=RowBudget(rows=rows))):
            pass
        used = card.peak - before
    call = CallShape(size=own.model.shape, device_type="cuda", context=CONTEXT, rows=rows)
    planned = scoring_bytes(call, component, len(ids), num_draws=8)
    assert planned / ABOVE <= used <= planned * ABOVE


@pytest.mark.parametrize(
    "rule", [Sgld(), Exponential(), Mala()], ids=lambda rule: type(rule).__name__
)
@pytest.mark.parametrize("group", [EMBED, LAYER, UNEMBED, FULL], ids=lambda group: group.name)
def test_the_plan_knows_what_a_step_holds(group: Group, rule: Stepper | Mala) -> None:
    rows, names = 2 * CONTEXT * len(group.components), [c.name for c in group.components]
    with pretended_cuda() as card:
        own = measured_model("cuda")
        part = own.part(group)
        ids = own.sampling_ids[:4].view(1, 4, -1)
        before = card.held
        card.reset()
        states = {name: {0: start(rule, part.weights(name), name, 0, RANDOMNESS)} for name in names}
        advance(
            part, dict.fromkeys(names, rule), states, ids, 0, RANDOMNESS,
            adjusted=dict.fromkeys(names, True), budget=RowBudget(rows=rows),
        )  # fmt: skip
        used = card.peak - before
    call = CallShape(size=own.model.shape, device_type="cuda", context=CONTEXT, rows=rows)
    planned = step_bytes(call, group.components, rule, 4)
    assert planned / ABOVE <= used <= planned * ABOVE
