"""Draws, tiles, tokens and run.yaml: round trips, and damage that is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spectro.formats import chain_records, draws, fingerprint, run_dir, tiles, tokens
from spectro.formats.chain_names import block_name, dropped_name, record_name
from spectro.pipeline.stages import STAGES
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.background import BackgroundWriter
from spectro.storage.checksummed_json import seal
from spectro.storage.store import DamagedObjectError, Store
from spectro.susceptibility.tile_sums import TileSums
from spectro.tokens.sequences import Sequences, TokenSplits


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run"))


def component_chain(num_draws: int = 3) -> ComponentChain:
    return ComponentChain(
        independent=False,
        delta_loss=np.arange(float(num_draws)),
        weight=np.ones(num_draws),
        reliability=float("nan"),
        steps_between_draws=2,
        step_loss=np.ones(7),
        acceptance=0.75,
    )


def drawn(seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "l0h0": {"attention.qkv": torch.randn(3, 4, 2, generator=generator)},
        "l0mlp": {"in": torch.randn(3, 5, generator=generator), "bias": torch.zeros(3, 5)},
    }


def write_blocks(
    store: Store, chain: int = 0, seed: int = 0, before: chain_records.ChainRecord | None = None
) -> draws.DrawWriter:
    """Three draws, handed over in blocks of two and one."""
    writer = draws.DrawWriter(store, "l0", chain, before)
    for name, blocks in drawn(seed).items():
        for part in (slice(0, 2), slice(2, 3)):
            writer.put(name, part.start, {b: tensor[part] for b, tensor in blocks.items()})
    return writer


def write(
    store: Store,
    chain: int = 0,
    seed: int = 0,
    seconds: float = 1.0,
    before: chain_records.ChainRecord | None = None,
) -> None:
    """A chain of three draws."""
    writer = write_blocks(store, chain, seed, before)
    writer.finish({name: component_chain() for name in drawn()}, seconds)


def read(store: Store, chain: int, component: str, part: slice) -> dict[str, torch.Tensor]:
    record = chain_records.read_record(store, "l0", chain)
    stored = draws.StoredDraws(store, "l0", chain, record, torch.device("cpu"))
    return stored.read(component, part)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("part", [slice(0, 3), slice(1, 3), slice(2, 3), slice(0, 1)])
def test_draws_round_trip_across_blocks(store: Store, part: slice) -> None:
    write(store, chain=2, seconds=1.5)
    for component, blocks in drawn().items():
        found = read(store, 2, component, part)
        for block, tensor in blocks.items():
            assert torch.equal(found[block], tensor[part])
    record = chain_records.read_record(store, "l0", 2)
    assert np.array_equal(record.components["l0h0"].delta_loss, [0, 1, 2])
    assert np.isnan(record.components["l0h0"].reliability)
    assert record.seconds == 1.5


def block(store: Store, component: str, first: int, chain: int = 0) -> str:
    info = chain_records.read_record(store, "l0", chain, or_dropped=True).blocks[component][first]
    return block_name("l0", chain, component, first, info)


def test_a_second_writer_of_the_same_chain_changes_nothing(store: Store) -> None:
    write(store)
    before = {name: store.read(name) for name in store.list()}
    write(store, seconds=9.0)
    assert {name: store.read(name) for name in store.list()} == before
    assert STAGES.leftovers(store, store.list()) == set()


def test_of_two_writers_with_other_bits_the_first_marker_counts(store: Store) -> None:
    """Split brain: neither touches the other's blocks, the loser's are leftovers."""
    write(store)
    before = set(store.list())
    write(store, seed=1, seconds=9.0)
    assert chain_records.read_record(store, "l0", 0).seconds == 1.0
    assert torch.equal(read(store, 0, "l0mlp", slice(0, 3))["in"], drawn()["l0mlp"]["in"])
    assert STAGES.leftovers(store, store.list()) == set(store.list()) - before
    assert len(set(store.list()) - before) > 0


def test_blocks_of_a_chain_without_a_marker_are_nobodys_leftovers(store: Store) -> None:
    write(store)
    store.delete(record_name("l0", 0))
    write_blocks(store, seed=1)
    assert STAGES.leftovers(store, store.list()) == set()


def test_damaged_draws_and_markers_are_noticed(store: Store, tmp_path: Path) -> None:
    write(store)
    flip_a_byte(tmp_path / "run" / block(store, "l0h0", 2))
    read(store, 0, "l0h0", slice(0, 2))
    with pytest.raises(DamagedObjectError, match="is damaged"):
        read(store, 0, "l0h0", slice(1, 3))
    with pytest.raises(DamagedObjectError, match="is damaged"):  # nor is it taken for written
        write(store)
    path = tmp_path / "run" / record_name("l0", 0)
    path.write_bytes(path.read_bytes().replace(b"0.75", b"0.76"))
    with pytest.raises(DamagedObjectError, match="its checksum"):
        chain_records.read_record(store, "l0", 0)
    path.write_bytes(seal({}))
    with pytest.raises(ValueError, match="not a marker of a chain"):
        chain_records.read_record(store, "l0", 0)


def test_a_marker_whose_draws_are_gone_does_not_count(store: Store) -> None:
    write(store)
    assert chain_records.incomplete(store, store.list()) == set()
    store.delete(block(store, "l0h0", 2))
    assert chain_records.incomplete(store, store.list()) == {record_name("l0", 0)}


@pytest.mark.parametrize("deletions", range(6))
def test_dropping_may_be_broken_off_anywhere(
    store: Store, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    """An unfinished chain keeps its blocks, the rest of its siblings goes."""
    write(store)
    write_blocks(store, chain=1)
    unfinished = {n for n in store.list() if n.startswith("chains/l0/1/")}
    real, made = Store.delete, []

    def breaks(self: Store, name: str) -> None:
        if len(made) == deletions:
            raise ConnectionError("killed")
        made.append(name)
        real(self, name)

    monkeypatch.setattr(Store, "delete", breaks)
    if deletions < 5:
        with pytest.raises(ConnectionError):
            chain_records.drop_draws(store)
    monkeypatch.setattr(Store, "delete", real)
    chain_records.drop_draws(store)
    assert set(store.list()) == unfinished | {dropped_name("l0", 0)}
    assert chain_records.read_record(store, "l0", 0, or_dropped=True).seconds == 1.0
    assert chain_records.drop_draws(store) == 0


def test_dropped_draws_are_made_again_with_the_same_bits_or_not_at_all(store: Store) -> None:
    write(store)
    chain_records.drop_draws(store)
    before = chain_records.read_record(store, "l0", 0, or_dropped=True)
    with pytest.raises(draws.OtherDrawsError, match="cannot be regenerated on this device"):
        write_blocks(store, seed=1, before=before)
    assert store.list("chains/l0").keys() == {dropped_name("l0", 0)}
    write(store, seconds=7.0, before=before)
    assert chain_records.read_record(store, "l0", 0).seconds == 1.0
    assert torch.equal(read(store, 0, "l0mlp", slice(0, 3))["in"], drawn()["l0mlp"]["in"])


def test_a_pilot_round_trips_with_what_is_not_known(store: Store) -> None:
    moments = PosteriorMoments(
        effective_fraction=0.03,
        prior_delta_loss=1.0,
        delta_loss=float("nan"),
        delta_loss_error=float("nan"),
        delta_loss_deviation=float("nan"),
        rho=0.2,
    )
    chain_records.write_pilot(store, "l0", {"l0h0": moments})
    found = chain_records.read_pilot(store, "l0")["l0h0"]
    assert found.effective_fraction == 0.03
    assert np.isnan(found.delta_loss)
    assert np.isnan(found.gamma_needed)
    assert (found.source, found.rho, found.num_steps) == ("", 0.2, 0)


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


def test_a_probe_of_a_killed_driver_is_no_other_file(store: Store) -> None:
    store.put("fence-0123456789abcdef", b"first")
    run_dir.check(store, {"seed": 0})
    assert STAGES.leftovers(store, store.list()) == {"fence-0123456789abcdef"}


def test_a_marker_that_only_a_stale_listing_has_is_no_marker(store: Store) -> None:
    name = record_name("l0", 0)
    blocks = [f"chains/l0/0/l0h0-00000-{digit * 16}.safetensors" for digit in "ab"]
    assert chain_records.incomplete(store, {name}) == {name}
    assert STAGES.leftovers(store, {name, *blocks}) == set()
    assert chain_records.drop_draws(store, {name, *blocks}) == 2 and not store.list()


def test_background_calls_are_made_in_order_and_their_errors_are_raised() -> None:
    made: list[int] = []
    with BackgroundWriter() as background:
        for number in range(5):
            background.submit(made.append, number)
    assert made == [0, 1, 2, 3, 4]

    def fails() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), BackgroundWriter() as background:
        background.submit(fails)
    # a checkpoint must not be written after a block of draws that it counts, but was not
    after: list[int] = []
    with pytest.raises(OSError, match="no space left"), BackgroundWriter() as background:
        background.submit(fails)
        background.submit(after.append, 1)
        background.submit(after.append, 2)
        background.submit(after.append, 3)
    assert after == []


def test_what_an_interrupted_removal_left_is_nobodys(store: Store) -> None:
    """Completing objects go first: lists without a transform, assignments without clusters."""
    whole = ["neighbours/a/transform.json", "neighbours/a/lists-0000.safetensors"]
    whole += ["clusters/cluster.json", "clusters/assigned-1.json", "clusters-k30/cluster.json"]
    orphans = ["neighbours/b/lists-0000.safetensors", "neighbours/b/pairs/0000-0001.safetensors"]
    orphans += ["clusters-k9/assigned-1.parquet", "clusters/half-0/assigned-2.json"]
    assert STAGES.leftovers(store, [*whole, *orphans]) == set(orphans)
