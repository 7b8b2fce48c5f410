"""`tokens=more` and `spectro cluster` as a person calls them: the run's own settings hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.formats import tokens
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from tests.jobs.test_bad_input import arguments, refused  # noqa: F401

Job = Callable[..., int]


def test_more_tokens_of_a_run(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],  # noqa: F811
) -> None:
    """Planned, added, done again; draws that the run keeps stay, though the default drops them."""
    given = (f"run.uri={tmp_path / 'run'}", "tokens=more", "more.num_probe_sequences=9")
    arguments = [*arguments, "sampler=psgld"]  # whose draws are stored
    assert job("sample", *arguments, "run.keep_draws=true", "cluster.min_size=3") == 0
    store = Store(str(tmp_path / "run"))
    draws = [name for name in store.list("chains") if name.endswith(".safetensors")]
    assert draws
    assert job("plan", *given, "plan.rates=h200-assumed", "plan.out=plan.json") == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {stage["stage"] for stage in plan["stages"]} == {"tokens", "tiles", "assembly"}
    assert "forward passes only" in capsys.readouterr().out
    planned = plan["clusters"]["num_tokens"]
    monkeypatch.chdir("/")  # the run's paths do not depend on where it is gone on with
    assert job("sample", *given, "run.num_workers=0") == 0
    info = tokens.read_info(store)
    assert info.splits["probe"].counts == {"text": 9}
    assert planned == 9 * info.context  # clusters are of all tokens, not of what is added
    assert set(draws) <= set(store.list("chains"))
    capsys.readouterr()
    assert job("sample", *given, "run.num_workers=0") == 0
    assert "nothing left to do" in capsys.readouterr().out
    # clusters with the run's own settings, of all tokens
    assert job("cluster", given[0], "run.num_workers=0") == 0
    found = read_sealed(store, "clusters/cluster.json")
    assert (found["config"]["min_size"], found["config"]["num_neighbours"]) == (3, 5)
    line = refused(job, capsys, "cluster", given[0], "run.num_workers=0", "cluster.min_size=6")
    assert "cluster.min_size: 3 → 6" in line
    assert "num_neighbours" not in line


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["more.num_probe_sequences=9"], "has no run to add tokens to"),
        ([], "more.num_probe_sequences has no value"),
        (["more.num_probe_sequences=0"], "more.num_probe_sequences must be at least 1"),
        (["more.num_probe_sequences=9", "seed=1"], "only run.* and more.* can be given"),
        (["more.num_probe_sequences=9", "more.subset=x"], "did you mean subsets?"),
        (
            ["more.num_probe_sequences=9", "+more.subsets={a: {kind: jsonl}}"],
            "more.subsets.a: a source of kind jsonl needs a path",
        ),
    ],
)
def test_wrong_additions_are_one_line(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path, extra: list[str], message: str
) -> None:
    line = refused(job, capsys, "sample", f"run.uri={tmp_path / 'run'}", "tokens=more", *extra)
    assert message in line
    assert not (tmp_path / "run").exists()


def test_an_addition_to_a_run_without_chains_cannot_be_planned(
    job: Job,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],  # noqa: F811
) -> None:
    assert job("tokens", *arguments) == 0
    capsys.readouterr()
    line = refused(
        job, capsys, "plan", f"run.uri={tmp_path / 'run'}", "tokens=more",
        "more.num_probe_sequences=9", "plan.rates=h200-assumed",
    )  # fmt: skip
    assert "the run's chains are not done" in line
