"""`spectro diagnose` on a measured run: what is stored arrives in the verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectro.analysis.chain_verdict import Verdict
from spectro.config import PipelineConfig
from spectro.formats.chain_records import read_record
from spectro.formats.draws import DrawWriter
from spectro.sampling.component_chain import ComponentChain
from spectro.storage.store import Store
from spectro.views.diagnose import diagnose_run, settings_of
from spectro.views.run_view import RunView
from tests.run.made_runs import make_run, text

Job = Callable[..., int]


def chain(delta_loss: np.ndarray, **fields: object) -> ComponentChain:
    known = {
        "independent": False, "delta_loss": delta_loss, "weight": np.ones_like(delta_loss),
        "reliability": float("nan"), "steps_between_draws": 4, "step_loss": np.zeros(9),
    }  # fmt: skip
    return ComponentChain(**(known | fields))


@pytest.fixture
def made(tmp_path: Path) -> Store:
    """A run without summary and pilots, with chains of two components and the unrestricted ones."""
    store, rng = make_run(tmp_path / "run", text(3, 1)), np.random.default_rng(0)
    for number in range(3):
        level, drift = 5 + rng.normal(size=(2, 50)) * 0.3
        own = {"l0h1": chain(drift + np.linspace(0, 3, 50)), "l0h0": chain(level)}
        DrawWriter(store=store, group="l0", chain=number).finish(own, 1.0)
        full = {"full": chain(level[:6], independent=True, steps_between_draws=0)}
        DrawWriter(store=store, group="full", chain=number).finish(full, 1.0)
    return store


def test_what_is_stored_is_judged(made: Store) -> None:
    found = diagnose_run(RunView(made.uri))
    assert [each.traces.name for each in found] == ["l0h0", "l0h1", "full"]
    verdicts = [Verdict.BIAS_UNKNOWN, Verdict.DRIFTS, Verdict.INDEPENDENT]
    assert [each.verdict for each in found] == verdicts
    stored = read_record(made, "l0", 2).components["l0h1"].delta_loss
    np.testing.assert_array_equal(found[1].traces.delta_loss[2], stored)
    assert found[1].traces.chains == (0, 1, 2) and np.isnan(found[1].traces.reliability)


def test_components_by_pattern(made: Store) -> None:
    view = RunView(made.uri)
    assert [each.traces.name for each in diagnose_run(view, ["full", "*h1"])] == ["l0h1", "full"]
    with pytest.raises(ValueError, match=r"'l7' names nothing; .* has chains of l0h0, l0h1, full"):
        diagnose_run(view, ["l7"])


def test_a_run_without_chains(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", text(3, 1))
    with pytest.raises(ValueError, match="has no finished chains"):
        diagnose_run(RunView(store.uri))


def test_a_whole_run_and_its_control(whole_run: PipelineConfig) -> None:
    """Three draws a chain are too few for a verdict; the control's are independent."""
    view = RunView(whole_run.run.uri)
    found = {each.traces.name: each for each in diagnose_run(view)}
    assert list(found) == [*view.components, "full"]
    assert {each.verdict for each in found.values()} <= {
        Verdict.TOO_SHORT, Verdict.FALLS, Verdict.LITTLE_SIGNAL, Verdict.BIASED,
        Verdict.BIAS_UNKNOWN,
    }  # fmt: skip
    for index, name in enumerate(view.components):
        known = view.summary
        traces = found[name].traces
        assert traces.reliability == known["reliability"][index]
        assert traces.effective_sample_size == known["effective_sample_size"][index]
        stated = known["sampler_bias"][index]
        assert (traces.bias and traces.bias.nats) == (stated and stated["nats"])
        assert np.mean(traces.split_reliability) == pytest.approx(traces.reliability)
    told = settings_of(view)
    assert (told.num_draws, told.gamma, told.nbeta, told.step_size) == (3, 300.0, 10.0, 1e-3)
    control = diagnose_run(RunView(f"{view.uri}/control"))
    assert all(each.traces.independent for each in control)


def test_the_command(
    made: Store, tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run.uri={made.uri}"
    assert job("diagnose", run, "diagnose.out=d.html") == 0
    told = capsys.readouterr().out
    assert "drifts" in told and "raise sampler.gamma" in told and "1 × sampler bias unknown" in told
    assert (tmp_path / "d.html").read_text().count("<tr>") == 4
    (tmp_path / "d.html").write_text("old")
    assert job("diagnose", run, "diagnose.out=d.html") == 0
    assert (tmp_path / "d.html").read_text().count("<tr>") == 4
    assert job("diagnose", run, "diagnose.out=a.svg") == job("diagnose", run, "diagnose.out=b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    capsys.readouterr()
    assert job("diagnose", run, "diagnose.format=json", "diagnose.out=d.json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "d.json").read_text()) and len(printed) == 3


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("diagnose.out=d.txt", "diagnose.out must end in .html, .json, .svg"),
        ("diagnose.panels=0", "diagnose.panels must be at least 1"),
        ("diagnose.components=[]", "diagnose.components is empty"),
        ("diagnose.theme=pink", "diagnose.theme must be one of light, dark"),
        ("diagnose.components=[zz]", "'zz' names nothing"),
    ],
)
def test_wrong_arguments(
    made: Store, job: Job, capsys: pytest.CaptureFixture[str], argument: str, told: str
) -> None:
    assert job("diagnose", f"run.uri={made.uri}", argument) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
