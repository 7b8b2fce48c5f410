"""What a calibration costs and takes: counts, layouts of chains, ties between settings."""

from __future__ import annotations

import dataclasses
import math

import pytest

from spectro.calibrate.choose import Split, choose
from spectro.calibrate.law import Law, fit
from spectro.calibrate.responses import measure_responses
from spectro.calibrate.setting import Setting, best_setting
from spectro.config import SamplerConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.cost.flop_counter import counting
from spectro.models.cost.rows import scoring_budget
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.planning.calibration.config import MAX_DRAWS, CalibrateConfig
from spectro.planning.calibration.cost import chains_of, pilot_flops, sampler_of, with_split
from spectro.planning.calibration.pilot import Pilot
from spectro.planning.call_flops import sums_flops
from spectro.sampling.control import Control
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian, Psgld
from tests.calibrate.test_law import planted
from tests.conftest import MakeConfig


@pytest.mark.parametrize(
    ("num_draws", "layout"),
    [(2, (1, 2)), (4, (2, 2)), (6, (3, 2)), (8, (4, 2)), (10, (1, 10)), (64, (4, 16))],
)
def test_draws_are_whole_pairs_in_as_many_chains_as_have_a_use(
    num_draws: int, layout: tuple[int, int]
) -> None:
    assert chains_of(num_draws) == layout


def test_a_proposed_run_keeps_what_was_asked_for(make_config: MakeConfig) -> None:
    config = make_config(control=True)
    for nbeta, kind in ((0.0, Gaussian), (10.0, Reweighted)):
        sampler = sampler_of(config, 100.0, nbeta)
        assert isinstance(sampler, kind) and (sampler.gamma, sampler.nbeta) == (100.0, nbeta)
        run = with_split(config, sampler, 5, 8)
        assert run.tokens.num_probe_sequences == 5
        assert run.chain.num_chains * run.chain.num_draws == 8
        # at nbeta 0 the run is its own control, above it the same draws give one
        assert run.control is (Control.SHARED if nbeta else Control.NONE)
        without = dataclasses.replace(config, control=Control.NONE)
        assert with_split(without, sampler, 5, 8).control is Control.NONE
    assert with_split(config, sampler, 5, 6).chain == config.chain  # its 2 chains of 3 draws


@pytest.mark.parametrize(
    "asked", [Gaussian(), Psgld(), Reweighted()], ids=lambda s: type(s).__name__
)
def test_the_proposed_control_is_of_the_same_draws(
    make_config: MakeConfig, asked: SamplerConfig
) -> None:
    """Whatever the control of the sampler that was asked for is."""
    config = make_config(sampler=asked, control=True)
    sampler = sampler_of(config, 300.0, 10.0)
    with_control, without = (
        with_split(dataclasses.replace(config, control=control), sampler, 64, 8)
        for control in (Control.DEFAULT, Control.NONE)
    )
    assert list(with_control.parts) == ["", "control"] and list(without.parts) == [""]
    assert with_control.parts["control"].seed == with_control.seed


def test_more_draws_than_are_considered_are_refused_by_name() -> None:
    assert CalibrateConfig(min_draws=MAX_DRAWS).min_draws == 256
    with pytest.raises(ValueError, match=r"calibrate\.min_draws must be at most 256, .*found 258"):
        CalibrateConfig(min_draws=258)


def test_flops_of_a_pilot_are_those_that_are_done(make_config: MakeConfig) -> None:
    """But for the running sums of a tile, which a pilot does not make."""
    settings = CalibrateConfig(budget_minutes=1, num_tokens=256, num_draws=8)
    pilot = Pilot.of(make_config(), settings)
    config = with_split(pilot.config, sampler_of(pilot.config, 300.0, 0.0), 8, 8)
    groups = groups_of(config, pilot.size)
    parts = [group_model(pilot.model, group) for group in groups]
    assert pilot.probe.shape == (16, 17)  # 2 subsets of 8 sequences
    with counting() as counter:
        measure_responses(
            parts, 300.0, 8, pilot.probe, pilot.evaluation, KeyedRandomness(seed=0),
            Scoring(budget=scoring_budget(pilot.model)),
        )  # fmt: skip
    num_components = sum(len(group.components) for group in groups)
    sums = 8 * num_components * sums_flops(256)
    assert counter.get_total_flops() + sums == pilot_flops(config, pilot.size, 8)


def _setting(gamma: float, doublings: float) -> Setting:
    """A setting whose law lies so many doublings higher."""
    cells = [
        dataclasses.replace(c, shared=2**doublings * c.shared, error=2**doublings * c.error)
        for c in planted(e=0.5, b=1.0, half=8.0)
    ]
    law = fit(cells)
    assert isinstance(law, Law)
    split = Split(num_sequences=1, num_tokens=8000, num_draws=4, cost_seconds=1.0)
    return Setting(
        gamma=gamma, nbeta=0.0, damage=0.0, damaged="", cells=tuple(cells), law=law,
        choice=choose([split], law),
    )  # fmt: skip


def test_what_was_asked_for_is_kept_where_nothing_leads_it() -> None:
    low, high = _setting(100.0, 0.0), _setting(300.0, 1.0)
    assert best_setting([low, high], (100.0, 0.0)) == (high, True)  # a whole doubling ahead
    near = _setting(300.0, 0.01)  # the law itself is taken to be off by 0.05 doublings
    assert best_setting([low, near], (100.0, 0.0)) == (low, False)
    assert best_setting([low, near], (30.0, 0.0)) == (near, False)
    with pytest.raises(ValueError, match="no setting could be judged"):
        best_setting([dataclasses.replace(low, law=None)], (100.0, 0.0))
    assert math.isnan(dataclasses.replace(low, choice=None).log2_value)
