"""Units that are broken off and gone on with: the same bits as undisturbed ones (CPU)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from spectro.config import PipelineConfig
from spectro.formats.chain_names import block_name, record_name
from spectro.formats.chain_records import drop_draws, read_record
from spectro.formats.tiles import read_tile, tile_name
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import ChainUnit, PilotUnit, TileUnit
from spectro.models.components import (
    FULL_GROUP,
    Group,
    all_components,
    group_components,
    select_components,
)
from spectro.pipeline.run import Goal, run_pipeline
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from spectro.storage.store import ObjectInfo, Store
from spectro.work.errors import HandedBack
from spectro.work.progress import Progress
from tests.run.broken_units import Leaves, in_pieces, nothing

MakeConfig = Callable[..., PipelineConfig]
CHAIN = ChainConfig(
    num_chains=2,
    num_draws=6,
    batch_size=2,
    steps_between_draws=2,
    num_burnin_steps=1,
    draws_per_block=4,
)
MEASURED = dataclasses.replace(CHAIN, steps_between_draws=None, max_draw_correlation=0.3)
RELIABLE = dataclasses.replace(
    MEASURED, num_draws=8, draws_per_block=2, target_reliability=0.4, draw_dtype="bfloat16"
)
CASES = {
    "sgld": (Sgld(gamma=300.0, nbeta=10.0, step_size=1e-4), CHAIN),
    "psgld_measured": (Psgld(gamma=300.0, nbeta=10.0, step_size=5e-4), MEASURED),
    "psgld_sampled": (
        Psgld(gamma=300.0, nbeta=10.0, step_size=5e-4, vocabulary_sample=16),
        CHAIN,
    ),
    "exponential_reliable": (Exponential(gamma=300.0, nbeta=10.0, step_size=2e-2), RELIABLE),
    "mixed": (
        Reweighted(gamma=300.0, nbeta=10.0, min_effective_fraction=0.85),
        RELIABLE,
    ),
    "mala": (Mala(gamma=100.0, nbeta=100.0), CHAIN),
    "independent": (Gaussian(gamma=300.0), dataclasses.replace(CHAIN, draws_per_block=2)),
}
LAYER = group_components(select_components(["l1*"], all_components(2, 2)))[0]


def ready(make_config: MakeConfig, tmp_path, case: str, name: str, group: Group) -> ResidentModel:
    sampler, chain = CASES[case]
    config = make_config(tmp_path / name, sampler=sampler, chain=chain)
    run_pipeline(config, Progress(), goal=Goal.TOKENS)
    resident = ResidentModel(config)
    STAGES.execute(PilotUnit(group=group), resident, nothing)
    return resident


def plain(store: Store, name: str) -> object:
    """A marker but for the time that it took."""
    marker = json.loads(store.read(name))
    return {key: value for key, value in marker.items() if key not in ("seconds", "sha256")}


@pytest.mark.parametrize("case", CASES)
def test_chains_go_on_where_they_were_broken_off(
    make_config: MakeConfig, tmp_path, case: str
) -> None:
    """Markers and every block of draws, after leaving at every step and at every third."""
    unit = ChainUnit(group=LAYER, chains=(0, 1))
    whole = ready(make_config, tmp_path, case, "whole", LAYER)
    STAGES.execute(unit, whole, nothing)
    expected = whole.root.list("chains")
    for after in (0, 2):
        broken = ready(make_config, tmp_path, case, f"broken{after}", LAYER)
        assert in_pieces(unit, broken, after) > 0
        found = broken.root.list("chains")
        assert found.keys() == expected.keys()
        for name in expected:
            if name.endswith(".safetensors"):
                assert broken.root.read(name) == whole.root.read(name), name
        for name in unit.names:
            assert plain(broken.root, name) == plain(whole.root, name)
    if case == "mixed":
        kinds = {c.independent for c in read_record(whole.root, "l1", 0).components.values()}
        assert kinds == {True, False}


@pytest.mark.parametrize("case", ["mixed", "independent"])
def test_tiles_go_on_where_they_were_broken_off(
    make_config: MakeConfig, tmp_path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several batches of sequences, several passes each; stored draws in rounds (`full`)."""
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", 5 * 16)
    for group in (LAYER, FULL_GROUP):
        resident = ready(make_config, tmp_path, case, group.name, group)
        STAGES.execute(ChainUnit(group=group, chains=(0, 1)), resident, nothing)
        unit, store = TileUnit(group=group, shard=0), resident.root
        STAGES.execute(unit, resident, nothing)
        expected, _ = read_tile(store, 0, group.name)
        for after in (0, 3):
            store.delete(tile_name(0, group.name))
            assert in_pieces(unit, resident, after) > 2
            found, _ = read_tile(store, 0, group.name)
            for name, sums in expected.items():
                assert found[name].weighted_CN.tobytes() == sums.weighted_CN.tobytes()
                assert found[name].plain_CN.tobytes() == sums.plain_CN.tobytes()
            assert list(store.list("tiles")) == [tile_name(0, group.name)]


def test_stored_draws_of_all_weights_are_read_once_a_tile(
    make_config: MakeConfig, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four batches of sequences; sums as in one batch, to rounding."""
    resident = ready(make_config, tmp_path, "sgld", "run", FULL_GROUP)
    STAGES.execute(ChainUnit(group=FULL_GROUP, chains=(0, 1)), resident, nothing)
    unit, store = TileUnit(group=FULL_GROUP, shard=0), resident.root
    STAGES.execute(unit, resident, nothing)
    expected = read_tile(store, 0, "full")[0]["full"]
    store.delete(tile_name(0, "full"))
    monkeypatch.setattr("spectro.models.cost.memory.CPU_ROWS", 2 * 16)
    read: list[str] = []
    real = Store.read_hashed

    def counted(self: Store, name: str, size_bytes: int) -> tuple[memoryview, ObjectInfo]:
        read.append(name)
        return real(self, name, size_bytes)

    monkeypatch.setattr(Store, "read_hashed", counted)
    STAGES.execute(unit, ResidentModel(resident.config), nothing)
    blocks = [n for n in read if n.startswith("chains/full/") and n.endswith(".safetensors")]
    assert len(blocks) == len(set(blocks)) == 4
    found = read_tile(store, 0, "full")[0]["full"]
    scale = abs(expected.plain_CN).max()
    assert abs(found.plain_CN - expected.plain_CN).max() < 1e-5 * scale


def broken_chain(make_config: MakeConfig, tmp_path) -> tuple[ChainUnit, ResidentModel, str]:
    """A unit that was broken off once, and its checkpoint."""
    unit = ChainUnit(group=LAYER, chains=(0, 1))
    resident = ready(make_config, tmp_path, "sgld", "run", LAYER)
    with pytest.raises(HandedBack):
        STAGES.execute(unit, resident, nothing, Leaves(9))
    (state,) = resident.root.list("chains/l1/state")
    return unit, resident, state


def test_a_damaged_checkpoint_is_passed_over(make_config: MakeConfig, tmp_path, caplog) -> None:
    unit, resident, state = broken_chain(make_config, tmp_path)
    store = resident.root
    data = bytearray(store.read(state))
    store.delete(state)
    store.put(state, bytes(data[: len(data) // 2]))
    STAGES.execute(unit, resident, nothing)
    assert "is damaged" in caplog.text
    assert STAGES.leftovers(store, store.list()) == {state}  # it is nobody's now


def test_a_checkpoint_without_its_draws_is_passed_over(make_config: MakeConfig, tmp_path) -> None:
    unit, resident, _ = broken_chain(make_config, tmp_path)
    store = resident.root
    assert STAGES.leftovers(store, store.list()) == set()
    lost = next(n for n in store.list("chains/l1/0") if n.endswith("safetensors"))
    store.delete(lost)
    STAGES.execute(unit, resident, nothing)
    assert lost in store.list()


@pytest.mark.parametrize("checkpoint", [True, False])
def test_between_two_markers_the_company_goes_on_as_it_was(
    make_config: MakeConfig, tmp_path, checkpoint: bool
) -> None:
    unit, resident, state = broken_chain(make_config, tmp_path)
    if not checkpoint:
        resident.root.delete(state)
    whole = ready(make_config, tmp_path, "sgld", "whole", LAYER)
    STAGES.execute(unit, whole, nothing)
    marker = record_name("l1", 0)
    resident.root.put(marker, whole.root.read(marker))
    for name in whole.root.list("chains/l1/0"):
        resident.root.put_if_absent(name, whole.root.read(name))
    STAGES.execute(unit, resident, nothing)
    name = record_name("l1", 1)
    assert plain(resident.root, name) == plain(whole.root, name)
    assert read_record(resident.root, "l1", 1).together == (0, 1)


def test_dropped_chains_are_made_again_in_their_company(make_config: MakeConfig, tmp_path) -> None:
    """More tokens after the draws were dropped: the same bits, though units are others now."""
    resident = ready(make_config, tmp_path, "sgld", "run", LAYER)
    STAGES.execute(ChainUnit(group=LAYER, chains=(0, 1)), resident, nothing)
    store = resident.root
    before = {name: store.read(name) for name in store.list("chains")}
    assert drop_draws(store) > 0
    for chain in (0, 1):
        STAGES.execute(ChainUnit(group=LAYER, chains=(chain,)), resident, nothing)
    assert {name: store.read(name) for name in before} == before
    record = read_record(store, "l1", 0)
    name = block_name("l1", 0, "l1mlp", 0, record.blocks["l1mlp"][0])
    assert name in before
