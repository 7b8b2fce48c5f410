"""Text, checkpoints and output files at URLs: S3 by s3fs, and filesystems in memory."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from spectro.formats.out_file import place_of, put_file, replaced
from spectro.measure.checkpoint_copy import on_this_machine
from spectro.models.config import EMBEDDED, ModelConfig
from spectro.models.load import load_model, load_tokenizer
from spectro.storage import remote_files
from spectro.storage.local_copies import local_folder, open_url
from spectro.storage.remote_files import opened_url
from spectro.storage.store import Store
from spectro.tokens.build import build, check_source
from spectro.tokens.config import Items, Source, SourceKind, TokensConfig
from spectro.tokens.overlap import require_distinct
from tests.servers.moto_server import MotoServer
from tests.servers.seaweed import BUCKET, SECRET_KEY, Seaweed
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode
from tests.tokens.test_memmap import write_pair


@pytest.fixture(params=["s3", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    server: MotoServer = request.getfixturevalue("moto_server")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of a folder are read at once, longer files as a stream."""
    monkeypatch.setattr(remote_files, "BLOCK_BYTES", 512)


@pytest.fixture
def opened(tmp_path: Path):
    return partial(open_url, scratch=str(tmp_path / "scratch"))


def upload(folder: Path, url: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            opened_url(f"{url}/{file.relative_to(folder).as_posix()}").write(file.read_bytes())


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    documents = [f"document {number}: " + "abc " * (20 + number) for number in range(24)]
    for kind in ("lines/deep", "table", "folder/a", "folder/.hidden"):
        (folder / kind).mkdir(parents=True)
    lines = [json.dumps({"text": text}) for text in documents]
    (folder / "lines" / "b.jsonl").write_text("\n".join(lines[:12]))
    (folder / "lines" / "deep" / "a.jsonl").write_text("\n".join(lines[12:]))
    (folder / "lines" / "notes.txt").write_text("not read")
    pq.write_table(pa.table({"text": documents}), folder / "table" / "a.parquet")
    for number, text in enumerate(documents):
        (folder / "folder" / ("a" if number % 2 else "") / f"{number:02}.txt").write_text(text)
    (folder / "folder" / ".hidden" / "x.txt").write_text("not read")
    write_pair(folder / "pair", [np.arange(50) + number for number in range(24)])
    return folder


SOURCES = {
    "jsonl": Source(kind=SourceKind.JSONL, path="lines"),
    "glob": Source(kind=SourceKind.JSONL, path="lines/**/*.jsonl"),
    "file": Source(kind=SourceKind.JSONL, path="lines/b.jsonl"),
    "parquet": Source(kind=SourceKind.PARQUET, path="table"),
    "text": Source(kind=SourceKind.TEXT_FOLDER, path="folder"),
    "some": Source(kind=SourceKind.TEXT_FOLDER, path="folder", pattern="a/*.txt"),
    "memmap": Source(kind=SourceKind.MEMMAP, path="pair"),
    "stream": Source(kind=SourceKind.MEMMAP, path="pair", items=Items.DOCUMENTS),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_at_a_url_gives_what_the_same_files_give_here(
    name: str, texts: Path, url: str, opened
) -> None:
    upload(texts, url)
    source, found = SOURCES[name], {}
    for place in (str(texts), url):
        own = dataclasses.replace(source, path=f"{place}/{source.path}")
        config = TokensConfig(
            subsets={"a": own}, context=16, num_probe_sequences=8, num_sampling_sequences=4,
            num_evaluation_sequences=2,
        )  # fmt: skip
        check_source(config, "a", own, range(4), encode, EOT, VOCAB, opened)
        found[place] = build(config, encode, EOT, VOCAB, open_url=opened)
    here, there = found.values()
    for split in ("sampling", "evaluation", "probe"):
        ours, theirs = getattr(here, split), getattr(there, split)
        np.testing.assert_array_equal(ours.ids_ST1, theirs.ids_ST1)
    assert here.reports["a"].counts["documents read"] == there.reports["a"].counts["documents read"]


def test_two_subsets_of_one_file_at_a_url_are_refused(texts: Path, url: str, opened) -> None:
    upload(texts, url)
    two = {
        "whole": Source(kind=SourceKind.JSONL, path=f"{url}/lines"),
        "part": Source(kind=SourceKind.JSONL, path=f"{url}/lines/b.jsonl"),
    }
    with pytest.raises(ValueError, match=f"both read {url}/lines/b.jsonl"):
        require_distinct(two, opened)


@pytest.mark.parametrize("kind", [SourceKind.JSONL, SourceKind.TEXT_FOLDER, SourceKind.MEMMAP])
def test_a_source_that_is_not_there(kind: SourceKind, url: str, opened) -> None:
    source = Source(kind=kind, path=f"{url}/absent")
    config = TokensConfig(subsets={"a": source}, context=16)
    with pytest.raises(FileNotFoundError, match="absent") as caught:
        check_source(config, "a", source, range(4), encode, EOT, VOCAB, opened)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_put_anew_is_never_mixed(url: str, opened, tmp_path: Path) -> None:
    opened_url(f"{url}/x.bin").write(b"0123456789")
    (file,) = opened(f"{url}/x.bin").values()
    assert file.read_ranges([(1, 3), (5, 9)]) == [b"12", b"5678"]
    first = Path(file.local())
    assert first.read_bytes() == b"0123456789" and first.name == "x.bin"
    opened_url(f"{url}/x.bin").write(b"9876543210")
    with pytest.raises(ValueError, match=r"x\.bin was replaced while it was read"):
        file.read_ranges([(1, 3)])
    (again,) = opened(f"{url}/x.bin").values()
    assert Path(again.local()).read_bytes() == b"9876543210"
    assert first.read_bytes() == b"0123456789"  # others may have it mapped


def test_a_checkpoint_at_a_url_is_the_same_model(url: str, tmp_path: Path) -> None:
    folder = Path(str(resources.files("spectro"))) / "assets" / "model"
    upload(folder, f"{url}/model")
    opened_url(f"{url}/model/optimizer/state.safetensors").write(b"not copied")
    scratch = str(tmp_path / "scratch")
    config = ModelConfig(name_or_path=f"{url}/model", device="cpu")
    light = on_this_machine(config, scratch, weights=False)
    assert not list(Path(light.name_or_path).rglob("*.safetensors"))
    text = "the same tokens"
    own = load_tokenizer(ModelConfig(name_or_path=EMBEDDED)).encode(text)
    assert load_tokenizer(light).encode(text) == own
    local = on_this_machine(config, scratch, weights=True)
    assert local == on_this_machine(config, scratch, weights=True)  # one copy
    found = load_model(local).state_dict()
    expected = load_model(ModelConfig(name_or_path=EMBEDDED, device="cpu")).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    with pytest.raises(ValueError, match="no revisions"):
        on_this_machine(dataclasses.replace(config, revision="main"), scratch, weights=True)
    with pytest.raises(FileNotFoundError, match="absent: expected a folder with files"):
        local_folder(f"{url}/absent", scratch)


def test_a_copy_that_was_broken_off_is_made_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.json", "b.json"):
        opened_url(f"{url}/model/{name}").write(name.encode())
    calls: list[str] = []
    filesystem = opened_url(url).filesystem
    whole = filesystem.get_file

    def broken(path: str, target: str, **more: object) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise OSError("the disk is gone")
        whole(path, target, **more)

    monkeypatch.setattr(filesystem, "get_file", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        local_folder(f"{url}/model", str(tmp_path))
    copy = Path(local_folder(f"{url}/model", str(tmp_path)))
    assert {file.name for file in copy.glob("*.json")} == {"a.json", "b.json"}
    assert (copy / "b.json").read_bytes() == b"b.json"


def test_out_at_a_url_is_replaced_and_runs_are_left_alone(url: str) -> None:
    out = f"{url}/new/picture.svg"
    put_file(out, b"first, and longer")
    put_file(out, b"second")
    with pytest.raises(KeyError), replaced(out) as sink:
        sink.write(b"half of")
        raise KeyError
    assert place_of(out) == out
    assert opened_url(out).files()[""].open().read() == b"second"
    opened_url(f"{url}/run/run.yaml").write(b"x")
    for name in ("run.yaml", "susceptibilities/part-00000.parquet"):
        with pytest.raises(ValueError, match="whose objects are never replaced"):
            put_file(f"{url}/run/{name}", b"1")
    with pytest.raises(ValueError, match="is a folder"):
        place_of(f"{url}/")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("nosuch://a/b.csv", "Protocol not known: nosuch"),
        ("s3://me:hunter2@bucket/b.csv", "takes credentials from the environment"),
        ("zip::s3://bucket/b.csv", "chains filesystems"),
    ],
)
def test_urls_that_cannot_be(out: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        put_file(out, b"1")
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_refusal_is_one_line_without_secrets(
    seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    place = f"s3://{BUCKET}/{tmp_path.name}/a.csv"
    put_file(place, b"1")
    assert Store(f"s3://{BUCKET}/{tmp_path.name}").read("a.csv") == b"1"
    (file,) = open_url(place, None).values()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-one-expected")
    for call in (
        lambda: put_file(place, b"2"),
        lambda: open_url(place, None),
        lambda: open_url(f"s3://{BUCKET}/{tmp_path.name}", None),
    ):
        with pytest.raises(PermissionError) as caught:
            call()
        message = str(caught.value)
        assert place.rpartition("/")[0] in message and "\n" not in message
        assert SECRET_KEY not in message and "not-the-one-expected" not in message
    assert file.size_bytes == 1
