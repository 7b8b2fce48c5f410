"""Plans of clusters: counts and bytes are those of the real units."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.product import clusters_of, do_units, product_config, write_product
from spectro.cluster_stage.units import (
    ClusterUnit,
    Layout,
    NeighboursUnit,
    PairUnit,
    RecallUnit,
    TransformUnit,
)
from spectro.clustering.config import ClusterConfig, NeighbourSearch, Preprocess, ToleranceKind
from spectro.clustering.graph.weighted_graph import ARRAYS, Graph, self_tuning_graph
from spectro.clustering.knn.lists import merge
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.search import nearest_neighbours
from spectro.clustering.local.rounds import find_clusters
from spectro.config import PipelineConfig
from spectro.planning.cluster_plan import ClusterPlan, ClusterStage, Machines, plan_clusters
from spectro.planning.cluster_rates import load_cluster_rates
from spectro.planning.cluster_work import ClusterWork, num_clusterings
from spectro.planning.rates import RATES_FOLDER
from spectro.storage.store import Store
from spectro.work.units import Unit

SHIPPED = load_cluster_rates(RATES_FOLDER / "clusters.yaml")
EXACT, APPROXIMATE = NeighbourSearch.EXACT, NeighbourSearch.APPROXIMATE
HEADER_BYTES = 1024
"""More than the head of a file of lists."""


def work_of(num_tokens: int, columns: int = 64, **config: object) -> ClusterWork:
    settings = ClusterConfig(**config)  # type: ignore[arg-type]
    per_shard = 16_384
    shards = [min(per_shard, num_tokens - start) for start in range(0, num_tokens, per_shard)]
    layout = Layout(shard_rows=tuple(shards), block_rows=settings.neighbour_rows)
    return ClusterWork(config=settings, layout=layout, num_columns=columns)


def plan_of(
    num_tokens: int, *, nodes: int = 1, cores: int = 2, times: int = 1, **config: object
) -> ClusterPlan:
    machines = Machines(rates=SHIPPED, num_nodes=nodes, num_cores=cores)
    return plan_clusters(work_of(num_tokens, **config), machines, times)


def stages_of(plan: ClusterPlan) -> dict[str, ClusterStage]:
    return {stage.stage.removeprefix("neighbours: "): stage for stage in plan.stages}


def all_units(goal: Unit) -> list[Unit]:
    found: dict[int, Unit] = {}
    left = [goal]
    while left:
        unit = left.pop()
        if id(unit) not in found:
            found[id(unit)] = unit
            left.extend(unit.needs)
    return list(found.values())


@pytest.mark.parametrize("search", [EXACT, APPROXIMATE])
@pytest.mark.parametrize("num_tokens", [1999, 2000, 2001, 5000, 9001])
def test_units_and_pairs_are_those_of_the_stage(search: NeighbourSearch, num_tokens: int) -> None:
    settings = {"neighbour_rows": 1000, "neighbour_search": search}
    work = work_of(num_tokens, **settings)
    units = all_units(
        clusters_of(product_config("nowhere", work.config), work.layout, with_stability=True)
    )
    real = Counter(type(unit) for unit in units)
    plan = stages_of(plan_of(num_tokens, times=3, **settings))
    searches = plan["exact, pairs of blocks" if search is EXACT else "pairs of blocks"]
    assert real[NeighboursUnit] == plan["merging"].num_units
    assert real[PairUnit] == searches.num_units
    assert real[TransformUnit] == plan["transform"].num_units
    assert real[RecallUnit] == plan["recall"].num_units
    assert real[ClusterUnit] == plan["tables"].num_units == 3
    pairs = [u for u in units if isinstance(u, PairUnit) and u.half is None]
    rows = [sum(len(u.layout.block(b)) for b in {u.first, u.second}) for u in pairs]
    assert sorted(rows) == sorted(map(sum, work.pairs))


def test_one_block_is_one_search() -> None:
    for plan in (
        plan_of(1_000_001, times=3),
        plan_of(30_000, times=3, neighbour_search=APPROXIMATE),
    ):
        assert stages_of(plan)["one search"].num_units == 3
        assert "merging" not in stages_of(plan)
    assert "exact" in stages_of(plan_of(1_000_000))


def test_clusterings_of_a_run_are_those_that_it_makes(whole_run: PipelineConfig) -> None:
    store = Store(whole_run.run.uri)
    made = [name for name in store.list() if name.endswith("/cluster.json")]
    assert len(made) == num_clusterings(whole_run) == 6
    without = dataclasses.replace(whole_run, control=False)
    assert num_clusterings(without) == 3
    run = dataclasses.replace(whole_run.run, keep_halves=False)
    assert num_clusterings(dataclasses.replace(without, run=run)) == 1
    chain = dataclasses.replace(whole_run.chain, num_chains=1)
    assert num_clusterings(dataclasses.replace(without, chain=chain)) == 1
    cluster = dataclasses.replace(whole_run.cluster, stability=False)
    assert num_clusterings(dataclasses.replace(whole_run, cluster=cluster)) == 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClusterWork, Store, list[int]]:
    """Lists of 2000 rows in four blocks: what is stored, and what each merging held."""
    work = work_of(2000, 4, neighbour_rows=500, neighbour_search=APPROXIMATE)
    folder = tmp_path_factory.mktemp("stored")
    rng = np.random.default_rng(0)
    chi = rng.normal(size=(2000, 4)).astype(np.float32)
    layout = dataclasses.replace(write_product(str(folder / "run"), [chi]), block_rows=500)
    config = product_config(str(folder / "run"), work.config, scratch=str(folder / "scratch"))
    peaks: list[int] = []
    row = Neighbours(index_Nk=np.array([[1]], np.int32), distance_Nk=np.ones((1, 1), np.float32))
    merge([row])  # compiled before memory is watched

    def each(unit: Unit, do) -> None:
        if isinstance(unit, NeighboursUnit):
            tracemalloc.start()  # of Python, where NumPy's arrays are counted too
            do()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        elif isinstance(unit, TransformUnit | PairUnit):
            do()

    do_units(config, clusters_of(config, layout), each)
    return dataclasses.replace(work, layout=layout), Store(config.run.uri), peaks


def test_bytes_of_lists_are_those_that_are_stored(stored) -> None:
    work, store, _ = stored
    sizes = [len(store.read(n)) for n in store.list() if n.endswith(".safetensors")]
    assert len(sizes) == len(work.blocks) + len(work.pairs)
    assert 0 < sum(sizes) - work.stored_bytes < HEADER_BYTES * len(sizes)


def test_merging_holds_what_is_planned(stored) -> None:
    """Of a full block: the lists of every pair that it is in, then those that are put."""
    work, _, peaks = stored
    assert 0.5 * work.merge_peak < max(peaks) <= work.merge_peak, peaks


def test_bytes_of_a_graph_are_those_of_its_files(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    lists = nearest_neighbours(x, 10)
    graph = Graph.create(tmp_path, lists)
    files = sum(np.load(tmp_path / f"{name}.npy").nbytes for name in ARRAYS)
    work = work_of(500, 4, num_neighbours=10)
    assert work.graph_bytes(graph.indices.size) + 8 == files  # one offset more than nodes
    assert work.list_bytes(500) == lists.index_Nk.nbytes + lists.distance_Nk.nbytes


def test_rounds_are_those_of_the_stage() -> None:
    """Where nothing is found every token but the untried ones is a seed."""
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    settings = {"num_neighbours": 10, "min_size": 200, "reach": 200, "round_size": 30}
    config = ClusterConfig(**settings)
    state = find_clusters(self_tuning_graph(nearest_neighbours(x, 10)), config)
    assert not state.clusters
    assert stages_of(plan_of(400, **settings))["seeds"].num_units == state.num_rounds


@pytest.mark.parametrize("search", [EXACT, APPROXIMATE])
def test_more_tokens_cost_more(search: NeighbourSearch) -> None:
    sizes = [10_000, 300_000, 1_900_000, 2_100_000, 4_300_000, 46_000_000]
    plans = [plan_of(n, nodes=8, cores=32, neighbour_search=search) for n in sizes]
    for what in ("core_seconds", "finish_seconds", "peak_bytes", "scratch_bytes", "stored_bytes"):
        values = [getattr(plan, what) for plan in plans]
        least = set(values) if what != "peak_bytes" else values  # a block is never larger
        assert values == sorted(least), what


def test_more_machines_and_more_cores_end_earlier() -> None:
    """Never in less than all work over all cores, and what one core does stays."""
    for grown in ("nodes", "cores"):
        plans = [plan_of(10_000_000, times=3, **{grown: n}) for n in (1, 2, 5, 16, 300)]
        ends = [plan.finish_seconds for plan in plans]
        assert ends == sorted(set(ends), reverse=True), grown
        for plan in plans:
            assert plan.finish_seconds >= plan.core_seconds / (
                plan.machines.num_nodes * plan.machines.num_cores
            )
    tables = [stages_of(plan_of(10_000_000, cores=n))["tables"].finish_seconds for n in (1, 64)]
    assert tables[0] == tables[1]


def test_one_core_does_all_that_it_is_charged() -> None:
    plan = plan_of(5_000_000, cores=1, times=3)
    assert plan.finish_seconds == pytest.approx(plan.core_seconds)


def test_arithmetic_by_hand() -> None:
    """One block of an approximate search at a width of the file, and rounds on four cores."""
    plan = stages_of(plan_of(1_000_000, cores=4, neighbour_search=APPROXIMATE))
    row = next(f.value for f in SHIPPED.approximate_row if f.columns == 64)
    share = SHIPPED.serial_share.value
    assert plan["one search"].core_seconds == pytest.approx(1e6 * row)
    assert plan["one search"].finish_seconds == pytest.approx(1e6 * row * (share + (1 - share) / 4))
    # 999 000 seeds in rounds of 500: 1998 rounds of 125 seeds for each core
    assert plan["seeds"].num_units == 1998
    expected = 1998 * (125 * SHIPPED.seed.value + SHIPPED.round.value)
    assert plan["seeds"].finish_seconds == pytest.approx(expected)
    exact = stages_of(plan_of(10_000, cores=4))["exact"]
    assert exact.core_seconds == pytest.approx(1e8 / 2 * SHIPPED.exact_seconds(64))


def test_rounds_wait_for_their_last_seed() -> None:
    """300 seeds on 256 cores take as long as 512 do."""
    small, large = (
        stages_of(plan_of(20_000, cores=256, round_size=size, untried_fraction=0.0))["seeds"]
        for size in (300, 512)
    )
    rounds = (math.ceil(20_000 / 300), math.ceil(20_000 / 512))
    assert (small.num_units, large.num_units) == rounds
    beside = SHIPPED.round.value
    ends = [s.finish_seconds - s.num_units * beside for s in (small, large)]
    waves = [66 * 2 + 1, 39 * 2 + 1]  # the last rounds have 200 and 32 seeds
    assert ends == pytest.approx([n * SHIPPED.seed.value for n in waves])


def test_what_the_settings_add() -> None:
    def transform(**config: object) -> float:
        return stages_of(plan_of(50_000, **config))["transform"].core_seconds

    plain = transform()
    whitened = transform(preprocess=Preprocess.WHITEN)
    halves = transform(preprocess=Preprocess.WHITEN, weigh_by_reliability=True)
    assert plain < whitened < halves
    plan = plan_of(50_000, tolerance_kind=ToleranceKind.DEGREE)
    assert any("not with degree" in note for note in plan.notes)
    assert not any("not with" in note for note in plan_of(50_000).notes)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="needs more than 45 tokens, found 45"):
        work_of(45)
    with pytest.raises(ValueError, match="at least 1 column"):
        work_of(100, 0)
    for wrong in ({"nodes": 0}, {"cores": 0}, {"times": 0}):
        with pytest.raises(ValueError, match="at least 1 machine, core and clustering"):
            plan_of(100, **wrong)
