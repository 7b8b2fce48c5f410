"""`spectro publish`: what the dataset's own library reads back, the card, licences, refusals."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

import datasets
import made_up_run
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from stored_run import write_run

from spectro.storage.checksummed_json import DIGEST
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.publish import parquet_files
from spectro.views.publish.folder import replaced_folder
from spectro.views.publish.markdown import escaped, table
from spectro.views.run_view import RunView
from tests.report.published_run import CONTEXT, NUM_SEQUENCES, published

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "<script>alert(1)</script>", "a | b", "[x](javascript:alert(1))", "line\n---\nlicense: mit",
    "\x1b[31mred", "\u202egnp.exe", "`code` **bold** ![i](http://x.example/i.png)", "plain",
)  # fmt: skip


@pytest.fixture(scope="module")
def what():
    return made_up_run.made(num_sequences=NUM_SEQUENCES, context=CONTEXT, num_clusters=3)


@pytest.fixture(scope="module")
def run(what, tmp_path_factory) -> Path:
    """A run of three token shards with clusters."""
    folder = tmp_path_factory.mktemp("run") / "made"
    write_run(folder, what)
    return folder


@pytest.fixture(scope="module")
def hostile(what, tmp_path_factory) -> Path:
    """The same, with subsets whose names are an attacker's."""
    folder = tmp_path_factory.mktemp("hostile") / "made"
    probe = dataclasses.replace(what.probe, subset_names=HOSTILE)
    write_run(folder, dataclasses.replace(what, probe=probe))
    return folder


def load(folder: Path, name: str, cache: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), name, split="train", cache_dir=str(cache))


def test_what_load_dataset_reads_is_the_run(run: Path, what, tmp_path: Path) -> None:
    folder = published(run, tmp_path / "out", licence="cc-by-4.0")
    rows = load(folder, "tokens", tmp_path)
    assert rows.features["chi"] == datasets.List(datasets.Value("float32"), length=22)
    rows = rows.with_format("numpy")[:]
    np.testing.assert_array_equal(rows["token_id"], np.arange(NUM_SEQUENCES * CONTEXT))
    np.testing.assert_array_equal(np.stack(rows["chi"]), what.chi_NH)
    np.testing.assert_array_equal(rows["loss"], what.loss_N)
    np.testing.assert_array_equal(rows["token"], what.probe.ids_ST1[:, 1:].reshape(-1))
    sequences = load(folder, "sequences", tmp_path)
    np.testing.assert_array_equal(np.array(sequences["input_ids"][:]), what.probe.ids_ST1)
    names = np.array(what.probe.subset_names)[what.probe.subset_S]
    assert list(sequences["subset"]) == names.tolist()
    assert list(rows["subset"][::CONTEXT]) == names.tolist()
    clusters = load(folder, "clusters", tmp_path)
    members = load(folder, "members", tmp_path).with_format("numpy")[:]
    sizes = np.bincount(what.label_N[what.label_N >= 0])
    assert list(clusters["size"]) == sizes.tolist()
    np.testing.assert_array_equal(what.label_N[members["token_id"]], members["cluster_id"])
    own = load(folder, "tokens", tmp_path)["cluster_id"][:]
    assert [-1 if c is None else c for c in own] == what.label_N.tolist()
    components = load(folder, "components", tmp_path)
    assert tuple(components["component"]) == what.names
    np.testing.assert_array_equal(components["reliability"][1:], what.columns.reliability_H[1:])
    assert components["reliability"][0] is None


def test_text_is_that_of_the_tokenizer(run: Path, what, tmp_path: Path) -> None:
    from spectro.models.load import ModelConfig, load_tokenizer

    folder = published(run, tmp_path / "out", licence="mit")
    tokenizer = load_tokenizer(ModelConfig(name_or_path="embedded"))
    ids = what.probe.ids_ST1[0].tolist()
    assert load(folder, "sequences", tmp_path)[0]["text"] == tokenizer.decode(ids)
    rows = load(folder, "tokens", tmp_path)
    entries = tokenizer.convert_ids_to_tokens(rows["token"][:])
    plain = [(e, t) for e, t in zip(entries, rows["text"][:], strict=True) if e.isascii()]
    assert len(plain) > 20 and all(entry == text for entry, text in plain)
    cluster = load(folder, "clusters", tmp_path)[0]
    assert len(cluster["top_texts"]) == len(cluster["top_tokens"]) and all(cluster["top_texts"])


def test_text_is_left_out_where_its_licence_asks(run: Path, what, tmp_path: Path) -> None:
    licences = {"code": "mit", "docs": "cc-by-nd-4.0", "math": "unknown"}
    folder = published(run, tmp_path / "out", licence="cc-by-sa-4.0", licences=licences)
    for name in ("tokens", "sequences"):
        for row in load(folder, name, tmp_path):
            assert (row["text"] is None) == (row["subset"] in ("docs", "math"))
    clusters = load(folder, "clusters", tmp_path)
    subset_N = np.array(what.probe.subset_names)[np.repeat(what.probe.subset_S, CONTEXT)]
    for row in clusters:
        subsets = set(subset_N[what.label_N == row["cluster_id"]])
        hidden = bool(subsets & {"docs", "math"})
        assert (row["top_texts"] is None) == hidden
        assert not hidden or row["name"] is row["rule"] is None
        assert row["neighbourhood"] is None
    card = (folder / "README.md").read_text()
    assert re.search(r"^\| docs \| .* cc-by-nd-4\.0 \| no, token ids only \|$", card, re.M)
    assert re.search(r"^\| code \| .* mit \| yes \|$", card, re.M)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == ["cc-by-nd-4.0", "cc-by-sa-4.0", "mit", "unknown"]


@pytest.mark.parametrize("settings", [{}, {"licence": "mit", "text": False}])
def test_without_a_licence_there_is_no_text_at_all(run: Path, tmp_path: Path, settings) -> None:
    folder = published(run, tmp_path / "out", **settings)
    for path in folder.glob("*/*.parquet"):
        rows = pq.read_table(path)
        quoted = {"text", "top_texts", "name", "rule_name", "rule", "neighbourhood"}
        for name in quoted & set(rows.column_names):
            assert rows[name].null_count == rows.num_rows, (path, name)


def _html(card: str) -> str:
    return MarkdownIt("commonmark", {"html": True, "linkify": True}).enable("table").render(card)


def test_a_hostile_card_shows_the_text_and_does_nothing(hostile: Path, tmp_path: Path) -> None:
    title = "\n# big\n---\n<img src=x onerror=alert(1)> @someone"
    folder = published(hostile, tmp_path / "out", title=title)
    card = (folder / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"pretty_name", "license", "tags", "configs"}
    html = _html(body)
    tags = set(re.findall(r"<([a-z0-9]+)", html))
    assert tags <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert html.count("<h1>") == 1 and html.count("<table>") == 5
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", card)
    assert sorted(row["subset"] for row in load(folder, "sequences", tmp_path)) == sorted(
        HOSTILE[s] for s in RunView(str(hostile)).sequences(np.arange(NUM_SEQUENCES))[1]
    )


@given(st.text(max_size=60))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    """In a paragraph, a heading, an item of a list and a cell, by another reader of Markdown."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    shown = " ".join(plain_string(text).split())
    for source, expected in (
        (f"# {escaped(text)}", shown),
        (f"- {escaped(text)}", shown),
        (f"before {escaped(text)}", f"before {shown}".strip()),
        (table(("head",), [(text,)]), f"head{shown}"),
    ):
        inlines = [token for token in markdown.parse(source) if token.type == "inline"]
        children = [child for token in inlines for child in token.children or ()]
        assert {child.type for child in children} <= {"text", "text_special"}, source
        assert "".join(child.content for child in children).strip() == expected, source


def test_nothing_names_this_machine(run: Path, tmp_path: Path) -> None:
    """Paths of text and model, and the folder of the run."""
    own = tmp_path / "alice" / "made"
    shutil.copytree(run, own)
    content = yaml.safe_load((own / "run.yaml").read_text())
    content.pop(DIGEST)
    secret = {"code": {"path": "/home/alice/secret/mine.jsonl"}}
    content["config"]["tokens"]["subsets"] |= secret
    content["inputs"] = {"tokens": {"subsets": secret}}
    content["config"]["run"] = {"webhook": "https://hooks.example/SECRET", "uri": str(own)}
    (own / "run.yaml").write_text(yaml.safe_dump(content))
    folder = published(own, tmp_path / "out")
    for name in ("README.md", "settings.yaml"):
        text = (folder / name).read_text()
        assert "alice" not in text and "SECRET" not in text and str(tmp_path) not in text
        assert "mine.jsonl" in text.replace("\\", "")


def test_row_groups_and_files_are_limited(run: Path, what, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parquet_files, "ROW_GROUP_BYTES", 40 * 140)
    monkeypatch.setattr(parquet_files, "FILE_BYTES", 60 * 140)
    folder = published(run, tmp_path / "out")
    files = sorted((folder / "tokens").glob("*.parquet"))
    assert len(files) > 1
    for path in files:
        parts = pq.ParquetFile(path).metadata
        groups = [parts.row_group(i).num_rows for i in range(parts.num_row_groups)]
        assert max(groups) <= 60
    rows = load(folder, "tokens", tmp_path).with_format("numpy")
    np.testing.assert_array_equal(np.stack(rows["chi"][:]), what.chi_NH)


def test_a_folder_is_replaced_whole_or_not_at_all(run: Path, tmp_path: Path, job) -> None:
    place = tmp_path / "out"
    assert job("publish", str(run), str(place), "map=false") == 0
    first = {path.name for path in place.iterdir()}
    assert job("publish", str(run), str(place), "map=false", "title=Again") == 0
    assert "# Again" in (place / "README.md").read_text()
    assert {path.name for path in place.iterdir()} == first
    with pytest.raises(RuntimeError), replaced_folder(place) as new:
        (new / "README.md").write_text("half")
        raise RuntimeError
    assert "# Again" in (place / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_failure_between_two_names_brings_the_old_folder_back(tmp_path, monkeypatch) -> None:
    place, rename = tmp_path / "out", os.rename
    place.mkdir()

    def fails(source: Path, target: Path) -> None:
        if Path(target) == place and (Path(source) / "new").exists():
            raise OSError("full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="full"), replaced_folder(place) as new:
        (new / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and not any(place.iterdir())


def test_settings_of_another_program_are_kept(run: Path, tmp_path: Path, job, capsys) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "settings.yaml").write_text("my: own")
    assert job("publish", str(run), str(place), "map=false") == 2
    assert "did not publish (settings.yaml" in capsys.readouterr().err
    assert (place / "settings.yaml").read_text() == "my: own"


def test_through_a_link_the_folder_behind_it_is_written(run: Path, tmp_path: Path, job) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for title in ("Once", "Again"):
        assert job("publish", str(run), str(tmp_path / "out"), "map=false", f"title={title}") == 0
    assert (tmp_path / "out").is_symlink()
    assert "# Again" in (tmp_path / "disk/README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "out"}


def test_a_card_that_was_edited_is_kept(run: Path, tmp_path: Path, job, capsys) -> None:
    place = tmp_path / "out"
    assert job("publish", str(run), str(place), "map=false") == 0
    with (place / "README.md").open("a") as card:
        card.write("What I think of it.")
    assert job("publish", str(run), str(place), "map=false", "title=Again") == 2
    assert "README.md is not as published: edited_card=keep" in capsys.readouterr().err
    assert (place / "README.md").read_text().endswith("What I think of it.")
    kept = ("map=false", "licence=mit", "edited_card=keep")
    assert job("publish", str(run), str(place), *kept) == 0
    assert (place / "README.md").read_text().endswith("What I think of it.")
    assert pq.read_table(place / "tokens")["text"].null_count == 0
    assert job("publish", str(run), str(place), "map=false") == 2
    assert job("publish", str(run), str(place), "map=false", "edited_card=replace") == 0
    assert "What I think" not in (place / "README.md").read_text()


@pytest.mark.parametrize(
    ("place", "settings", "message"),
    [
        ("{run}/inside", [], "is within a run, whose objects are its own"),
        ("{here}/mine", [], r"holds files that spectro did not publish (thesis.tex …)"),
        ("{here}/mine/thesis.tex", [], "is a file, expected a folder"),
        ("s3://bucket/x", [], "expected a path of this machine, found a s3:// URI"),
        ("hf://owner/name", [], "expected hf://datasets/owner/name"),
        (
            "{here}/out",
            ["licences={nowhere: mit}"],
            "names the subset 'nowhere', the run has 'code'",
        ),
        ("{here}/out", ["licences={code: CC BY 4}"], "expected the hub's identifier of a licence"),
        ("{here}/out", ["licence=*"], "expected the hub's identifier of a licence"),
    ],
)
def test_refusals_are_one_line(
    run: Path, tmp_path: Path, job, capsys, place: str, settings: list[str], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    place = place.format(run=run, here=tmp_path)
    assert job("publish", str(run), place, "map=false", *settings) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (tmp_path / "mine/thesis.tex").read_text() == "years of work"
    assert {p.name for p in tmp_path.iterdir()} <= {"mine"}


def test_a_run_that_is_not_measured_to_its_end_is_refused(run: Path, tmp_path: Path, job, capsys):
    own = tmp_path / "part"
    shutil.copytree(run, own)
    Store(str(own)).delete("assembly/part-00002.json")
    assert job("publish", str(own), str(tmp_path / "out"), "map=false") == 2
    assert "2 of 3 token shards are measured" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_places_are_those_of_the_map(tmp_path: Path) -> None:
    """So few tokens are placed without UMAP, which compiles for half a minute."""
    from spectro.tokens.display.context_text import Vocabulary
    from spectro.views.map.columns import GRID
    from spectro.views.map.config import MapConfig
    from spectro.views.map.placed import read_placed

    run = tmp_path / "few"
    write_run(run, made_up_run.made(num_sequences=3, context=CONTEXT, num_clusters=1))
    folder = published(run, tmp_path / "out", map=True, licence="mit")
    placed = read_placed(
        RunView(str(run)), MapConfig(seed=0, control=False), Vocabulary(pieces=None)
    )
    rows = load(folder, "tokens", tmp_path).with_format("numpy")
    order = placed.tokens.token_id.astype(int)
    np.testing.assert_allclose(rows["map_x"][:][order], placed.tokens.x / GRID, atol=1e-6)
    clusters = load(folder, "clusters", tmp_path).with_format("numpy")
    np.testing.assert_allclose(clusters["map_y"][:], placed.clusters.y / GRID, atol=1e-6)


def test_the_citation_is_that_of_the_project(run: Path, tmp_path: Path) -> None:
    card = (published(run, tmp_path / "out") / "README.md").read_text()
    known = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"][:2]
    for work in known:
        assert work["identifiers"][0]["value"] in card and work["title"] in card
        assert all(author["family-names"] in card for author in work["authors"])
