"""Tokens that are added to a run: measured along the same draws, and nothing else is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spectro.config import PipelineConfig
from spectro.formats import run_dir, tokens
from spectro.formats.derived_objects import TOKENS
from spectro.formats.fingerprint import OtherRunError
from spectro.formats.halves import iterate_halves
from spectro.formats.more_tokens import begun_name
from spectro.formats.product import part_name, read_product
from spectro.formats.run_parts import CONTROL
from spectro.pipeline.run import Finished, Goal, run_pipeline
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import DamagedObjectError, Store
from spectro.tokens.config import MoreConfig, Source, SourceKind
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry
from spectro.work.units import Unit
from tests.conftest import FinishRun

MakeConfig = Callable[..., PipelineConfig]
PROBE = 6
"""Probe sequences per subset of `make_config`; two subsets, shards of eight."""


def run(config: PipelineConfig, goal: Goal = Goal.SAMPLE) -> Finished:
    return run_pipeline(config, Progress(), goal=goal)


def with_more(config: PipelineConfig, num: int, **fields) -> PipelineConfig:
    return dataclasses.replace(config, more=MoreConfig(num_probe_sequences=num, **fields))


def at_once(config: PipelineConfig, num: int, uri: Path) -> PipelineConfig:
    """The same run with another number of probe sequences from the start."""
    return dataclasses.replace(
        config,
        tokens=dataclasses.replace(config.tokens, num_probe_sequences=num),
        run=dataclasses.replace(config.run, uri=str(uri)),
    )


def contents(config: PipelineConfig) -> dict[str, bytes]:
    store = Store(config.run.uri)
    told = "sessions/"  # every invocation tells of itself
    return {name: store.read(name) for name in store.list() if not name.startswith(told)}


def by_text(store: Store, root: Store) -> dict[tuple, np.ndarray]:
    """(subset, ids of the sequence) → χ of its tokens and both half estimates [T, 3H]."""
    product, sequences = read_product(store), tokens.read_split(root, "probe")
    context = sequences.ids_ST1.shape[1] - 1
    subset = product.table["subset"].to_pylist()
    num_shards = tokens.read_info(root).splits["probe"].num_shards
    halves = list(iterate_halves(store, num_shards))
    estimates = [
        product.chi_NH,
        np.concatenate([half.chi_first_NH for half in halves]),
        np.concatenate([half.chi_second_NH for half in halves]),
    ]
    chi = np.concatenate(estimates, axis=1).reshape(-1, context, 3 * len(product.components))
    ids = product.column("sequence_id")[::context]
    return {
        (subset[row * context], tuple(sequences.ids_ST1[s])): chi[row] for row, s in enumerate(ids)
    }


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Unit]]:
    """Units that were done, as they are."""
    units: list[Unit] = []
    execute = StageRegistry.execute

    def noted(stages: StageRegistry, unit: Unit, *rest) -> None:
        execute(stages, unit, *rest)
        units.append(unit)

    monkeypatch.setattr(StageRegistry, "execute", noted)
    return units


def test_an_extended_run_is_the_run_of_all_tokens(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path, done: list[Unit]
) -> None:
    """Forward passes only, old objects untouched, the same χ, the control too."""
    config = make_config(control=True)
    finish_run(config, Goal.REPORT)
    before = contents(config)
    done.clear()
    run(with_more(config, 2 * PROBE), Goal.REPORT)
    stages = {"tokens", "tiles", "assembly", "neighbours", "clusters", "report"}
    assert {unit.stage for unit in done} == stages
    after = contents(config)
    derived = ("summary.json", "neighbours/", "clusters/", "report/")
    kept = {n: data for n, data in before.items() if not any(word in n for word in derived)}
    assert {n: after[n] for n in kept} == kept
    changed = {n for n in before if after.get(n) != before[n]}  # lists of other tokens are gone
    assert any(n.startswith("clusters/") for n in changed)
    assert "report/index.html" in changed
    assert not [name for name in after if name.startswith(("tiles/", "control/tiles/"))]
    whole = at_once(config, 2 * PROBE, tmp_path / "whole")
    finish_run(whole)
    for part in ("", CONTROL):
        prints = {read_product(Store(c.run.uri).child(part)).fingerprint for c in (config, whole)}
        assert len(prints) == 1  # the same draws, whatever is measured along them
        stores = [Store(c.run.uri) for c in (config, whole)]
        extended, expected = (by_text(store.child(part), store) for store in stores)
        assert extended.keys() == expected.keys()
        assert len(expected) == 2 * 2 * PROBE
        scale = np.std(list(expected.values()))
        for key, chi in expected.items():  # float32 sums over batches of other sizes
            assert np.allclose(extended[key], chi, rtol=0, atol=2e-5 * scale)
        summaries = [read_sealed(s.child(part), "assembly/summary.json") for s in stores]
        assert np.allclose(*[s["standard_deviation"] for s in summaries], rtol=1e-4)
        assert [s["num_tokens"] for s in summaries] == [2 * 2 * PROBE * 16] * 2


def test_the_same_command_again_does_nothing_and_a_plain_resume_neither(
    make_config: MakeConfig,
    finish_run: FinishRun,
) -> None:
    config = make_config()
    finish_run(config, Goal.REPORT)
    run(with_more(config, 8), Goal.REPORT)
    before = contents(config)
    for again in (with_more(config, 8), with_more(config, 3), config):
        assert run(again, Goal.REPORT).num_units == 0
    assert contents(config) == before
    assert run_dir.require(Store(config.run.uri)).config["more"] is None


def test_several_additions_are_those_of_one(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    for num in (PROBE, 7, 9):
        run(with_more(config, num))
    once = at_once(config, PROBE, tmp_path / "once")
    run(with_more(once, 9))
    stores = [Store(c.run.uri) for c in (config, once)]
    assert [len(tokens.read_info(store).additions) for store in stores] == [2, 1]
    several, single = (by_text(store, store) for store in stores)
    assert several.keys() == single.keys()
    product = read_product(stores[0])
    assert np.array_equal(product.column("token_id"), np.arange(2 * 9 * 16))


def test_new_text_is_a_subset_of_its_own(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    (tmp_path / "verse").mkdir()
    (tmp_path / "verse" / "a.txt").write_text(" ".join(f"line {i} of it" for i in range(300)))
    source = Source(kind=SourceKind.TEXT_FOLDER, path=str(tmp_path / "verse"))
    config = make_config()
    finish_run(config, Goal.CLUSTER)
    more = with_more(config, 3, subsets={"verse": source}, sequences_per_shard=2)
    run(more, Goal.CLUSTER)
    store = Store(config.run.uri)
    info = tokens.read_info(store)
    assert info.splits["probe"].counts == {"code": PROBE, "prose": PROBE, "verse": 3}
    assert info.splits["probe"].num_shards == 2 + 2
    subset = read_product(store).table["subset"].to_pylist()
    assert subset[-3 * 16 :] == ["verse"] * 3 * 16
    assert "verse" not in subset[: -3 * 16]
    run(with_more(config, PROBE + 1), Goal.CLUSTER)  # and the run's own after it
    assert tokens.read_info(store).splits["probe"].counts["code"] == PROBE + 1
    assert run(more, Goal.CLUSTER).num_units == 0


def test_a_known_name_with_another_source_is_refused(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path
) -> None:
    config = make_config()
    finish_run(config)
    other = Source(kind=SourceKind.TEXT_FOLDER, path=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"more\.subsets.*code\.path: .*text.* → ") as error:
        run(with_more(config, 9, subsets={"code": other}))
    assert "\n" not in str(error.value)


def test_other_counts_from_the_start_are_refused_with_the_way_to_add(
    make_config: MakeConfig,
    finish_run: FinishRun,
) -> None:
    config = make_config()
    finish_run(config, Goal.TOKENS)
    with pytest.raises(OtherRunError, match=r"num_probe_sequences: 6 → 12.*tokens=more"):
        run(at_once(config, 12, Path(config.run.uri)))


@pytest.mark.parametrize("lost", ["marker", "shard and marker", "rows"])
def test_a_broken_off_addition_is_gone_on_with(
    make_config: MakeConfig, finish_run: FinishRun, tmp_path: Path, lost: str
) -> None:
    config = make_config()
    finish_run(config)
    run(with_more(config, 12))
    whole, store = contents(config), Store(config.run.uri)
    names = {"marker": [], "rows": [part_name(2)]}.get(lost, [tokens.shard_name("probe", 2)])
    for name in [*names, *([] if lost == "rows" else [tokens.more_name(1)])]:
        store.delete(name)
    if lost != "rows":  # killed before its marker: no row of it was there
        for name in [n for n in whole if "part-00002" in n or "part-00003" in n]:
            store.delete(name)
    run(with_more(config, 12))
    again = contents(config)
    same = [n for n in whole if not n.endswith((".json", ".yaml"))]
    assert {n: again[n] for n in same} == {n: whole[n] for n in same}
    assert again.keys() == whole.keys()


def test_another_addition_than_the_one_begun_is_refused(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    """Of two drivers with different requests the first decides what the addition is."""
    config = make_config()
    finish_run(config)
    store = Store(config.run.uri)
    begun = {"config": {"num_probe_sequences": 40, "subsets": {}}, "ids": "of another"}
    store.put(begun_name(1), seal(begun))
    with pytest.raises(Exception, match=r"then: 40 sequences per subset; now: 9 sequences"):
        run(with_more(config, 9))
    assert not store.exists(tokens.shard_name("probe", 2))
    store.delete(begun_name(1))
    run(with_more(config, 9))
    assert not store.exists(begun_name(1))


def test_dropped_draws_are_made_again_for_more_tokens(
    make_config: MakeConfig,
    finish_run: FinishRun,
    tmp_path: Path,
    done: list[Unit],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config()
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False))
    finish_run(config)
    done.clear()
    caplog.set_level("INFO")
    run(with_more(config, 12))
    assert "chains" in {unit.stage for unit in done}
    assert "these chains are run again" in caplog.text
    whole = at_once(config, 12, tmp_path / "whole")
    finish_run(whole)
    extended, expected = (by_text(Store(c.run.uri), Store(c.run.uri)) for c in (config, whole))
    scale = np.std(list(expected.values()))
    for key, chi in expected.items():
        assert np.allclose(extended[key], chi, rtol=0, atol=2e-5 * scale)


def test_stale_clusters_stay_until_they_are_asked_for(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    """Added tokens can still be assigned to them; a page of other tokens serves nobody."""
    config = make_config()
    finish_run(config, Goal.REPORT)
    store = Store(config.run.uri)
    old = read_sealed(store, "clusters/cluster.json")[TOKENS]
    run(with_more(config, 8))
    assert not [n for n in store.list() if n.startswith("report/")]
    assert read_sealed(store, "clusters/cluster.json")[TOKENS] == old
    run(config, Goal.CLUSTER)
    new = read_sealed(store, "clusters/cluster.json")[TOKENS]
    assert old != new == tokens.read_info(store).probe_sha256


def test_added_tokens_that_were_exchanged_are_noticed(
    make_config: MakeConfig, finish_run: FinishRun
) -> None:
    config = make_config()
    finish_run(config)
    run(with_more(config, 12), Goal.TOKENS)
    store = Store(config.run.uri)
    data = store.read(tokens.shard_name("probe", 3))
    store.delete(tokens.shard_name("probe", 2))
    store.put(tokens.shard_name("probe", 2), data)
    with pytest.raises(DamagedObjectError, match="probe-00002"):
        tokens.read_shard(store, "probe", 2)
