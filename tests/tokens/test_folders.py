"""Which files of a folder are read: links, hidden names, copies, patterns, order, and counts."""

import os
import socket
from pathlib import Path

import pytest

from spectro.tokens.sources import folders
from spectro.tokens.sources.folders import files_at, files_in
from spectro.tokens.sources.source_report import SourceReport

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def found(root, pattern="**/*"):
    report = SourceReport()
    files = files_in(root, pattern, report)
    return [file.relative_to(root).as_posix() for file in files], dict(report.counts)


def found_at(path, root):
    report = SourceReport()
    files = files_at(str(path), ENDINGS, report)
    return [file.relative_to(root).as_posix() for file in files], dict(report.counts)


def test_order_is_by_path_name_by_name(tmp_path):
    tree(tmp_path, "b.txt", "B.txt", "é.txt", "a/z.txt", "a.txt", "a/b/c.txt", "10", "9")
    assert found(tmp_path)[0] == [
        "10", "9", "B.txt", "a/b/c.txt", "a/z.txt", "a.txt", "b.txt", "é.txt",
    ]  # fmt: skip


def test_hidden_names_and_caches_are_skipped_and_counted(tmp_path):
    tree(
        tmp_path, "a.py", ".git/index", ".git/objects/ab/cd", ".cache/huggingface/a.metadata",
        ".DS_Store", "src/.ipynb_checkpoints/a.py", "src/__pycache__/a.pyc", "src/__init__.py",
        "node_modules/x/index.js", "__MACOSX/a.py", "src/._a.py", "Thumbs.db",
    )  # fmt: skip
    assert found(tmp_path) == (
        ["a.py", "src/__init__.py"],
        {"hidden or cache folders skipped": 6, "hidden or cache files skipped": 3},
    )


def test_a_hidden_folder_is_read_where_it_is_named(tmp_path):
    tree(tmp_path, ".github/workflows/a.yaml", ".github/.secret/b.yaml", "__pycache__/x.py")
    assert found(tmp_path / ".github")[0] == ["workflows/a.yaml"]
    assert found(tmp_path, ".github/**/*")[0] == [".github/workflows/a.yaml"]
    assert found(tmp_path, ".*/**/*.yaml")[0] == [".github/workflows/a.yaml"]
    assert found(tmp_path, "__pycache__/*")[0] == ["__pycache__/x.py"]
    tree(tmp_path, ".hidden/a.jsonl")
    for path in (".hidden", ".hidden/*.jsonl", "*/.hidden/*", ".hid*/*", ".hidden/a.jsonl"):
        root = tmp_path.parent if path.startswith("*") else tmp_path
        assert [p.name for p in files_at(str(root / path), ENDINGS, SourceReport())] == ["a.jsonl"]


def test_tables_leave_what_spark_and_hive_leave(tmp_path):
    tree(tmp_path, "_SUCCESS", "_temporary/0/a.jsonl", "day=1/a.jsonl", "day=2/b.JSONL", "README")
    assert found_at(tmp_path, tmp_path) == (
        ["day=1/a.jsonl", "day=2/b.JSONL"],
        {
            "other files left": 1, "hidden or cache files skipped": 1,
            "hidden or cache folders skipped": 1,
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    "pattern, names, left",
    [
        ("**/*", ["a/b/c.md", "a/b.md", "a.md", "x.txt"], {}),
        ("**", ["a/b/c.md", "a/b.md", "a.md", "x.txt"], {}),
        ("*", ["a.md", "x.txt"], {"subfolders left": 1}),
        ("*.md", ["a.md"], {"subfolders left": 1, "other files left": 1}),
        ("**/*.md", ["a/b/c.md", "a/b.md", "a.md"], {"other files left": 1}),
        ("a/**/*.md", ["a/b/c.md", "a/b.md"], {"other files left": 2}),
        ("*/*.md", ["a/b.md"], {"subfolders left": 1, "other files left": 2}),
        ("./a/b/[a-c].md", ["a/b/c.md"], {"other files left": 3}),
    ],
)
def test_patterns(tmp_path, pattern, names, left):
    tree(tmp_path, "a.md", "x.txt", "a/b.md", "a/b/c.md")
    assert found(tmp_path, pattern) == (names, left)


def test_links_are_followed_and_every_file_is_read_once(tmp_path):
    root = tree(tmp_path / "tree", "own/a", "own/b")
    tree(tmp_path / "away", "c", "deep/d")
    (root / "aa_link_to_own").symlink_to(root / "own")
    (root / "linked").symlink_to(tmp_path / "away")
    (root / "linked_again").symlink_to(tmp_path / "away")
    (root / "own/link_to_a").symlink_to("a")
    os.link(root / "own/b", root / "hard")
    (root / "own/loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "nowhere").symlink_to("absent")
    (root / "itself").symlink_to("itself")
    report = SourceReport()
    names = [file.relative_to(root).as_posix() for file in files_in(root, "**/*", report)]
    assert names == ["hard", "linked/c", "linked/deep/d", "own/a"]
    assert dict(report.counts) == {
        "dangling links skipped": 2,
        "links to folders already read, or around this one, skipped": 4,
        "links to files already read skipped": 2,
    }
    assert report.notes == [
        f"{root}/{name} is a link that leads nowhere" for name in ("itself", "nowhere")
    ]


def test_a_link_changes_nothing_of_what_is_read_under_its_own_path(tmp_path):
    tree(tmp_path, "b/x.jsonl", "c.jsonl")
    before = found_at(tmp_path, tmp_path)[0]
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "a.jsonl").symlink_to("c.jsonl")
    assert found_at(tmp_path, tmp_path)[0] == before == ["b/x.jsonl", "c.jsonl"]


def test_the_root_may_be_a_link(tmp_path):
    tree(tmp_path / "real", "a.jsonl")
    (tmp_path / "link").symlink_to("real")
    assert found_at(tmp_path / "link", tmp_path)[0] == ["link/a.jsonl"]
    assert found_at(tmp_path / "l*k/*", tmp_path)[0] == ["link/a.jsonl"]
    assert found_at(tmp_path / "link/a.jsonl", tmp_path)[0] == ["link/a.jsonl"]


def test_compressed_copies_are_read_once_and_named(tmp_path):
    tree(tmp_path, "a.jsonl.zst", "a.jsonl", "b.jsonl.zst", "b.jsonl.gz", "c.jsonl.zst")
    tree(tmp_path, "other/a.jsonl.zst")
    report = SourceReport()
    files = files_at(str(tmp_path), ENDINGS, report)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "other/a.jsonl.zst",
    ]  # fmt: skip
    assert dict(report.counts) == {"compressed copies skipped": 2}
    assert report.notes == [
        f"{tmp_path}/{x}.jsonl.zst was taken for a copy of {tmp_path}/{x}.jsonl{end}"
        for x, end in (("a", ""), ("b", ".gz"))
    ]
    assert found_at(tmp_path / "*.zst", tmp_path)[0] == [
        "a.jsonl.zst",
        "b.jsonl.zst",
        "c.jsonl.zst",
    ]


def test_a_table_with_versions_is_named(tmp_path):
    tree(tmp_path, "t/_delta_log/0.json", "t/a.jsonl")
    report = SourceReport()
    assert len(files_at(str(tmp_path), ENDINGS, report)) == 1
    assert report.notes == [
        f"{tmp_path}/t is a table with versions: files of old ones are read too"
    ]


def test_files_without_inodes_are_known_by_their_paths(tmp_path):
    tree(tmp_path, "a.jsonl", "b.jsonl")
    (tmp_path / "c.jsonl").symlink_to("b.jsonl")
    status = os.stat(tmp_path / "a.jsonl")
    none = os.stat_result((status.st_mode, 0, *status[2:]))
    a, b, c = (folders.identity_of(str(tmp_path / f"{name}.jsonl"), none) for name in "abc")
    assert a != b == c


def test_of_many_the_first_are_named(tmp_path):
    for n in range(9):
        (tmp_path / f"{n}.jsonl").symlink_to("absent")
    report = SourceReport()
    with pytest.raises(FileNotFoundError, match="9 dangling links skipped"):
        files_at(str(tmp_path), ENDINGS, report)
    assert len(report.notes) == 3


def test_pipes_and_sockets_are_not_opened(tmp_path, monkeypatch):
    tree(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.jsonl")
        assert found_at(tmp_path, tmp_path) == (
            ["a.jsonl"],
            {"pipes, sockets and devices skipped": 2},
        )
    with pytest.raises(ValueError, match="is a pipe, socket or device"):
        files_at(str(tmp_path / "pipe.jsonl"), ENDINGS, SourceReport())


def test_names_with_magic_and_names_that_are_no_utf8(tmp_path):
    root = tree(tmp_path / "data[1]", "a.jsonl")
    assert found_at(root, root)[0] == ["a.jsonl"]
    assert found_at(root / "a.jsonl", root)[0] == ["a.jsonl"]
    (Path(os.fsdecode(os.fsencode(root) + b"/b\xff.jsonl"))).symlink_to("absent")
    report = SourceReport()
    files_at(str(root), ENDINGS, report)
    assert report.notes == [f"{root}/b\\udcff.jsonl is a link that leads nowhere"]


@pytest.mark.parametrize("path", ["absent", "absent/*.jsonl", "absent/deep/*", "", "*.txt"])
def test_nothing_found(tmp_path, path):
    tree(tmp_path, ".a.jsonl", "b.json")
    with pytest.raises(FileNotFoundError, match=r"\.jsonl files, or a glob that matches some") as e:
        files_at(str(tmp_path / path), ENDINGS, SourceReport())
    if path == "":
        assert str(e.value).endswith("(1 hidden or cache files skipped, 1 other files left)")
