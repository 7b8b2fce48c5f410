"""Texts that cannot be measured are refused in one line that says why and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.config import PipelineConfig
from spectro.formats import chain_records
from spectro.storage.store import Store
from spectro.tokens.config import MoreConfig
from spectro.views.run_view import RunView
from spectro.views.text.from_run import document_of_sequence, document_of_text
from spectro.views.text.measured_text import RunDraws
from tests.run.made_texts import measured, of_sequence, require_close

RunCopy = tuple[Store, PipelineConfig]
MakeConfig = Callable[..., PipelineConfig]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_dropped_draws_are_refused_with_the_way_to_have_them(
    run_copy: Callable[[], RunCopy],
) -> None:
    store, config = run_copy()
    assert chain_records.drop_draws(store) > 0
    view = RunView(store.uri)
    line = refusal(lambda: document_of_text(view, config, "a text", "a text"))
    assert "were removed" in line and "more.num_probe_sequences=7 run.keep_draws=true" in line
    assert "changes the run" in line and "made again" in line  # clusters, page and map
    assert document_of_sequence(view, 0).chi_NC.shape == (17, 4)  # what is there is still shown
    control = RunView(f"{store.uri}/control")  # its draws come from their keys
    document_of_text(control, config.as_control(), "a text", "a text")


def test_the_way_that_is_named_works(make_config: MakeConfig) -> None:
    config = make_config()
    measured(dataclasses.replace(config, run=dataclasses.replace(config.run, keep_draws=False)))
    view = RunView(config.run.uri)
    ids, chi, _ = of_sequence(view, 3)
    assert "num_probe_sequences=7" in refusal(
        lambda: RunDraws(view, config).require_draws(["l1h0"])
    )
    measured(dataclasses.replace(config, more=MoreConfig(num_probe_sequences=7)))
    bank = RunDraws(RunView(config.run.uri), config)
    bank.require_draws(view.components)
    require_close(view, bank.measure(ids, view.components).chi_MC, chi)


def test_lost_draws_and_unfinished_chains_are_refused(run_copy: Callable[[], RunCopy]) -> None:
    store, config = run_copy()
    view = RunView(store.uri)
    block = next(name for name in store.list("chains/full") if name.endswith(".safetensors"))
    store.delete(block)
    assert "misses draws of full" in refusal(
        lambda: document_of_text(view, config, "a text", "a text", components=["l1h0"])
    )
    store.delete("chains/full/0.json")
    assert "has no draws of full yet" in refusal(
        lambda: document_of_text(view, config, "a text", "a text", components=["l1h0"])
    )


def test_texts_and_components_that_cannot_be(whole_run: PipelineConfig) -> None:
    view = RunView(whole_run.run.uri)

    def of(text: str, **kwargs) -> Callable[[], object]:
        return lambda: document_of_text(view, whole_run, text, "f.txt", **kwargs)

    assert "f.txt has 1 tokens: a text needs at least two" in refusal(of("a"))
    assert "f.txt has 0 tokens" in refusal(of(""))
    assert "f.txt has 12 tokens, max_tokens is 8" in refusal(of("twelve bytes", max_tokens=8))
    assert "'l0h*' selects nothing" in refusal(of("a text", components=["l0h*"]))
    assert "no sequence 6: its ids are 0 to 5" in refusal(lambda: document_of_sequence(view, 6))


def test_a_scale_that_needs_all_components_is_refused_before_anything_is_measured(
    whole_run: PipelineConfig,
) -> None:
    view, told = RunView(whole_run.run.uri), []
    wanted = {"centred": True, "on_cost": told.append}
    for components in ([], ["l1*"]):
        assert "scale=centred takes off" in refusal(
            lambda c=components: document_of_text(
                view, whole_run, "a text", "a text", components=c, **wanted
            )
        )
    assert not told
    made = document_of_text(view, whole_run, "a text", "a text", components=["*"], **wanted)
    assert told and made.row_mean_N is not None


def test_another_model_and_another_device_are_refused(
    run_copy: Callable[[], RunCopy], tmp_path: Path
) -> None:
    store, config = run_copy()
    view = RunView(store.uri)
    gone = dataclasses.replace(
        config, model=dataclasses.replace(config.model, name_or_path=str(tmp_path / "gone"))
    )
    assert "does not exist" in refusal(lambda: document_of_text(view, gone, "a text", "a text"))
    for key, value, said in (
        ("model_weights", "other", "has other weights"),
        ("device_type", "cuda", "was measured on cuda, this is cpu"),
    ):
        told = RunView(store.uri)
        told.file = dataclasses.replace(told.file, inputs=told.file.inputs | {key: value})
        assert said in refusal(lambda v=told: document_of_text(v, config, "a text", "a text"))
