"""Every benchmark runs with --toy and leaves a result that says where it comes from.

Nothing here looks at a time: what is tested is that the scripts work and their files are whole.
"""

import gc
from pathlib import Path

import pytest

from tests.benchmarks.toy import run_toy

pytestmark = pytest.mark.slow


def run(name: str, out: Path, *arguments: str) -> dict:
    result = run_toy(name, out, *arguments)
    assert result["question"] and result["commit"]
    assert result["hardware"]["processor"] and result["hardware"]["threads"] == 1
    assert result["versions"]["torch"] and result["versions"]["python"]
    return result


def assert_ratio(found: dict) -> None:
    assert 0 < found["min"] <= found["median"] <= found["max"]
    assert len(found["rounds"]) >= 1


def test_peer(tmp_path: Path) -> None:
    pytest.importorskip(
        "devinterp", reason="the peer to compare with: pip install devinterp==2.0.1"
    )
    result = run("peer", tmp_path)
    assert result["parity_error"] < 1e-4
    same_work = result["same_work"]
    for side in ("engine", "engine_lists"):
        for part in ("stepping", "evaluating", "scoring", "together", "whole_call"):
            assert_ratio(same_work["ratios"][side][part])
    stepping = same_work["ratios"]["engine"]["stepping"]
    assert stepping["arithmetic_saved"] * stepping["efficiency"] == pytest.approx(
        stepping["median"], rel=1e-2
    )
    errors = same_work["error_of_chi_from_lists"]
    assert errors["components_from_lists"] and "random weights" in errors["mind"]
    assert same_work["pilot_seconds"] > 0
    same_result = result["same_result"]
    assert set(same_result["ratios"]) == {"reweighted float32", "reweighted bfloat16"}
    for by_proportions in same_result["ratios"].values():
        assert set(by_proportions) == {"published", "own"}
    for side, found in same_result["pilot_seconds"].items():
        assert all((seconds > 0) == (side != "devinterp") for seconds in found)
    assert same_result["extrapolated"] and same_result["published"]["steps_per_draw"] == 55


def test_peer_without_lists_in_bfloat16() -> None:
    """The same work alone, in this process: what follows it has neither option."""
    pytest.importorskip(
        "devinterp", reason="the peer to compare with: pip install devinterp==2.0.1"
    )
    from benchmarks import peer

    options = peer.options_of(["--toy", "--no-lists", "--precision", "bfloat16"])
    gc.freeze()  # as the script does: the peer collects garbage around every chain
    try:
        same_work = peer.measure_same_work(peer.work_of(options), options)
    finally:
        gc.unfreeze()
    assert peer._name(options) == "peer-toy-bfloat16-exact"
    assert set(same_work["ratios"]) == {"engine"} and same_work["lists"] == "not asked for"
    assert "bfloat16" in same_work["engines"]["engine"]["settings"]


def test_real_model(tmp_path: Path) -> None:
    """With a random model of its kind; bounds are float32's, in deviations of a column."""
    pytest.importorskip(
        "devinterp", reason="the peer to compare with: pip install devinterp==2.0.1"
    )
    result = run("real_model", tmp_path)
    assert result["losses"]["largest_difference_float32"] < 1e-5
    for change in result["float64"]["changes"].values():
        assert change["largest_difference"] < 1e-12 < change["rms_change_nats"]
    for by_side in result["chi"].values():
        for side in ("universal", "devinterp"):
            assert by_side[side]["largest_difference_in_deviations"] < 5e-3
    for ratios in result["ratios"].values():
        assert_ratio(ratios["whole_call"])
    assert all(own["error"] > 0 for own in result["learning_coefficients"].values())


def test_roofline(tmp_path: Path) -> None:
    result = run("roofline", tmp_path)
    kinds = {name.split()[0] for name in result["cases"]}
    assert kinds == {"matrix", "score", "step"}
    for case in result["cases"].values():
        assert case["flops"] > 0 and case["profile"]["shares"]
        assert_ratio(case["of_matrix_product"])


def test_together(tmp_path: Path) -> None:
    cases = run("together", tmp_path, "--rounds", "1")["cases"]
    assert {name.split(",")[0] for name in cases} == {"embed", "l1", "l2", "unembed", "full"}
    for case in cases.values():
        assert_ratio(case["apart_over_together"])


def test_samplers(tmp_path: Path) -> None:
    result = run("samplers", tmp_path)
    for model in ("shipped", "sharper"):
        for found in result[model].values():
            assert found["psgld"]["gradients"] > found["exponential 0.01"]["gradients"] > 0
            assert found["reweighted"]["gradients"] == 0


def test_precision(tmp_path: Path) -> None:
    rows = run("precision", tmp_path)["rows"]
    for row in rows:
        assert row["float32"] < row["tf32"] < row["bfloat16"] < 0.2


def test_loss(tmp_path: Path) -> None:
    tables = run("loss", tmp_path, "--rounds", "2", "--no-compile", "--rows", "64")["tables"]
    assert set(tables) == {"embedded"}
    for rows in tables["embedded"].values():
        assert rows["plain"]["ratio"] == 1
