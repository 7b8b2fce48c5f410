"""Every nβ from the draws of one run: the same numbers as runs of their own, and no pass more."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.chain_records import read_pilot, read_record
from spectro.formats.halves import iterate_halves
from spectro.formats.product import read_product
from spectro.measure.units import AssemblyUnit
from spectro.pipeline.run import Goal, run_pipeline
from spectro.sampling.config import ChainConfig
from spectro.sampling.control import Control
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian, Psgld
from spectro.storage.store import Store
from spectro.susceptibility import score
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.views.change_from_control import moved_data
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.work.progress import Progress
from spectro.work.registry import StageRegistry
from spectro.work.units import Unit

MakeConfig = Callable[..., PipelineConfig]
CHAIN = ChainConfig(
    num_chains=2, num_draws=4, batch_size=2, num_burnin_steps=1, steps_between_draws=2
)
RESTRICTED = EstimatorConfig(kind=EstimatorKind.RESTRICTED)


def sample(config: PipelineConfig) -> Store:
    run_pipeline(config, Progress(), goal=Goal.SAMPLE)
    return Store(config.run.uri)


def rows_of(store: Store) -> dict[str, np.ndarray]:
    found = read_product(store)
    names = ("token_id", "token", "loss", "full_response")
    halves = list(iterate_halves(store, 2))
    return {name: found.column(name) for name in names} | {
        "chi": found.chi_NH,
        "first": np.concatenate([half.chi_first_NH for half in halves]),
        "second": np.concatenate([half.chi_second_NH for half in halves]),
    }


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Scored tokens × draws by component."""
    counted: Counter = Counter()
    pack_losses = score.pack_losses

    def counting(part: Any, ids: Any, *rest: Any) -> Iterator[Any]:
        for pack in pack_losses(part, ids, *rest):
            for piece, delta in pack:
                counted[piece.component] += delta.numel()
            yield pack

    monkeypatch.setattr(score, "pack_losses", counting)
    return counted


@pytest.mark.parametrize(
    ("nbeta", "estimator"),
    [
        ((10.0, 3.0, 0.0), RESTRICTED),
        ((10.0, 3.0, 0.0), EstimatorConfig()),  # `full` steps at 10 and 3, and not at 0
    ],
    ids=["shared by all", "full steps"],
)
def test_each_nbeta_is_what_a_run_of_its_own_is(
    nbeta: tuple[float, ...], estimator: EstimatorConfig, make_config: MakeConfig, tmp_path
) -> None:
    sampler = Reweighted(gamma=300.0, nbeta=nbeta[0], also_nbeta=nbeta[1:])
    config = make_config(sampler=sampler, chain=CHAIN, estimator=estimator, control=True)
    store = sample(config)
    places = {10.0: "", 3.0: "nbeta-3", 0.0: "control"}
    assert list(config.parts) == ["", "control", "nbeta-3"]
    for own, place in places.items():
        alone = make_config(
            tmp_path / f"alone-{own:g}", sampler=sampler.at(own), chain=CHAIN, estimator=estimator
        )
        expected, found = rows_of(sample(alone)), rows_of(store.child(place))
        for name, values in expected.items():
            # the same draws in other batches: last bits of float32 passes at most
            np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=1e-7, err_msg=name)
        there, its = run_dir.require(store.child(place)), run_dir.require(Store(alone.run.uri))
        assert there.fingerprint == its.fingerprint
        assert (read_product(store.child(place)).fingerprint
                == read_product(Store(alone.run.uri)).fingerprint)  # fmt: skip
    at_10, at_0 = rows_of(store)["chi"], rows_of(store.child("control"))["chi"]
    assert np.abs(at_10 - at_0).max() > 1e-3 * np.abs(at_0).max(), "nβ does something"


def test_further_nbeta_and_the_control_take_no_pass(
    make_config: MakeConfig, passes: Counter, tmp_path
) -> None:
    counted = []
    for name, also, control in (("one", (), False), ("list", (3.0, 0.0), True)):
        sampler = Reweighted(gamma=300.0, nbeta=10.0, also_nbeta=also)
        config = make_config(
            tmp_path / name, sampler=sampler, chain=CHAIN, estimator=RESTRICTED, control=control
        )
        passes.clear()
        sample(config)
        counted.append(dict(passes))
    num_tokens = 2 * 6 * 16
    assert counted[0] == counted[1] == dict.fromkeys(counted[0], num_tokens * 2 * 4)
    assert len(counted[0]) == 6
    independent = make_config(
        tmp_path / "independent", sampler=Reweighted(gamma=300.0, nbeta=10.0), chain=CHAIN,
        estimator=RESTRICTED, control="independent",
    )  # fmt: skip
    passes.clear()
    sample(independent)
    assert dict(passes) == {name: 2 * own for name, own in counted[0].items()}
    a, b = (rows_of(Store(str(tmp_path / n)).child("control")) for n in ("list", "independent"))
    assert not np.allclose(a["chi"], b["chi"], rtol=0.01), "other draws"


def test_what_needs_a_chain_at_one_nbeta_draws_for_itself_at_another(
    make_config: MakeConfig, passes: Counter
) -> None:
    """The embedding steps at nβ = 100, where few of its draws count; those at 0 serve 1 too."""
    sampler = Reweighted(gamma=300.0, nbeta=100.0, also_nbeta=(1.0,), min_effective_fraction=0.9)
    config = make_config(
        sampler=sampler, chain=CHAIN, estimator=RESTRICTED, control=True,
        components=["l0h1", "embed"],
    )  # fmt: skip
    store = sample(config)
    kinds = {
        part: {
            name: own.independent
            for group in ("l0", "embed")
            for name, own in read_record(store.child(part), group, 0).components.items()
        }
        for part in config.parts
    }
    assert not kinds[""]["embed"] and kinds["control"]["embed"] and kinds["nbeta-1"]["embed"]
    own = 2 * 6 * 16 * 2 * 4
    assert passes["embed"] == 2 * own, "along the chain, and along independent draws once"
    pilots = {part: read_pilot(store.child(part), "embed")["embed"] for part in config.parts}
    assert pilots[""].effective_fraction < 0.9 < pilots["nbeta-1"].effective_fraction
    assert pilots["control"].effective_fraction == 1.0
    assert len({pilot.prior_delta_loss for pilot in pilots.values()}) == 1


def test_an_nbeta_can_be_added_and_a_killed_assembly_goes_on(
    make_config: MakeConfig, passes: Counter
) -> None:
    base = make_config(
        sampler=Reweighted(gamma=300.0, nbeta=10.0), chain=CHAIN, estimator=RESTRICTED,
        control=True,
    )  # fmt: skip
    store = sample(base)
    before = {name: store.read(name) for name in store.list("susceptibilities")}
    passes.clear()
    sampler = Reweighted(gamma=300.0, nbeta=10.0, also_nbeta=(3.0,))
    sample(dataclasses.replace(base, sampler=sampler))
    assert passes["embed"] == 2 * 6 * 16 * 2 * 4, "once more, for the part that is new"
    expected = rows_of(store.child("nbeta-3"))
    for name in ("part-00001.json", "part-00000.json"):
        store.child("nbeta-3").delete(f"assembly/{name}")
    sample(dataclasses.replace(base, sampler=sampler))
    for name, values in rows_of(store.child("nbeta-3")).items():
        np.testing.assert_array_equal(values, expected[name])
    assert before == {name: store.read(name) for name in store.list("susceptibilities")}
    assert not store.list("tiles")


def test_parts_can_be_added_when_tiles_are_there(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before assembly, its tiles have no sums of the parts that are then asked for."""
    execute = StageRegistry.execute

    class Killed(BaseException):
        """As a signal that ends the process."""

    def but_assembly(stages: StageRegistry, unit: Unit, *rest: Any) -> None:
        if isinstance(unit, AssemblyUnit):
            raise Killed
        execute(stages, unit, *rest)

    one, also = (Reweighted(gamma=300.0, nbeta=10.0, also_nbeta=a) for a in ((), (3.0, 0.0)))
    killed = make_config(sampler=one, chain=CHAIN, estimator=RESTRICTED, control=False)
    with monkeypatch.context() as patch:
        patch.setattr(StageRegistry, "execute", but_assembly)
        with pytest.raises(Killed):
            sample(killed)
    assert Store(killed.run.uri).list("tiles")
    found = sample(dataclasses.replace(killed, sampler=also, control=Control.DEFAULT))
    at_once = make_config(
        tmp_path / "at-once", sampler=also, chain=CHAIN, estimator=RESTRICTED, control=True
    )
    expected = sample(at_once)
    for part in ("", "control", "nbeta-3"):
        for name, values in rows_of(expected.child(part)).items():
            np.testing.assert_array_equal(rows_of(found.child(part))[name], values, part)
    assert not found.list("tiles")


def test_controls_that_are_meant(make_config: MakeConfig) -> None:
    reweighted = Reweighted(nbeta=10.0)
    for given, expected in (
        (True, Control.SHARED), ("true", Control.SHARED), ("default", Control.SHARED),
        (False, Control.NONE), ("independent", Control.INDEPENDENT), ("none", Control.NONE),
    ):  # fmt: skip
        config = make_config(sampler=reweighted, control=given)
        assert config.control is expected
        assert ("control" in config.parts) == (expected is not Control.NONE)
        assert config.inputs() == make_config(sampler=reweighted).inputs(), "no input"
    shared = make_config(sampler=reweighted, control="shared")
    assert shared.parts["control"].seed == shared.seed
    assert make_config(sampler=reweighted, control="independent").as_control().seed != shared.seed
    for sampler in (Psgld(), Gaussian(), Reweighted(nbeta=0.0)):
        assert make_config(sampler=sampler, control=True).control is Control.INDEPENDENT
    also = make_config(sampler=Reweighted(nbeta=10.0, also_nbeta=(0.5, 0.0)), control=True)
    assert list(also.parts) == ["", "control", "nbeta-0.5"]
    assert also.inputs() == shared.inputs() and also.own_name() == shared.own_name()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": Psgld(), "control": "shared"}, "control=shared weights the draws"),
        ({"sampler": Reweighted(nbeta=0.0), "control": "shared"}, "at nbeta 0: give control="),
        ({"sampler": Reweighted(also_nbeta=(0.0,)), "control": "none"}, "leave 0 out, or give"),
        ({"sampler": Reweighted(also_nbeta=(0.0,)), "control": "independent"}, "leave 0 out"),
        ({"sampler": Psgld(), "control": "both"}, "'both' is not a valid Control"),
    ],
)
def test_controls_that_there_cannot_be(fields: dict, message: str, make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(**fields)


@pytest.mark.parametrize("also", [(10.0,), (3.0, 3.0), (-1.0,), (float("inf"),)])
def test_lists_of_nbeta_that_there_cannot_be(also: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"sampler\.(also_)?nbeta must"):
        Reweighted(nbeta=10.0, also_nbeta=also)


def test_what_the_posterior_moves_by_halves_of_the_same_draws(
    make_config: MakeConfig, tmp_path
) -> None:
    """Against the half estimates themselves; as a table of queries; and what cannot be compared."""
    config = make_config(
        sampler=Reweighted(gamma=300.0, nbeta=30.0, also_nbeta=(3.0,)), chain=CHAIN,
        estimator=RESTRICTED, control=True,
    )  # fmt: skip
    store = sample(config)
    own, base = rows_of(store), rows_of(store.child("control"))
    first = own["first"].astype(np.float64) - base["first"]
    second = own["second"].astype(np.float64) - base["second"]
    data = moved_data(RunView(store.uri))
    assert data.shared and data.nbeta == 30.0 and data.num_tokens == 192
    np.testing.assert_allclose(data.moved.error_H, ((first - second) / 2).std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(data.moved.deviation_H, ((first + second) / 2).std(0), rtol=1e-6)
    correlation = np.array(
        [np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)]
    )
    expected = 2 * correlation / (1 + correlation)
    np.testing.assert_allclose(data.moved.reliability_H, expected, rtol=1e-5)
    with Query(RunView(store.uri)) as query:
        found = query.table("select component, error, num_significant from moved order by place")
        tokens = query.table("select count(*) as n from moved_tokens where abs(difference) > 0")
    assert found["component"].to_pylist() == list(data.components)
    np.testing.assert_allclose(found["error"].to_numpy(), data.moved.error_H)
    assert 0 < tokens["n"][0].as_py() <= 20 * len(data.components)
    smaller = moved_data(RunView(f"{store.uri}/nbeta-3")).moved.deviation_H
    assert (smaller < 0.2 * data.moved.deviation_H).all(), "a tenth of nβ"
    with pytest.raises(ValueError, match="is the control itself"):
        moved_data(RunView(f"{store.uri}/control"))
    alone = sample(make_config(tmp_path / "alone", sampler=Gaussian(), chain=CHAIN,
                               estimator=RESTRICTED, control=False))  # fmt: skip
    with pytest.raises(ValueError, match="has no nβ = 0 control to compare with"):
        moved_data(RunView(alone.uri))
    without = dataclasses.replace(CHAIN, num_chains=1)
    one = sample(make_config(tmp_path / "one", sampler=config.sampler, chain=without,
                             estimator=RESTRICTED, control=True))  # fmt: skip
    with pytest.raises(ValueError, match="a difference has no error without them"):
        moved_data(RunView(one.uri))
