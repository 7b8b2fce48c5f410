"""What experiment trackers are shown of a finished run (pipeline/findings.py)."""

import sys

import made_up_run
import numpy as np
import pytest
from stored_run import write_run

from spectro.pipeline.findings import findings
from spectro.views.run_view import RunView


@pytest.fixture(scope="module")
def what():
    return made_up_run.made(num_sequences=12, context=8, num_clusters=3)


@pytest.fixture(scope="module")
def uri(what, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("run") / "made"
    write_run(folder, what)
    return str(folder)


def test_numbers_and_pictures(uri: str, what) -> None:
    numbers, *pictures = findings(uri)
    that_hold = sum(RunView(uri).clusters.clusters["holds"].to_pylist())
    reliability = np.median(what.columns.reliability_H[1:])  # the first is not known
    assert numbers == {
        "result/tokens": 96.0, "result/clusters": 3.0, "result/clusters_that_hold": that_hold,
        "result/median_reliability": pytest.approx(reliability),
    }  # fmt: skip
    # it has no chains: no R̂, no reliability by draws
    assert [name for name, _ in pictures] == ["control", "clusters"]
    assert all(png.startswith(b"\x89PNG") for _, png in pictures)


def test_without_matplotlib_there_are_numbers(uri: str, monkeypatch, caplog) -> None:
    for name in [n for n in sys.modules if n.startswith("spectro.views.drawing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (numbers,) = findings(uri)
    assert numbers["result/tokens"] == 96.0
    assert "no pictures for the trackers: matplotlib is not installed" in caplog.text


def test_of_a_run_that_is_not_measured_there_is_nothing(tmp_path) -> None:
    assert list(findings(str(tmp_path / "nowhere"))) == []
