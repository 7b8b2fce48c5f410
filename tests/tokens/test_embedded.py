"""The embedded corpus: enough of every part, repeatable, offline, and free of repetition."""

import itertools
import socket

import numpy as np
import pytest

from spectro.tokens.build import build
from spectro.tokens.config import TokensConfig
from spectro.tokens.sources import embedded
from spectro.tokens.sources.docstrings import module_docstrings, prose_documents
from spectro.tokens.sources.embedded import (
    PARTS,
    PIECE_CHARS,
    CorpusPart,
    read_embedded,
    split_at_lines,
)
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode

NUM_READ = 25


@pytest.mark.parametrize("name", list(PARTS))
def test_every_part_gives_distinct_documents_in_a_keyed_order(name):
    first, again, other = (
        list(itertools.islice(read_embedded(name, seed), NUM_READ)) for seed in (0, 0, 1)
    )
    assert len(first) == NUM_READ
    assert len({" ".join(text.split()) for text in first}) == NUM_READ
    assert first == again
    assert first != other
    assert all(text.strip() and "\0" not in text and "\ufffd" not in text for text in first)
    assert max(map(len, first)) <= PIECE_CHARS + embedded.MAX_LINE_CHARS


def test_the_default_is_built_without_the_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the embedded corpus must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    splits = build(TokensConfig(), encode, EOT, VOCAB)
    assert splits.probe.ids_ST1.shape == (8 * 16, 129)
    assert np.bincount(splits.probe.subset_S).tolist() == [16] * 8


def test_an_unknown_part_lists_those_there_are():
    with pytest.raises(ValueError, match="no part 'pascal': choose from python, docs"):
        read_embedded("pascal", 0)


def test_packages_that_are_not_installed_are_passed_over(monkeypatch):
    parts = {"x": CorpusPart(suffixes=(".py",), packages=("no-such-package", "numpy"))}
    monkeypatch.setattr(embedded, "PARTS", parts)
    assert next(read_embedded("x", 0))
    parts["x"] = CorpusPart(suffixes=(".py",), packages=("no-such-package",))
    with pytest.raises(FileNotFoundError, match="none of its packages"):
        read_embedded("x", 0)


def test_no_file_dominates(tmp_path):
    files = []
    for i in range(3):
        text = "".join(f"{i} line {n}\n" for n in range(9000 if i == 0 else 10))
        (tmp_path / f"{i}.txt").write_text(text)
        files.append(embedded._CorpusFile(name=str(i), path=str(tmp_path / f"{i}.txt")))
    found = list(embedded._in_rounds(files, CorpusPart(suffixes=(".txt",))))
    assert [text[0] for text in found[:3]] == ["0", "1", "2"]
    assert len(found) == embedded.MAX_PIECES_PER_FILE + 2


def test_binary_minified_and_vanished_files_give_nothing(tmp_path):
    contents = {"a": b"abc\0def", "b": b"x" * 5000, "c": b"caf\xe9", "d": b"", "e": b" \n\t\n"}
    for name, raw in contents.items():
        (tmp_path / name).write_bytes(raw)
    files = [embedded._CorpusFile(name=n, path=str(tmp_path / n)) for n in (*contents, "vanished")]
    assert list(embedded._in_rounds(files, CorpusPart())) == []


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n" * 50, "x" * 99 + "\nshort\n", "a\r\nb\n"])
def test_pieces_are_whole_lines_and_lose_nothing_but_blanks(text):
    pieces = split_at_lines(text, 10)
    assert "".join(pieces).strip() == text.strip()
    assert all(len(piece) <= 10 or piece.count("\n") <= 1 for piece in pieces)


def test_docstrings_are_taken_from_modules_classes_and_functions():
    long = "word " * 40
    source = f'"""M {long}"""\nclass A:\n    """A {long}"""\n    def f(self):\n        """no"""\n'
    (text,) = module_docstrings(source)
    assert text.startswith("M word") and "\n\nA word" in text and "no" not in text.split()
    assert module_docstrings("x = 1") == []
    assert module_docstrings('def broken(:\n    """x"""') == []


def test_prose_of_metadata_topics_and_plain_files():
    assert prose_documents("Metadata-Version: 2.1\nName: x\n\nThe description.") == [
        "The description."
    ]
    assert prose_documents("# made\ntopics = {'a': 'one', 'b': 'two'}\n") == ["one", "two"]
    assert prose_documents("Title\n=====\n") == ["Title\n=====\n"]
