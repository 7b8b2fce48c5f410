"""Additions of tokens: whoever writes, and however often, one addition comes out, whole."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from spectro.formats import tokens
from spectro.formats.derived_objects import put_derived
from spectro.formats.more_tokens import begun_name, subset_names, tidy, write_more
from spectro.pipeline.stages import STAGES
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.tokens.sources.source_report import SourceReport

NAMES = ("a", "b")


def sequences(num: int, seed: int = 0, names: tuple[str, ...] = NAMES) -> Sequences:
    rng = np.random.default_rng(seed)
    return Sequences(
        ids_ST1=rng.integers(0, 99, (num, 9), dtype=np.int32),
        subset_S=(np.arange(num) % len(names)).astype(np.int16),
        subset_names=names,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "run"))
    splits = TokenSplits(sampling=sequences(4), evaluation=sequences(2), probe=sequences(7))
    tokens.write_tokens(store, splits, vocab_size=99, sequences_per_shard=3)
    return store


def add(store: Store, more: Sequences, number: int = 1, num: int = 5) -> tokens.TokensInfo:
    return write_more(
        store, number, more, config={"num_probe_sequences": num}, sources={}, sequences_per_shard=2
    )


def test_additions_go_on_where_the_others_end(store: Store) -> None:
    first = tokens.read_info(store)
    add(store, sequences(3, 1))
    info = add(store, sequences(5, 2, (*NAMES, "c")), number=2)
    probe = info.splits["probe"]
    assert (probe.num_sequences, probe.num_shards) == (7 + 3 + 5, 3 + 2 + 3)
    assert probe.shard_sizes == (3, 3, 1, 2, 1, 2, 2, 1)
    assert probe.counts == {"a": 4 + 2 + 2, "b": 3 + 1 + 2, "c": 1}
    assert tokens.read_shard(store, "probe", 5)[0].tolist() == [10, 11]
    read = tokens.read_split(store, "probe")
    parts = [sequences(7), sequences(3, 1), sequences(5, 2, (*NAMES, "c"))]
    assert np.array_equal(read.ids_ST1, np.concatenate([part.ids_ST1 for part in parts]))
    assert read.subset_names == (*NAMES, "c")
    assert info.fingerprint == first.fingerprint  # the chains saw nothing of it
    assert info.probe_sha256 != first.probe_sha256
    assert set(info.objects) == {n for n in store.list("tokens") if n.endswith("parquet")}
    assert subset_names(info, NAMES, ("d", "a")) == (*NAMES, "c", "d")


def test_markers_say_what_was_read(tmp_path: Path) -> None:
    """Those of a run from before there were reports say nothing."""
    store = Store(str(tmp_path / "run"))
    read = SourceReport()
    read.count("hidden files skipped", 3)
    read.note("é, and a name that is not UTF-8: \udcff")
    splits = TokenSplits(
        sampling=sequences(4), evaluation=sequences(2), probe=sequences(7), reports={"a": read}
    )
    info = tokens.write_tokens(store, splits, vocab_size=99, sequences_per_shard=3)
    assert info.reports == {"a": read}
    assert info.reports["a"].line.startswith("3 hidden files skipped; é, and a name")
    info = write_more(
        store, 1, sequences(3), config={}, sources={}, sequences_per_shard=3, reports={"b": read}
    )
    assert (info.reports, info.reports_of(1)) == ({"a": read}, {"b": read})
    for name in (tokens.MARKER, tokens.more_name(1)):
        content = read_sealed(store, name)
        del content["read"]
        store.delete(name)
        store.put_if_absent(name, seal(content))
    info = tokens.read_info(store)
    assert (info.reports, info.reports_of(1)) == ({}, {})


def test_an_addition_is_made_once(store: Store) -> None:
    add(store, sequences(3, 1))
    before = {name: store.read(name) for name in store.list()}
    add(store, sequences(3, 1))
    add(store, sequences(4, 2), num=9)  # another that came too late
    assert {name: store.read(name) for name in store.list()} == before


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_writers_at_once(store: Store, seeds: tuple[int, int]) -> None:
    """The same request: done once. Two requests: one is done, the other refused or too late."""
    start, failures = threading.Barrier(2), []

    def write(seed: int) -> None:
        start.wait()
        try:
            add(store, sequences(20, seed), num=seed)
        except ValueError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=write, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = tokens.read_info(store)
    assert len(info.additions) == 1
    added = tokens.read_split(store, "probe").ids_ST1[7:]
    assert any(np.array_equal(added, sequences(20, seed).ids_ST1) for seed in seeds)
    assert len(failures) <= len(set(seeds)) - 1
    assert all("another addition was begun" in line for line in failures)
    assert not store.exists(begun_name(1))


def test_shards_of_a_writer_that_was_given_up_are_replaced(store: Store) -> None:
    add(store, sequences(3, 1))
    store.delete(tokens.more_name(1))
    add(store, sequences(3, 2))
    assert np.array_equal(tokens.read_split(store, "probe").ids_ST1[7:], sequences(3, 2).ids_ST1)


def test_what_a_writer_left_behind_is_removed(store: Store) -> None:
    add(store, sequences(3, 1))
    store.put(begun_name(1), b"x")
    store.put(begun_name(2), b"x")  # not finished: it stays
    tidy(store, store.list())
    assert not store.exists(begun_name(1))
    assert store.exists(begun_name(2))


def test_what_is_of_other_tokens_goes_with_all_that_belongs_to_it(store: Store) -> None:
    page, clusters = {"report/page.json", "report/index.html"}, set[str]()
    for folder in ("clusters", "clusters/half-1", "clusters-k30"):
        names = ("cluster.json", "members.parquet", "state/rounds-000000001-0123456789abcdef.x")
        clusters |= {f"{folder}/{name}" for name in names}
    lists = {"neighbours/ab/transform.json", "neighbours/ab/lists-0000.safetensors"}
    rows = {"susceptibilities/part-00000.parquet", "assembly/part-00000.json"}
    derived = {"assembly/summary.json", *page, *clusters, *lists}
    before = set(store.list())
    for name in derived | rows:
        is_marker = name.endswith(("page.json", "cluster.json", "transform.json", "summary.json"))
        if is_marker:
            put_derived(store, name, {"x": float("nan")}, "now")
        else:
            store.put(name, b"x")
    assert STAGES.remove_stale(store, store.list(), "now") == set()
    store.delete("report/page.json")
    store.put("report/page.json", b"{}")  # damaged: it tells nothing
    assert STAGES.remove_stale(store, store.list(), "now") == page
    assert STAGES.remove_stale(store, store.list(), "later") == derived - page
    assert set(store.list()) == before | rows
