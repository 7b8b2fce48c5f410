"""Pilots that are broken off and gone on with: the same moments to the last bit (CPU)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from spectro.config import PipelineConfig
from spectro.formats.chain_names import pilot_name
from spectro.formats.chain_records import read_pilot
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import PilotUnit
from spectro.models.components import (
    FULL_GROUP,
    Group,
    all_components,
    group_components,
    select_components,
)
from spectro.models.config import ScoringConfig
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential
from spectro.storage.store import Store
from spectro.work.errors import HandedBack
from spectro.work.progress import Progress
from tests.run.broken_units import Leaves

MakeConfig = Callable[..., PipelineConfig]
LONG = ChainConfig(
    num_chains=2, num_draws=40, batch_size=4, steps_between_draws=4, num_burnin_steps=1
)
"""Long enough that reference chains may take as many gradients as they need."""
LAYER = group_components(select_components(["l1*"], all_components(2, 2)))[0]
CASES = {
    "reweighted": (Reweighted(gamma=300.0, nbeta=10.0), LAYER),
    "mala": (Mala(gamma=100.0, nbeta=100.0, rho=0.01), LAYER),
    "exponential": (Exponential(gamma=300.0, nbeta=10.0, step_size=1e-3), FULL_GROUP),
}


class Killed(Exception):
    """The end of a worker in these tests."""


def resident_of(
    make_config: MakeConfig, tmp_path, name: str, case: str, checkpoint_seconds: float = 60.0
) -> ResidentModel:
    """A worker's model, and a run with tokens."""
    config = make_config(tmp_path / name, sampler=CASES[case][0], chain=LONG)
    config = dataclasses.replace(
        config,
        scoring=ScoringConfig(shortlist_size=16, max_shortlist_error=1.0),
        run=dataclasses.replace(config.run, checkpoint_seconds=checkpoint_seconds),
    )
    run_pipeline(config, Progress(), goal=Goal.TOKENS)
    return ResidentModel(config)


def attempt(resident: ResidentModel, group: Group, should_stop=lambda: False) -> list[float]:
    """Do the pilot with another worker; returns the shares that it reported."""
    another, shares = ResidentModel(resident.config), []
    another.hf_model = resident.hf_model  # nothing else is kept

    def on_progress(done: float, total: float) -> None:
        shares.append(done / total)

    STAGES.execute(PilotUnit(group=group), another, on_progress, should_stop)
    return shares


def expected(make_config: MakeConfig, tmp_path, case: str) -> bytes:
    """The pilot of a worker that nobody disturbs."""
    resident, group = resident_of(make_config, tmp_path, "whole", case), CASES[case][1]
    shares = attempt(resident, group)
    assert all(0 < share <= 1 for share in shares) and shares[-1] == 1
    if case != "reweighted":
        moments = read_pilot(resident.root, group.name).values()
        halved = {m.rho for m in moments} - {0.01}
        assert halved if case == "mala" else {m.source for m in moments} == {"metropolis"}
    return resident.root.read(pilot_name(group.name))


@pytest.mark.parametrize("case", CASES)
def test_pilots_go_on_where_they_were_handed_back(
    make_config: MakeConfig, tmp_path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every third pass or step, and every 16th; several batches of sequences."""
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", 12 * 16)
    whole, group = expected(make_config, tmp_path, case), CASES[case][1]
    for after in (2, 15):
        resident = resident_of(make_config, tmp_path, f"broken{after}", case)
        store, count = resident.root, 0
        while not store.exists(pilot_name(group.name)):
            try:
                attempt(resident, group, Leaves(after))
            except HandedBack:
                count += 1
                assert checkpoints(store, group) != []
        assert count > 2
        assert store.read(pilot_name(group.name)) == whole
        assert checkpoints(store, group) == []


@pytest.mark.parametrize("case", CASES)
def test_a_killed_pilot_goes_on_from_its_last_checkpoint(
    make_config: MakeConfig, tmp_path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", 12 * 16)
    whole, group = expected(make_config, tmp_path, case), CASES[case][1]
    resident = resident_of(make_config, tmp_path, "killed", case, checkpoint_seconds=1e-6)
    asked = 0

    def dies() -> bool:
        nonlocal asked
        asked += 1
        if asked > 6:
            raise Killed
        return False

    with pytest.raises(Killed):
        attempt(resident, group, dies)
    (state,) = checkpoints(resident.root, group)
    assert STAGES.leftovers(resident.root, resident.root.list()) == set()
    attempt(resident_of(make_config, tmp_path, "killed", case), group)
    assert resident.root.read(pilot_name(group.name)) == whole
    late = f"chains/{group.name}/state/{state}"
    resident.root.put(late, b"of a writer that was slower")
    assert STAGES.leftovers(resident.root, resident.root.list()) == {late}


def checkpoints(store: Store, group: Group) -> list[str]:
    """Names of the checkpoints of a group, within their folder."""
    return [name.rpartition("/")[2] for name in store.list(f"chains/{group.name}/state")]
