"""Draws, tiles, tokens and run.yaml: round trips, and damage that is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spectro.sampling.chain import ChainResult
from spectro.storage import draws, fingerprint, run_dir, tiles, tokens
from spectro.storage.fs import DamagedObjectError, Store
from spectro.susceptibility.score import TileSums
from spectro.tokens.sequences import Sequences, TokenSplits


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run"))


def chain_result(seed: int = 0) -> ChainResult:
    generator = torch.Generator().manual_seed(seed)
    trace = {"l0h0": np.arange(3.0), "l0mlp": np.ones(3)}
    return ChainResult(
        draws={
            "l0h0": {"attention.qkv": torch.randn(3, 4, 2, generator=generator)},
            "l0mlp": {"in": torch.randn(3, 5, generator=generator), "bias": torch.zeros(3, 5)},
        },
        delta_loss=trace,
        step_loss={name: values * 2 for name, values in trace.items()},
        squared_displacement=trace,
    )


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def test_draws_round_trip(store: Store) -> None:
    result = chain_result()
    draws.write_chain(store, "l0", 2, result, 1.5)
    read = draws.read_draws(store, "l0", 2)
    for component, blocks in result.draws.items():
        for block, tensor in blocks.items():
            assert torch.equal(read[component][block], tensor)
    record = draws.read_record(store, "l0", 2)
    assert np.array_equal(record.delta_loss["l0h0"], [0, 1, 2])
    assert record.seconds == 1.5


def test_a_second_writer_of_the_same_chain_changes_nothing(store: Store) -> None:
    draws.write_chain(store, "l0", 0, chain_result(), 1.0)
    draws.write_chain(store, "l0", 0, chain_result(), 9.0)
    assert draws.read_record(store, "l0", 0).seconds == 1.0
    with pytest.raises(DamagedObjectError):
        draws.write_chain(store, "l0", 0, chain_result(seed=1), 1.0)


def test_draws_of_a_writer_that_died_before_its_marker_are_replaced(store: Store) -> None:
    draws.write_chain(store, "l0", 0, chain_result(), 1.0)
    store.delete(draws.record_name("l0", 0))
    draws.write_chain(store, "l0", 0, chain_result(seed=1), 2.0)
    assert draws.read_record(store, "l0", 0).seconds == 2.0
    draws.read_draws(store, "l0", 0)  # checks them against the marker


def test_damaged_draws_and_markers_are_noticed(store: Store, tmp_path: Path) -> None:
    draws.write_chain(store, "l0", 0, chain_result(), 1.0)
    flip_a_byte(tmp_path / "run" / draws.draws_name("l0", 0))
    with pytest.raises(DamagedObjectError, match="is damaged"):
        draws.read_draws(store, "l0", 0)
    (tmp_path / "run" / draws.record_name("l0", 0)).write_text("{}")
    with pytest.raises(ValueError, match="no marker of a chain"):
        draws.read_record(store, "l0", 0)


def test_tiles_round_trip_and_damage(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sums = {
        name: TileSums(
            weighted_CN=rng.random((2, 6), np.float32), plain_CN=rng.random((2, 6), np.float32)
        )
        for name in ("l0h0", "l0mlp")
    }
    tiles.write_tile(store, 1, "l0", sums, 2.5)
    read, seconds = tiles.read_tile(store, 1, "l0")
    assert seconds == 2.5
    assert set(read) == set(sums)
    assert np.array_equal(read["l0mlp"].plain_CN, sums["l0mlp"].plain_CN)
    flip_a_byte(tmp_path / "run" / tiles.tile_name(1, "l0"))
    with pytest.raises(DamagedObjectError, match="the checksum differs"):
        tiles.read_tile(store, 1, "l0")
    (tmp_path / "run" / tiles.tile_name(1, "l0")).write_bytes(b"\x08")
    with pytest.raises(DamagedObjectError):
        tiles.read_tile(store, 1, "l0")


def splits() -> TokenSplits:
    rng = np.random.default_rng(0)

    def make(num: int) -> Sequences:
        return Sequences(
            ids_ST1=rng.integers(0, 99, (num, 9), dtype=np.int32),
            subset_S=(np.arange(num) % 2).astype(np.int16),
            subset_names=("a", "b"),
        )

    return TokenSplits(sampling=make(4), evaluation=make(2), probe=make(7))


def test_tokens_round_trip_in_shards(store: Store) -> None:
    info = tokens.write_tokens(store, splits(), vocab_size=99, sequences_per_shard=3)
    assert info.splits["probe"].num_shards == 3
    assert info.context == 8
    for name in tokens.SPLITS:
        read, written = tokens.read_split(store, name), getattr(splits(), name)
        if name == "sampling":  # drawn first, so the same numbers
            assert np.array_equal(read.ids_ST1, written.ids_ST1)
        assert read.subset_names == ("a", "b")
    ids, last = tokens.read_shard(store, "probe", 2)
    assert ids.tolist() == [6]
    assert last.ids_ST1.shape == (1, 9)


def test_exchanged_tokens_are_noticed(store: Store, tmp_path: Path) -> None:
    tokens.write_tokens(store, splits(), vocab_size=99, sequences_per_shard=3)
    folder = tmp_path / "run"
    other = (folder / tokens.shard_name("probe", 1)).read_bytes()
    (folder / tokens.shard_name("probe", 0)).write_bytes(other)
    with pytest.raises(DamagedObjectError, match="not those of"):
        tokens.read_split(store, "probe")


def test_differences_are_named_field_by_field() -> None:
    old = {"sampler": {"kind": "psgld", "nbeta": 3.0}, "seed": 0}
    new = {"sampler": {"kind": "sgld", "nbeta": 3.0, "x": 1}, "seed": 0}
    assert fingerprint.differences(old, new) == [
        'sampler.kind: "psgld" → "sgld"',
        "sampler.x: absent → 1",
    ]
    assert fingerprint.digest(old) != fingerprint.digest(new)
    assert fingerprint.digest({"a": 1, "b": 2}) == fingerprint.digest({"b": 2, "a": 1})


def test_run_yaml_is_written_once_and_checked(store: Store, tmp_path: Path) -> None:
    first = run_dir.start(store, {"seed": 0}, {"seed": 0})
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    assert run_dir.start(store, {"seed": 0}, {"seed": 0}) == first
    assert (tmp_path / "run" / "run.yaml").read_bytes() == before
    with pytest.raises(fingerprint.OtherRunError, match="seed: 0 → 1"):
        run_dir.start(store, {"seed": 1}, {"seed": 1})
    assert run_dir.require(store).config == {"seed": 0}


def test_folders_of_other_things_are_refused(store: Store) -> None:
    store.put("holiday.jpg", b"x")
    with pytest.raises(ValueError, match=r"files but no run\.yaml"):
        run_dir.check(store, {"seed": 0})
    store.put("run.yaml", b"hello: [")
    with pytest.raises(ValueError, match="not the file of a run"):
        run_dir.check(store, {"seed": 0})
