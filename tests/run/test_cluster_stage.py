"""The cluster stage from storage to storage: the same bytes however it is cut up or killed."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.product import (
    clusters_of,
    do_units,
    missing_units,
    product_config,
    write_product,
)
from jobs.cluster_table import vectors_lines
from spectro.cluster_stage.units import ClusterUnit, Layout
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.clusters import cluster
from spectro.clustering.config import ClusterConfig, NeighbourSearch, Preprocess
from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats.clusters.clusters import members_of, read_clusters
from spectro.formats.fingerprint import OtherRunError
from spectro.formats.product import halves_name
from spectro.measure.resident_model import ResidentModel
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.views.cluster_tables import HOW_IT_HOLDS
from spectro.work.errors import HandedBack
from spectro.work.units import Unit
from tests.cluster.planted import mixture

CONFIG = ClusterConfig(num_neighbours=12, min_size=10, reach=150, round_size=24)
APPROXIMATE = dataclasses.replace(CONFIG, neighbour_search=NeighbourSearch.APPROXIMATE)
TABLES = ("clusters/clusters.parquet", "clusters/members.parquet")
Make = Callable[..., tuple[PipelineConfig, Layout]]


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    return mixture(sizes=[120, 90, 60, 40], num_body=890, num_columns=8)


@pytest.fixture
def make(tmp_path: Path, planted: tuple[np.ndarray, np.ndarray]) -> Make:
    """A product of the planted rows, cut into shards of these sizes."""

    def made(
        name: str, cuts: tuple[int, ...] = (1200,), config: ClusterConfig = CONFIG, **run: object
    ) -> tuple[PipelineConfig, Layout]:
        uri = str(tmp_path / name)
        parts = np.split(planted[0], np.cumsum(cuts)[:-1])
        layout = write_product(uri, parts, half_noise=0.05)
        run = {"scratch": str(tmp_path / "scratch" / name)} | run
        layout = dataclasses.replace(layout, block_rows=config.neighbour_rows)
        return product_config(uri, config, **run), layout

    return made


def do_all(config: PipelineConfig, layout: Layout, **how: bool) -> Store:
    do_units(config, clusters_of(config, layout, **how), lambda unit, do: do())
    return Store(config.run.uri)


def tables(store: Store) -> list[bytes]:
    return [store.read(name) for name in TABLES]


def test_the_stage_gives_what_the_call_in_memory_gives(make: Make, planted) -> None:
    store = do_all(*make("stage"))
    found, stored = cluster(planted[0], CONFIG), read_clusters(f"{store.uri}/clusters")
    assert len(found) == stored.clusters.num_rows >= 4
    for mine, theirs in zip(found.members, members_of(stored), strict=True):
        assert np.array_equal(mine, theirs)
    centroids = np.array(stored.clusters["centroid"].to_pylist())
    np.testing.assert_allclose(centroids, found.centroid_CD, rtol=1e-5, atol=1e-6)
    assert stored.provenance["recall"]["mean"] == 1.0


def test_the_command_says_what_clusters_see(make: Make) -> None:
    """Halves of χ ± 0.05 standard deviations agree by (1 − 0.05²) / (1 + 0.05²) = 0.995."""
    config, layout = make("said")
    what, agree = vectors_lines(config, do_all(config, layout))
    assert what == "Vectors: each column at unit variance; 8 dimensions."
    assert re.match(r"Two halves .* at r = (0\.99|1\.00), of all chains that makes 1\.00; ", agree)
    assert re.search(r" \(c\d\) to 1\.00 \(c\d\), median (0\.99|1\.00)\.$", agree)


@pytest.mark.parametrize("cuts", [(400, 800), (16, 1168, 16), (304, 304, 304, 288)])
def test_shards_do_not_show_in_the_clusters(make: Make, cuts: tuple[int, ...]) -> None:
    whole = read_clusters(f"{do_all(*make('whole')).uri}/clusters")
    cut = read_clusters(f"{do_all(*make('cut', cuts)).uri}/clusters")
    assert cut.members.equals(whole.members)
    assert cut.clusters.drop_columns(["centroid", "mean_chi"]).equals(
        whole.clusters.drop_columns(["centroid", "mean_chi"])
    )


def test_blocks_of_an_exact_search_do_not_show_at_all(make: Make) -> None:
    in_blocks = dataclasses.replace(CONFIG, neighbour_rows=500)
    one, three = do_all(*make("one")), do_all(*make("three", config=in_blocks))
    assert tables(one) == tables(three)


def test_pairs_of_blocks_find_what_one_search_finds(make: Make) -> None:
    in_blocks = dataclasses.replace(APPROXIMATE, neighbour_rows=500)
    store = do_all(*make("pairs", config=in_blocks))
    provenance = read_clusters(f"{store.uri}/clusters").provenance
    assert provenance["recall"]["mean"] >= 0.98
    assert any("/pairs/0000-0002" in name for name in store.list())
    assert tables(do_all(*make("exact"))) == tables(store)  # of so few rows it misses none


@pytest.mark.parametrize("overlap", [False, True])
def test_told_to_leave_after_every_round_it_goes_on_where_it_was(make: Make, overlap: bool) -> None:
    config = dataclasses.replace(CONFIG, overlap=overlap)
    undisturbed = do_all(*make("undisturbed", config=config))
    disturbed, layout = make("disturbed", config=config, checkpoint_seconds=1e-6)
    goal = clusters_of(disturbed, layout)
    store, attempts = Store(disturbed.run.uri), 0
    for unit in missing_units(disturbed, goal):
        while True:
            try:
                resident = ResidentModel(disturbed)
                STAGES.execute(unit, resident, lambda done, total: None, lambda: True)
                break
            except HandedBack:
                attempts += 1
                states = store.list("clusters/state")
                assert len(states) == 1
    rounds = read_clusters(f"{store.uri}/clusters").provenance["statistics"]["num_rounds"]
    assert attempts == rounds > 5
    assert not store.list("clusters/state")
    assert tables(store) == tables(undisturbed)


def test_a_damaged_list_is_named(make: Make) -> None:
    config, layout = make("damaged")
    goal = clusters_of(config, layout)

    def each(unit: Unit, do: Callable[[], None]) -> None:
        if isinstance(unit, ClusterUnit):
            name = f"neighbours/{unit.key}/lists-0000.safetensors"
            data = bytearray(store.read(name))
            data[-3] ^= 1
            store.delete(name)
            store.put(name, bytes(data))
        do()

    store = Store(config.run.uri)
    with pytest.raises(ValueError, match=r"lists-0000.safetensors is damaged \(the checksum"):
        do_units(config, goal, each)


def test_stability_is_the_lesser_best_overlap_with_the_halves(make: Make) -> None:
    store = do_all(*make("halves"), with_stability=True)
    stored = read_clusters(f"{store.uri}/clusters")
    halves = [members_of(read_clusters(f"{store.uri}/clusters/half-{h}")) for h in (0, 1)]
    for members, found in zip(
        members_of(stored), stored.clusters["stability"].to_pylist(), strict=True
    ):
        best = [max(_jaccard(set(members), set(other)) for other in half) for half in halves]
        assert found == pytest.approx(min(best))
    assert max(stored.clusters["stability"].to_pylist()) > 0.8
    told = {name: np.array(stored.clusters[name].to_pylist()) for name in HOW_IT_HOLDS}
    by_draws = (told["stability"] >= 0.5) | (told["q_value"] <= 0.05)
    assert (told["holds"] == ((told["repeatability"] >= 0.5) & by_draws)).all()
    assert stored.provenance["num_that_hold"] == told["holds"].sum() >= 4  # the planted ones
    # Members are near in both halves; all tokens share more than unrelated lists would.
    shared = stored.provenance["shared_neighbours"]
    assert told["shared_neighbours"].max() > shared["all_tokens"] > shared["by_chance"] > 0


def _jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b)


def test_without_halves_stability_says_what_to_do(make: Make, tmp_path: Path, planted) -> None:
    layout = write_product(str(tmp_path / "bare"), [planted[0]])
    config = product_config(str(tmp_path / "bare"), CONFIG, scratch=str(tmp_path / "s"))
    with pytest.raises(ValueError, match=r"cluster\.stability=false, .* does without"):
        do_all(config, layout, with_stability=True)


def test_scratch_is_left_empty(make: Make, tmp_path: Path) -> None:
    do_all(*make("clean"), with_stability=True)
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]


def test_scratch_of_other_susceptibilities_is_passed_over(
    make: Make, tmp_path: Path, planted
) -> None:
    """The same tokens at the same place, measured anew; the first run was killed in its rounds."""
    config, layout = make("here")

    def killed(unit: Unit, do: Callable[[], None]) -> None:
        if isinstance(unit, ClusterUnit):
            with ListsOnNode(
                Store(config.run.uri), unit.key, unit.half, unit.layout, config.run.scratch
            ) as lists:
                lists.graph()
        else:
            do()

    do_units(config, clusters_of(config, layout), killed)
    assert list((tmp_path / "scratch" / "here").rglob("graph.json"))
    shutil.rmtree(config.run.uri)
    other = np.random.default_rng(1).permuted(planted[0], axis=0)
    write_product(config.run.uri, [other], half_noise=0.05)
    here = do_all(config, layout)
    write_product(str(tmp_path / "fresh"), [other], half_noise=0.05)
    fresh = do_all(product_config(str(tmp_path / "fresh"), CONFIG), layout)
    assert tables(here) == tables(fresh)


def test_halves_of_other_settings_are_refused(make: Make) -> None:
    config, layout = make("halves")
    goal = clusters_of(config, layout, with_stability=True)

    def until_a_half(unit: Unit, do: Callable[[], None]) -> None:
        if not isinstance(unit, ClusterUnit) or unit.half == 0:
            do()

    do_units(config, goal, until_a_half)
    other = dataclasses.replace(config, cluster=dataclasses.replace(CONFIG, min_size=15))
    with pytest.raises(OtherRunError, match=r"half-0 .*cluster\.min_size: 10 → 15"):
        do_all(other, layout, with_stability=True)
    assert not Store(config.run.uri).exists("clusters/cluster.json")


@pytest.mark.parametrize("wanted", [{"whiten_reliability": 0.5}, {"weigh_by_reliability": True}])
def test_reliability_of_directions_without_halves_says_what_to_do(
    tmp_path: Path, planted, wanted: dict[str, float]
) -> None:
    layout = write_product(str(tmp_path / "bare"), [planted[0]])
    whiten = dataclasses.replace(CONFIG, preprocess=Preprocess.WHITEN, **wanted)
    with pytest.raises(ValueError, match=r"no χ of the halves of its chains for shard 0: .*with"):
        do_all(product_config(str(tmp_path / "bare"), whiten, scratch=str(tmp_path)), layout)


def test_half_estimates_that_are_gone_are_not_taken_for_never_kept(make: Make) -> None:
    config, layout = make("gone")
    Store(config.run.uri).delete(halves_name(0))
    with pytest.raises(FileNotFoundError, match=r"halves/part-00000\.parquet does not exist"):
        do_all(config, layout, with_stability=True)


def test_too_few_tokens_are_refused_in_one_line(tmp_path: Path, planted) -> None:
    layout = write_product(str(tmp_path / "few"), [planted[0][:16]])
    config = product_config(
        str(tmp_path / "few"), dataclasses.replace(CONFIG, num_neighbours=16), scratch=str(tmp_path)
    )
    with pytest.raises(ValueError, match=r"k = 16 needs more than 16 tokens, found 16: lower"):
        do_all(config, layout)


def test_the_place_of_scratch_is_the_same_for_all_processes() -> None:
    config = with_absolute_paths(product_config("here", CONFIG, scratch="scratch"))
    assert config.run.scratch == str(Path("scratch").absolute())
