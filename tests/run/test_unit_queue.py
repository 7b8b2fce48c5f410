"""Which units are to do, in which order, and which are ready."""

from __future__ import annotations

from spectro.pipeline.stages import STAGES
from spectro.work.unit_queue import UnitQueue
from spectro.work.units import Unit
from spectro.work.worker_kinds import WorkerKind
from tests.run.made_units import Large, Small, all_units, goal

CPU, GPU = WorkerKind.CPU, WorkerKind.GPU


def test_chains_that_step_together_are_one_unit_until_all_are_done() -> None:
    units = STAGES.required([goal(num_chains=5, together=2)], set())
    chains = [unit for unit in units if unit.stage == "chains" and unit.group.name == "l0"]
    assert [unit.chains for unit in chains] == [(0, 1), (2, 3), (4,)]
    assert chains[0].outputs == ("chains/l0/0.json", "chains/l0/1.json")
    assert chains[0].cost == 2 * chains[2].cost
    everything = {name for unit in units for name in unit.outputs if unit.stage != "assembly"}
    lost = {n for n in everything if not n.startswith("tiles/")} - {"chains/l0/3.json"}
    again = [u.id for u in STAGES.required([goal(num_chains=5, together=2)], lost)]
    assert [name for name in again if name.startswith("chains")] == ["chains/l0/2.json"]


def test_what_is_present_and_what_only_it_needs_is_left_out() -> None:
    everything = {name for unit in all_units() for name in unit.outputs}
    assert STAGES.required([goal()], everything) == []
    without_summary = everything - {"assembly/summary.json"}
    assert [u.id for u in STAGES.required([goal()], without_summary)] == ["assembly/summary.json"]
    # tiles and draws are gone, as after assembly; one shard is lost
    rows_only = {n for n in everything if n.startswith(("susceptibilities/", "assembly/part"))}
    lost = rows_only - {"susceptibilities/part-00001.parquet"}
    found = [unit.id for unit in STAGES.required([goal()], lost)]
    assert "tiles/00001/l0.safetensors" in found
    assert "tiles/00000/l0.safetensors" not in found
    assert len([name for name in found if name.startswith("chains/")]) == 6 + 3


def test_units_wait_for_one_that_was_set_aside() -> None:
    queue = UnitQueue(STAGES.required([goal(num_chains=1, num_shards=1)], {"tokens/tokens.json"}))
    (pilot, *_) = queue.take({CPU: 1})
    queue.give_up(pilot.id, "broken")
    while not queue.is_finished:
        for unit in queue.take({CPU: 3}):
            queue.done(unit.id, 1.0)
    # of that group the chain and the tile, then assembly and summary
    assert queue.num_blocked() == queue.num_left == 4
    assert queue.set_aside == {pilot.id: "broken"}


def test_of_units_that_take_a_machine_one_is_done_at_a_time() -> None:
    large = [Large(name=f"large-{n}") for n in range(3)]
    small = [Small(name=f"small-{n}") for n in range(3)]
    units = [large[0], small[0], large[1], large[2], small[1], small[2]]
    queue = UnitQueue(units, one_machine=True)
    assert [unit.id for unit in queue.take({CPU: 3})] == ["large-0", "small-0", "small-1"]
    queue.done("small-0", 1.0)
    assert [unit.id for unit in queue.take({CPU: 3})] == ["small-2"]
    queue.done("large-0", 1.0)
    assert [unit.id for unit in queue.take({CPU: 3})] == ["large-1"]
    queue.requeue("large-1")
    assert [unit.id for unit in queue.take({CPU: 3})] == ["large-1"]
    for name in ("small-1", "small-2", "large-1"):
        queue.done(name, 1.0)
    assert not queue.is_finished and [unit.id for unit in queue.take({CPU: 3})] == ["large-2"]
    queue.done("large-2", 1.0)
    assert queue.is_finished and queue.num_blocked() == 0
    assert len(UnitQueue(units).take({CPU: 9})) == 6  # machines enough


def test_each_kind_of_worker_gets_its_own_units() -> None:
    def kind_of(unit: Unit) -> WorkerKind:
        return WorkerKind.GPU if unit.needs_model else CPU

    queue = UnitQueue(STAGES.required([goal(num_chains=1, num_shards=1)], set()), kind_of=kind_of)
    assert queue.demand().now == {CPU: 1, GPU: 0}  # chains wait for tokens: they do not count
    assert queue.take({GPU: 5}) == []
    (tokens,) = queue.take({GPU: 5, CPU: 5})
    queue.done(tokens.id, 1.0)
    assert queue.demand().now == {CPU: 0, GPU: 3} and queue.demand().left == queue.num_left
    taken = queue.take({GPU: 2, CPU: 5})
    assert len(taken) == 2 and queue.demand({GPU}).now[GPU] == 3
    assert queue.demand({GPU}).proven == {GPU}
