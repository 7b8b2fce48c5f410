"""Where maps go: no file of others is lost, no good map made worse, servers know what files are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.formats.derived_objects import put_derived
from spectro.storage import s3
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.s3_client import client
from spectro.storage.store import ObjectInfo, Store
from spectro.views.map.config import MapConfig
from spectro.views.map.write import MARKER, copy_map, settings_there, write_map
from tests.run.made_maps import QUICK, clustered_run
from tests.run.made_runs import CONFIG, put_clusters
from tests.run.test_map_view import CountingView
from tests.servers.seaweed import BUCKET, Seaweed

Job = Callable[..., int]
FOREIGN = {
    "a page of the report": {"index.html": b"<p>", "page.json": b"{}", "package.json": b"{}"},
    "a page": {"index.html": b"<p>of mine</p>"},
    "settings": {"package.json": b"{}"},
    "scripts": {"main.js": b"1", "style.css": b""},
    "another's map.json": {"map.json": b'{"version": 3}'},
    "data without a page": {"vocabulary.json": b"[]", "tokens/x-0000.bin": b"1"},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return clustered_run(tmp_path / "run")


def contents(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.list()}


def put_files(folder: Path, files: dict[str, bytes]) -> Store:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Store(str(folder))


@pytest.mark.parametrize("what", FOREIGN)
def test_files_of_others_are_left_alone(store: Store, tmp_path: Path, what: str) -> None:
    target, view = put_files(tmp_path / "site", FOREIGN[what]), CountingView(store.uri)
    with pytest.raises(ValueError, match=r"site holds files that are of no map \(.* …\): give"):
        write_map(view, QUICK, target)
    assert view.num_read == 0, "refused before anything is laid out"
    source = write_map(view, QUICK).store
    with pytest.raises(ValueError, match="files that are of no map"):
        copy_map(source, target)
    assert contents(target) == FOREIGN[what]


@pytest.mark.parametrize("name", ["notes.html", "more.js", "package.json", "old/x-0000.bin"])
def test_files_beside_a_map_are_left_alone(store: Store, tmp_path: Path, name: str) -> None:
    view, target = CountingView(store.uri), Store(str(tmp_path / "site"))
    write_map(view, QUICK, target)
    put_files(tmp_path / "site", {name: b"mine"})
    before = contents(target)
    with pytest.raises(ValueError, match=rf"files that are of no map \({name}"):
        write_map(view, dataclasses.replace(QUICK, max_tokens=50), target)
    assert contents(target) == before


def test_what_an_interrupted_export_left_is_taken_up(store: Store, tmp_path: Path) -> None:
    view, target = CountingView(store.uri), Store(str(tmp_path / "site"))
    whole = contents(write_map(view, QUICK, target).store)
    target.delete_many([MARKER, "tokens/loss-0000.bin"])
    assert not write_map(view, QUICK, target).was_there
    assert contents(target) == whole
    target.delete(MARKER)
    put_files(tmp_path / "site", {"index.html": b"of another version, or of someone"})
    with pytest.raises(ValueError, match="files that are of no map"):
        write_map(view, QUICK, target)


def test_in_the_runs_own_folder_all_such_names_are_the_runs(store: Store) -> None:
    view = CountingView(store.uri)
    whole = contents(write_map(view, QUICK).store)
    own = store.child("map")
    own.delete(MARKER)
    own.put("tokens/x-0009.bin", b"of a longer map")
    own.put("older.js", b"of an older page")
    assert not write_map(view, QUICK).was_there
    assert contents(own) == whole


def test_a_page_of_another_version_is_replaced_and_nothing_laid_out(store: Store) -> None:
    view = CountingView(store.uri)
    own = write_map(view, QUICK).store
    whole, told = contents(own), read_sealed(own, MARKER)
    older = {"card.js": b"older", "gone.js": b"no longer there"}
    own.delete_many([MARKER, "card.js", "view.js"])
    for name, data in older.items():
        own.put(name, data)
    infos = {name: dataclasses.asdict(ObjectInfo.of(data)) for name, data in older.items()}
    objects = {n: info for n, info in told["objects"].items() if n != "view.js"} | infos
    put_derived(own, MARKER, {**told, "objects": objects}, told["probe_sha256"])
    view.num_read = 0
    assert write_map(view, QUICK).was_there and view.num_read == 0
    assert contents(own) == whole


def test_words_are_kept_where_the_tokenizer_is_not_at_hand(
    tmp_path: Path, tiny_model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    store = clustered_run(tmp_path / "run", model=model)
    whole = contents(write_map(CountingView(store.uri), QUICK).store)
    assert b"#0" not in whole["vocabulary.json"]
    shutil.rmtree(model)
    view = CountingView(store.uri)
    assert write_map(view, QUICK).was_there and view.num_read == 0
    assert contents(store.child("map")) == whole
    fewer = write_map(view, dataclasses.replace(QUICK, max_tokens=50))
    assert not fewer.was_there
    assert fewer.store.read("vocabulary.json") == whole["vocabulary.json"]
    assert "keeps the words that it has" in caplog.text
    elsewhere = write_map(view, QUICK, Store(str(tmp_path / "site"))).store
    assert elsewhere.read("vocabulary.json").startswith(b'["#0","#1"')


def test_looking_at_a_map_does_not_make_another(
    store: Store, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    """`spectro map <run>`, as the command's own advice says it, after one with settings."""
    place = f"run.uri={store.uri}"
    assert job("map", place, "map.max_tokens=70", "map.landmarks=20") == 0
    advice = next(line for line in capsys.readouterr().out.splitlines() if "look at it" in line)
    assert f"spectro map {store.uri} serve=0" in advice
    whole = contents(store.child("map"))
    for arguments in ([], ["map.device=cpu"], ["renew=true"]):
        assert job("map", place, *arguments) == 0
        assert ("(was there)" in capsys.readouterr().out) == ("renew=true" not in arguments)
        assert contents(store.child("map")) == whole
    assert job("map", place, "map.landmarks=21", "map.max_tokens=80") == 0
    assert read_sealed(store.child("map"), MARKER)["tokens"]["count"] == 80
    view = CountingView(store.uri)
    assert settings_there(view) == MapConfig(landmarks=21, max_tokens=80)
    assert settings_there(view, Store(f"{store.uri}/nowhere")) is None
    shutil.rmtree(Path(store.root) / "clusters")
    put_clusters(store, config=dataclasses.replace(CONFIG, num_neighbours=9))
    assert settings_there(CountingView(store.uri)) is None


TYPES = {
    "index.html": "text/html; charset=utf-8",
    "deck.js": "text/javascript",
    "viewer.css": "text/css",
    "map.json": "application/json",
    "tokens/x-0000.bin": "application/octet-stream",
}


def test_a_map_on_s3_says_what_its_files_are(
    store: Store, tmp_path: Path, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    there = Store(f"s3://{BUCKET}/{tmp_path.name}/site")
    write_map(CountingView(store.uri), QUICK, there)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)  # the least that S3 allows
    monkeypatch.setattr(s3, "WHOLE_BYTES", 6 << 20)
    there.put("long.svg", bytes(7 << 20))
    for name, expected in {**TYPES, "long.svg": "image/svg+xml"}.items():
        key = f"{tmp_path.name}/site/{name}"
        assert client().head_object(Bucket=BUCKET, Key=key)["ContentType"] == expected, name
