"""A subset's order: what is asked for only decides how far it is followed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.tokens import order
from spectro.tokens.build import build, build_more
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.order import keyed_order, num_pools
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode

SIZES = st.integers(1, 40)


@given(pool=SIZES, length=st.integers(0, 200), counts=st.lists(st.integers(0, 200), min_size=2))
def test_more_only_appends(pool: int, length: int, counts: list[int]) -> None:
    """As a reader sees it: whole pools are read, as many as the count needs."""
    found = []
    for count in sorted(min(count, length) for count in counts):
        available = min(length, num_pools(count, pool) * pool)
        found.append(keyed_order(3, "x", available, pool, count))
        assert len(set(found[-1])) == count
        assert set(found[-1]) <= set(range(available))
    for fewer, more in itertools.pairwise(found):
        assert np.array_equal(more[: len(fewer)], fewer)


def test_pools_follow_one_another_and_each_has_an_order_of_its_own() -> None:
    whole = keyed_order(0, "x", 60, 20, 60)
    parts = whole.reshape(3, 20)
    assert [sorted(part) for part in parts.tolist()] == [
        list(range(first, first + 20)) for first in (0, 20, 40)
    ]
    within = {tuple(part % 20) for part in parts}
    assert len(within) == 3
    assert tuple(range(20)) not in within


@pytest.mark.parametrize("other", [(1, "x"), (0, "y")])
def test_seed_and_subset_are_keys(other: tuple[int, str]) -> None:
    assert not np.array_equal(keyed_order(0, "x", 50, 50, 50), keyed_order(*other, 50, 50, 50))


@pytest.mark.parametrize("count", [1, 29, 30])
def test_large_pools_are_not_permuted_whole(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Memory maps of hundreds of millions of spans: first occurrences of random numbers."""
    monkeypatch.setattr(order, "MOST_PERMUTED", 8)
    monkeypatch.setattr(order, "CHUNK", 16)
    whole = keyed_order(0, "x", 30, 30, 30)
    assert sorted(whole) == list(range(30))
    assert np.array_equal(keyed_order(0, "x", 30, 30, count), whole[:count])


def test_large_pools_are_sampled_uniformly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOST_PERMUTED", 8)
    counts = np.zeros(20)
    for seed in range(300):
        counts[keyed_order(seed, "x", 20, 20, 4)] += 1
    # 1200 draws over 20 places: each 60 ± sqrt(300 · 0.2 · 0.8) = 6.9; five deviations
    assert abs(counts - 60).max() < 35


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TokensConfig:
    folder = tmp_path_factory.mktemp("text")
    for i in range(30):  # counting words make every sample of 17 ids another one
        (folder / f"{i:02d}.txt").write_text(" ".join(f"{i:02d}w{n:02d}" for n in range(48)))
    source = Source(kind=SourceKind.TEXT_FOLDER, path=str(folder))
    return TokensConfig(subsets={"one": source, "two": source}, context=16, pool_sequences=30)


def rows(sequences, subset: int) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in sequences.ids_ST1[sequences.subset_S == subset].tolist()]


@settings(max_examples=25, deadline=None)
@given(
    sampling=st.integers(1, 20), evaluation=st.integers(1, 20), probe=st.integers(1, 40),
    more=st.integers(1, 40),
)  # fmt: skip
def test_splits_and_additions_are_disjoint_and_those_of_one_build(
    config: TokensConfig, sampling: int, evaluation: int, probe: int, more: int
) -> None:
    own = dataclasses.replace(
        config,
        num_sampling_sequences=sampling,
        num_evaluation_sequences=evaluation,
        num_probe_sequences=probe,
    )
    splits = build(own, encode, EOT, VOCAB)
    start = own.first_probe_sequence + probe
    parts = dict.fromkeys(own.subsets, range(start, start + more))
    added, _ = build_more(own, own.subsets, parts, tuple(own.subsets), encode, EOT, VOCAB)
    whole = build(dataclasses.replace(own, num_probe_sequences=probe + more), encode, EOT, VOCAB)
    for subset in (0, 1):
        drawn = [rows(s, subset) for s in (splits.sampling, splits.evaluation, splits.probe, added)]
        assert [len(part) for part in drawn] == [sampling, evaluation, probe, more]
        assert len(set().union(*drawn)) == sum(map(len, drawn))
        assert set(drawn[2]) | set(drawn[3]) == set(rows(whole.probe, subset))
    for split in ("sampling", "evaluation"):
        assert np.array_equal(getattr(whole, split).ids_ST1, getattr(splits, split).ids_ST1)


def test_an_addition_keeps_the_names_of_the_run(config: TokensConfig) -> None:
    names = ("one", "two", "three")
    source = {"three": config.subsets["one"]}
    added, _ = build_more(config, source, {"three": range(4)}, names, encode, EOT, VOCAB)
    assert added.subset_names == names
    assert added.subset_S.tolist() == [2] * 4
    alone = dataclasses.replace(
        config, subsets=source, num_sampling_sequences=4, num_evaluation_sequences=1
    )
    first = build(alone, encode, EOT, VOCAB).sampling
    assert set(rows(added, 2)) == set(rows(first, 0))  # its first four: nothing is kept back
