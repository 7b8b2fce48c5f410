"""The clustering benchmarks run with --toy and leave whole files; nothing here looks at a time."""

import os
from pathlib import Path

import pytest

from benchmarks.clusters import CLUSTER_STAGES
from benchmarks.planted_graph import planted_graph, write_graph
from tests.benchmarks.toy import run_toy

pytestmark = pytest.mark.slow

PEER_PYTHON = os.environ.get("SPECTRO_PEER_PYTHON")


def run(name: str, out: Path, *arguments: str) -> dict:
    result = run_toy(name, out, *arguments)
    assert result["question"] and result["commit"] and result["versions"]["numpy"]
    return result


def test_clusters(tmp_path: Path) -> None:
    result = run("clusters", tmp_path)
    for point in result["points"]:
        assert set(point["stages"]) == set(CLUSTER_STAGES)
        assert all(stage["peak_bytes"] > 0 for stage in point["stages"].values())
        assert point["recall"]["mean"] == 1.0  # exact search at this size
        assert point["counted"]["num_edges_visited"] > 0
        assert point["quality"]["planted_found"] > 0.5
    assert result["growth"]["edges visited"]["slope"] > 0


def test_quality_of_ours(tmp_path: Path) -> None:
    (found,) = run("cluster_quality", tmp_path)["by_size"].values()
    assert set(found) == {"ours"}
    assert found["ours"]["ari_all"] > 0.5 and found["ours"]["peak_bytes"] > 0


def test_seeds_of_ours(tmp_path: Path) -> None:
    (found,) = run("cluster_peers", tmp_path)["by_epsilon"]
    for side in ("ours", "ours_default"):
        assert found["sides"][side]["cluster"]["f1"] > 0.5
        assert found["sides"][side]["body"]["edges"] > 0


def test_rounds_of_seeds(tmp_path: Path) -> None:
    result = run("seed_rounds", tmp_path)
    assert result["seeds_per_round"] == 256
    for sides in result["busy_share"].values():
        for shares in sides.values():
            assert len(shares) == 2 and all(0 < share <= 1 for share in shares)


def test_seeds_by_tolerance_on_a_graph_that_was_written(tmp_path: Path) -> None:
    graph, label = planted_graph(num_nodes=1_200, num_body=800, cluster_size=100, inside=0.9)
    write_graph(graph, label, tmp_path / "graph.npz")
    settings = ["reach 300", "1e-6 · degree"]
    out = tmp_path / "out"
    given = ("--graph", str(tmp_path / "graph.npz"), "--seeds", "3")
    table = run("push", out, *given, "--settings", *settings)["table"]
    assert set(table) == set(settings)
    assert all(by_kind["cluster"]["f1"] > 0.5 for by_kind in table.values())
    (found,) = run("cluster_peers", tmp_path / "peers", *given[:2])["by_epsilon"]
    assert found["sides"]["ours"]["cluster"]["f1"] > 0.5


@pytest.mark.skipif(not PEER_PYTHON, reason="SPECTRO_PEER_PYTHON: see benchmarks/README.md")
def test_seeds_of_the_peer(tmp_path: Path) -> None:
    result = run("cluster_peers", tmp_path, "--peer-python", str(PEER_PYTHON))
    assert result["parity"]["unweighted"]["largest_difference_in_epsilon_degree"] < 1.0
    (found,) = result["by_epsilon"]
    assert found["sides"]["peer"]["cluster"]["size"] == found["sides"]["ours"]["cluster"]["size"]
