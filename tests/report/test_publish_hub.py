"""`spectro publish` to a repository of the Hugging Face hub: what is replaced, kept and refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import made_up_run
import pytest
import yaml
from stored_run import write_run

from spectro.views.publish.folder import write_dataset
from spectro.views.publish.hub import Repository
from tests.report.published_run import CONTEXT, NUM_SEQUENCES, published
from tests.servers.hub import hub

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "made"
    write_run(
        folder, made_up_run.made(num_sequences=NUM_SEQUENCES, context=CONTEXT, num_clusters=3)
    )
    return folder


@pytest.fixture
def server():
    """A hub that speaks its API on loopback."""
    with hub() as own:
        yield own


@pytest.fixture
def push_job(server, run: Path, tmp_path: Path, job, monkeypatch):
    """The command in this process, by the real client, to that hub."""
    known = {
        "ENDPOINT": server.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in known.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_TOKEN", "hf_test_token_of_nobody")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return lambda *arguments: job("publish", str(run), *arguments, "map=false")


PLACE, NAME = "hf://datasets/somebody/small", "somebody/small"


def test_pushed_to_a_repository(run: Path, tmp_path: Path, server) -> None:
    """By the command in another process, whose environment names the hub."""
    environment = {
        **os.environ, "HF_ENDPOINT": server.address, "HF_TOKEN": "hf_test_token_of_nobody",
        "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "jobs.cli", "publish", str(run), PLACE, "licence=mit"]
    done = subprocess.run(
        [*command, "map=false"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert server.private == {NAME: True}
    assert "Bearer hf_test_token_of_nobody" in server.tokens
    local = published(run, tmp_path / "out", licence="mit")
    there = server.files[NAME]["main"]
    expected = {p.relative_to(local).as_posix() for p in local.rglob("*") if p.is_file()}
    assert set(there) == expected
    for name in expected - {"settings.yaml"}:
        assert there[name] == (local / name).read_bytes(), name


def test_an_earlier_publication_is_replaced_and_other_files_stay(push_job, server) -> None:
    assert push_job(PLACE, "licence=mit") == 0
    there = server.files[NAME]["main"]
    first = set(there)
    settings = yaml.safe_load(there["settings.yaml"])
    settings["files"]["tokens/part-00001.parquet"] = "0" * 64
    there["settings.yaml"] = yaml.safe_dump(settings).encode()
    there["tokens/part-00001.parquet"] = b"of an earlier, longer run"
    by_hand = {"LICENSE", "mine/part-00000.parquet"}
    there |= dict.fromkeys(by_hand, b"added by hand")
    assert push_job(f"{PLACE}@next", "title=Next") == 0
    assert b"# Next" in server.files[NAME]["next"]["README.md"]
    assert b"# Next" not in there["README.md"]
    assert push_job(PLACE, "licence=mit", "title=Again") == 0
    assert set(there) == {*first, *by_hand}
    assert b"# Again" in there["README.md"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train.csv": b"1,2"}, "holds files that spectro did not publish (train.csv …)"),
        ({"settings.yaml": b"format: 1\nfiles: {README.md: x}"}, "did not publish (settings.yaml"),
        ({"settings.yaml": b"[" * 1500}, "did not publish (settings.yaml …)"),
        (
            {"settings.yaml": b"format: spectro publication\nversion: 2\nfiles: {}"},
            "has version 2 of a publication, expected 1",
        ),
        ({"README.md": b"# By hand", ".gitattributes": b""}, "README.md is not as published"),
    ],
)
def test_a_refusal_changes_nothing_on_the_hub(push_job, server, capsys, content, message) -> None:
    """No repository, branch or commit is made."""
    server.files[NAME] = {"main": dict(content)}
    for place in (PLACE, f"{PLACE}@next"):
        assert push_job(place) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert push_job("hf://datasets/somebody/new", "licences={nowhere: mit}") == 2
    assert server.files == {NAME: {"main": content}}


def test_a_card_of_a_person_on_the_hub_stays_until_it_is_given_up(push_job, server) -> None:
    server.files[NAME] = {"main": {"README.md": b"# By hand"}}
    there = server.files[NAME]["main"]
    assert push_job(PLACE, "edited_card=keep") == 0
    assert there["README.md"] == b"# By hand" and "tokens/part-00000.parquet" in there
    assert push_job(PLACE) == 2
    assert push_job(PLACE, "edited_card=replace") == 0
    assert there["README.md"].startswith(b"---\n")
    assert push_job(PLACE, "title=Again") == 0


def test_a_branch_that_moved_since_it_was_checked_is_not_overwritten(
    push_job, server, monkeypatch, capsys
) -> None:
    assert push_job(PLACE) == 0
    there = server.files[NAME]["main"]

    def meanwhile(*arguments):
        there["README.md"] = b"# By somebody, now"
        return write_dataset(*arguments)

    monkeypatch.setattr("spectro.views.publish.folder.write_dataset", meanwhile)
    assert push_job(PLACE, "title=Again") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert there["README.md"] == b"# By somebody, now"


def test_a_hub_that_does_not_answer_is_one_line(push_job, monkeypatch, capsys) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert push_job(PLACE) == 2
    error = capsys.readouterr().err
    assert "the Hugging Face hub did not answer (ConnectError" in error and error.count("\n") == 1


def test_places_on_the_hub() -> None:
    assert Repository.of("hf://datasets/a/b-1") == Repository(name="a/b-1")
    assert Repository.of("hf://datasets/a/b@dev") == Repository(name="a/b", revision="dev")
