"""A destroyed model is named in the summary, the log, the page, the plan and by diagnose."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable

import pytest

from spectro.analysis.chain_verdict import Verdict
from spectro.config import PipelineConfig
from spectro.formats.product import SUMMARY_NAME
from spectro.pipeline.run import Goal, run_pipeline
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan_notes import damage_notes
from spectro.sampling.pilot.damage import damage
from spectro.sampling.pilot.sampler_bias import SamplerBias
from spectro.sampling.samplers import Gaussian
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.susceptibility.warnings import chain_warnings
from spectro.views.diagnose import diagnose_run
from spectro.views.run_view import RunView
from spectro.work.progress import Progress
from tests.run.made_runs import page_objects

MakeConfig = Callable[..., PipelineConfig]


def test_a_destroyed_model_is_named_everywhere(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    """The tiny model has learnt nothing: it is given 0.5 nats to lose, which γ = 0.3 takes."""
    monkeypatch.setattr("spectro.susceptibility.measurement.loss_headroom", lambda *_: 0.5)
    config = make_config(
        sampler=Gaussian(gamma=0.3), estimator=EstimatorConfig(kind=EstimatorKind.RESTRICTED)
    )
    with caplog.at_level(logging.WARNING):
        run_pipeline(config, Progress(), goal=Goal.REPORT)
    store = Store(config.run.uri)
    warnings = read_sealed(store, SUMMARY_NAME)["warnings"]
    assert warnings
    name = warnings[0].partition(":")[0]
    pattern = rf"{name}: the mean loss under its posterior is \d+% .* raise sampler\.gamma \(0\.3"
    assert re.match(pattern, warnings[0])
    assert warnings[0] in caplog.text
    assert warnings[0] in str(json.loads(page_objects(store)["report.json"]))
    notes = damage_notes(store, config, size_of_checkpoint(config.model))
    assert any(note.startswith(f"pilot: {name}: the mean loss") for note in notes)
    (found,) = diagnose_run(RunView(store.uri), [name])
    assert found.verdict in (Verdict.DESTROYED, Verdict.DAMAGED)


def test_a_model_that_has_learnt_nothing_is_not_called_destroyed() -> None:
    assert damage(1.0, 0.05) != damage(1.0, 0.05)  # NaN
    assert damage(1.0, -0.3) != damage(1.0, -0.3)
    assert damage(1.0, 2.0) == 0.5


def test_biased_and_unknown_chains_are_counted_in_one_sentence_each() -> None:
    def own(sampling: str, bias: SamplerBias | None) -> dict:
        return {
            "sampling": sampling, "damage": None, "gamma_needed": None,
            "sampler_bias": None if bias is None else bias.as_dict(),
        }  # fmt: skip

    wrong = SamplerBias(nats=0.5, error_nats=0.1, posterior_deviation=0.25, source="weights")
    unseen = SamplerBias(nats=0.0, error_nats=1.0, posterior_deviation=0.25, source="weights")
    chains = {f"l0h{head}": own("chain", wrong) for head in range(8)}
    chains |= {"embed": own("chain", None), "l1mlp": own("chain", unseen)}
    chains |= {"unembed": own("metropolis", None), "l1h0": own("independent", None)}
    bias, unknown = chain_warnings(chains, 300.0)
    assert "l0h0 (mean +2.0 posterior deviations, spread 1.0)" in bias and "and 2 more" in bias
    assert "embed, l1mlp;" in unknown and "unembed" not in unknown and "l1h0" not in unknown
    assert not chain_warnings({"unembed": chains["unembed"]}, 300.0)
