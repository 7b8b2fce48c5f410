"""`spectro names` on a stored run: table, examples, names from a file, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import made_up_run
import pytest
from stored_run import write_run

from jobs.names import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    what = made_up_run.made(num_sequences=20, context=16, num_clusters=3)
    folder = tmp_path_factory.mktemp("names") / "run"
    write_run(folder, what)
    return folder


def names(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["spectro names", *map(str, arguments)])
    return main()


def test_examples_out_and_names_back(run, tmp_path, monkeypatch, capsys) -> None:
    out, named = tmp_path / "examples.jsonl", tmp_path / "named.jsonl"
    assert names(monkeypatch, run, f"out={out}", "num_examples=3") == 0
    assert "of 3 clusters" in capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text("ascii").splitlines()]
    assert [line["cluster_id"] for line in lines] == [0, 1, 2]
    answer = {"cluster_id": 1, "clusters": lines[1]["clusters"], "name": "ends of lines"}
    named.write_text(json.dumps(answer | {"named_by": "me"}) + "\n")
    assert names(monkeypatch, run, f"names={named}", "format=json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name_source"] for row in found["clusters"]][1] == "file"
    assert found["clusters"][1]["name"] == "ends of lines"
    assert found["clusters"][1]["named_by"] == "me" and found["summary"]["sets"] == 3
    named.write_text("")
    assert names(monkeypatch, run, f"names={named}") == 0
    assert "ends of lines" not in capsys.readouterr().out


def test_what_is_wrong_is_said_in_one_line(run, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "line").write_text('{"cluster_id": 99, "name": "a"}')
    for arguments, message in (
        ([f"names={tmp_path}"], "is a folder: give a file of JSON lines"),
        ([f"names={tmp_path / 'none'}"], "No such file"),
        ([f"names={tmp_path / 'bytes'}"], "expected UTF-8 text, found another byte at 0"),
        ([f"names={tmp_path / 'line'}"], "names, line 1: there is no cluster 99: expected 0 to 2"),
        ([f"out={run}/clusters/names.json"], "is a name of the run"),
        (["num_examples=0"], "num_examples must be 1 to 1,000, found 0"),
        (["num_examples=100000000"], "num_examples must be 1 to 1,000, found 100000000"),
        (["limit=0"], "limit must be at least 1, found 0"),
    ):
        assert names(monkeypatch, run, *arguments) != 0
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1, said
    assert names(monkeypatch, tmp_path / "nowhere") != 0
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("num_sequences", "context", "num_clusters", "message"),
    [
        (1, 16, 1, "None of 1 clusters could be judged"),
        (3, 2, 1, "None of 1 clusters could be judged"),
        (20, 1, 1, "Recognisable by their names: 0 of 1 clusters"),
        (20, 16, 0, "There are no clusters to name."),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_run_with_next_to_nothing_has_names_too(
    num_sequences, context, num_clusters, message, tmp_path, monkeypatch, capsys
) -> None:
    """Without sequences to choose on, or members to judge by, nothing is judged."""
    what = made_up_run.made(num_sequences=num_sequences, context=context, num_clusters=num_clusters)
    write_run(tmp_path / "run", what)
    assert names(monkeypatch, tmp_path / "run", f"out={tmp_path}/out.jsonl") == 0
    assert message in capsys.readouterr().out
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == num_clusters
