"""One function makes a place of what was given: every spelling of a folder is that folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats.out_file import put_file
from spectro.models.config import ModelConfig
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Exponential
from spectro.storage.locations import local_path, path_or_name, resolve_location
from spectro.storage.store import Store
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.work.config import RunConfig
from tests.servers.moto_server import MotoServer
from tests.servers.seaweed import BUCKET

HOSTILE = [
    "run::1", "run::2", "rdé", "rde\u0301", "rd#1", "it's", "rd(1)", "lr=3", "a b", " a", "a,b",
    "[1]", "{a}", "$HOME", "${x}", "50%41", "a*b?", "back\\slash", "two\nlines", "-m", "null",
    "true", "1e3", "auto", "a~", "\"q\"", "s3", "a;token=5", "zip::a", "@x",
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_spellings_of_one_folder(here: Path) -> None:
    spelled = [
        "runs/a", "./runs/a", "runs//a/", "runs/./a", "runs/b/../a", "../" + here.name + "/runs/a",
        f"{here}/runs/a", f"{here}//runs/a///", f"//{here}/runs/a", f"file://{here}/runs/a",
        f"file://localhost{here}/runs/%61/", f"FILE://{here}/runs/a", f"local://{here}/runs/a",
    ]  # fmt: skip
    assert {resolve_location(text) for text in spelled} == {f"{here}/runs/a"}
    assert resolve_location("~/runs/") == f"{here}/home/runs"
    assert resolve_location("~root/x") == f"{os.path.expanduser('~root')}/x"
    assert resolve_location("./~/x") == f"{here}/~/x"
    assert resolve_location("/") == resolve_location("/..") == "/"


def test_above_a_link_is_above_its_target(here: Path) -> None:
    (here / "deep" / "target").mkdir(parents=True)
    (here / "link").symlink_to(here / "deep" / "target")
    assert resolve_location("link/../x") == f"{here}/deep/x"
    assert resolve_location("link/x") == f"{here}/link/x"  # a link that is not gone above stays


@pytest.mark.parametrize("name", HOSTILE)
def test_names_mean_nothing(here: Path, name: str) -> None:
    Store(name if not name.startswith("~") else f"./{name}").put("x", name.encode())
    put_file(f"{name}/out.csv", b"1")
    assert os.listdir(here) == [name]
    assert Store(f"{here}/{name}").list() == {"x": len(name.encode()), "out.csv": 1}
    assert Store(f"file://{Path(name).absolute().as_uri()[7:]}").read("x") == name.encode()


@given(text=st.text(st.sampled_from("ab~.:/ #%é=$'\"*\\"), min_size=1, max_size=12))
def test_a_place_of_a_place_is_the_same(text: str) -> None:
    try:
        found = resolve_location(text)
    except ValueError:
        return
    assert resolve_location(found) == found
    if "://" not in found:
        assert found == os.path.normpath(found) and os.path.isabs(found)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("s3://bucket/key#1/", "s3://bucket/key#1"),
        ("S3://bucket/a//b/../c?x=%20", "s3://bucket/a//b/../c?x=%20"),
        ("s3://bucket/run::1", "s3://bucket/run::1"),
        ("gs://a/b/", "gs://a/b"),
    ],
)
def test_keys_of_uris_stay_as_they_are(text: str, seen: str) -> None:
    assert resolve_location(text) == seen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("s3:/bucket/run", "one slash after its scheme"),
        ("s3:bucket/run", "one slash after its scheme"),
        ("simplecache::s3://bucket/run", "chains filesystems"),
        ("gs://a::b", "chains filesystems"),
        (
            "memory://a",
            "a memory:// URI.*expected a path of this machine, file://, or one of s3://",
        ),
        ("HTTP://host/run", "a http:// URI"),
        ("https://host/run", "a https:// URI"),
        ("hf://datasets/a/b", "a hf:// URI"),
        ("zip://a.zip", "a zip:// URI"),
        ("s3a://bucket/run", "a s3a:// URI"),
        ("file://host/share", "names the machine 'host'"),
        ("~nosuchuser/x", "no home folder is known for '~nosuchuser'"),
        ("a\udcff", "not UTF-8"),
        ("a\0b", "NUL"),
        ("s3://me:hunter2@bucket/run", "takes credentials from the environment"),
    ],
)
def test_what_no_place_can_be(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        resolve_location(text, "run.root")
    line = str(caught.value)
    assert line.startswith("run.root") and "\n" not in line and "hunter2" not in line


def test_a_local_path_is_no_uri_and_a_name_is_no_path(here: Path) -> None:
    with pytest.raises(ValueError, match="file: expected a path of this machine, found a s3"):
        local_path("s3://bucket/a.txt", "file")
    with pytest.raises(ValueError, match="file: expected a path of this machine, found a http"):
        local_path("http://host/a.txt", "file")
    (here / "ckpt").mkdir()
    (here / "embedded").mkdir()
    names = [path_or_name(n, "model", ("embedded",)) for n in ("ckpt", "embedded", "owner/name")]
    assert names == [f"{here}/ckpt", "embedded", "owner/name"]
    assert path_or_name("./gone", "model") == f"{here}/gone"


def config(path: str, model: str, root: str) -> PipelineConfig:
    return PipelineConfig(
        model=ModelConfig(name_or_path=model),
        tokens=TokensConfig(subsets={"a": Source(kind=SourceKind.JSONL, path=path)}),
        sampler=Exponential(gamma=300.0, nbeta=10.0, step_size=1e-3),
        chain=ChainConfig(
            num_chains=1, num_draws=1, batch_size=1, num_burnin_steps=0, steps_between_draws=1
        ),
        run=RunConfig(root=root),
    )


def test_a_run_is_the_same_however_its_paths_are_written(here: Path) -> None:
    (here / "home" / "ckpt").mkdir(parents=True)
    plain = config(f"{here}/home/a.jsonl", f"{here}/home/ckpt", f"{here}/runs")
    for paths in (
        ("home/a.jsonl", "home/ckpt/", "runs/"),
        ("~/a.jsonl", "~/ckpt", "./runs"),
        (f"file://{here}/home/a.jsonl", f"file://{here}/home/ckpt", f"{here}//runs"),
    ):
        other = config(*paths)
        assert other.run.uri == plain.run.uri
        assert with_absolute_paths(other).inputs() == plain.inputs()
        assert with_absolute_paths(other).model == plain.model


def test_the_folder_above(here: Path) -> None:
    assert Store("a/b").above().uri == f"{here}/a"
    assert Store("/a").above().uri == Store("/").above().uri == "/"
    assert Store("s3://bucket/a/b").above().uri == "s3://bucket/a"
    assert Store("s3://bucket/a").above().above().uri == "s3://bucket"


def test_a_run_may_be_called_as_its_default_is(here: Path) -> None:
    """`auto` was what a run without a place was called inside."""
    run = RunConfig(uri="auto")
    base = config("/a.jsonl", "embedded", "runs")
    assert with_absolute_paths(PipelineConfig(
        model=base.model, tokens=base.tokens, sampler=base.sampler, chain=base.chain, run=run
    )).run.uri == f"{here}/auto"  # fmt: skip


@pytest.mark.parametrize("name", ["run::1", "key#1", "50%41", "a?b", "a+b", "é =&", "a//b", "a:b"])
def test_keys_of_s3(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for key, value in moto_server.environment().items():
        monkeypatch.setenv(key, value)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):  # nothing listens there
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    from spectro.work.environment import prepare

    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("no_proxy", "example.org")
    prepare()
    assert os.environ["NO_PROXY"].split(",")[0] == "example.org"
    store = Store(f"s3://{BUCKET}/places/{name}")
    store.put("x/y%20z", name.encode())
    assert store.read("x/y%20z") == name.encode()
    assert list(store.list()) == ["x/y%20z"]
    store.delete("x/y%20z")
    assert store.list() == {}
