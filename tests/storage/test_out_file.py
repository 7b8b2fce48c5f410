"""Files that are asked for by name: replaced whole or not at all, never a folder or a run's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectro.formats import run_dir
from spectro.formats.out_file import place_of, put_file, replaced
from spectro.storage.store import Store


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize("start", ["{folder}/new/a.csv", "gs://{name}/a.csv"])
def test_a_file_is_replaced(tmp_path: Path, start: str) -> None:
    out = start.format(folder=tmp_path, name=tmp_path.name)
    store = Store(out.removesuffix("/a.csv"))
    put_file(out, b"first, and longer")
    put_file(out, b"second")
    assert place_of(out) == out and store.read("a.csv") == b"second"
    assert list(store.list()) == ["a.csv"]


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize("start", ["{folder}/a.csv", "gs://{name}/a.csv"])
def test_what_fails_leaves_what_was_there(tmp_path: Path, start: str) -> None:
    out = start.format(folder=tmp_path, name=tmp_path.name)
    put_file(out, b"first")
    with pytest.raises(KeyError), replaced(out) as sink:
        sink.write(b"half of")
        raise KeyError
    store = Store(out.removesuffix("/a.csv"))
    assert store.read("a.csv") == b"first"
    if store.is_local:
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_relative_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_file("a.csv", b"1")
    put_file("b/a.csv", b"2")
    assert (tmp_path / "a.csv").read_bytes() == b"1"
    assert (tmp_path / "b" / "a.csv").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["", "inner"])
def test_a_folder_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(ValueError, match="is a folder: give the name of a file in it"):
        put_file(f"{tmp_path}/{name}", b"1")


@pytest.mark.parametrize(
    "name",
    ["run.yaml", "susceptibilities/part-00000.parquet", "map/control/map.json",
     "control/clusters/clusters.parquet"],
)  # fmt: skip
def test_the_objects_of_a_run_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By an absolute name, and by a relative one from within."""
    store = Store(str(tmp_path / "run"))
    run_dir.start(store, {}, {"fingerprint": "f"})
    run_dir.start(store.child("control"), {}, {"fingerprint": "f"})
    for folder in ("susceptibilities", "map/control", "control/clusters"):
        (tmp_path / "run" / folder).mkdir(parents=True, exist_ok=True)
    before = store.list()
    folder, _, last = f"{tmp_path}/run/{name}".rpartition("/")
    monkeypatch.chdir(folder)
    for out in (f"{folder}/{last}", last):
        with pytest.raises(ValueError, match="whose objects are never replaced") as error:
            put_file(out, b"1")
        assert "\n" not in str(error.value)
    assert store.list() == before
    put_file("picture.svg", b"1")  # anything else may lie there
    assert (Path(folder) / "picture.svg").exists()
