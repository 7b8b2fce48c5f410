"""Which weights and device type a run is bound to, and when: only once it measures (ADR 094)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import yaml

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.fingerprint import OtherRunError, digest
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.store import Store
from spectro.work.progress import Progress

MakeConfig = Callable[..., PipelineConfig]


def run(config: PipelineConfig, goal: Goal) -> None:
    run_pipeline(config, Progress(), goal=goal)


def test_tokens_bind_a_run_to_no_device(make_config: MakeConfig) -> None:
    config = make_config()
    store = Store(config.run.uri)
    run(config, Goal.TOKENS)
    found = run_dir.require(store)
    assert not set(run_dir.OF_THE_MODEL) & set(found.inputs)
    assert set(found.facts) == {
        "num_layers", "num_heads", "hidden_size", "vocab_size", "max_context",
    }  # fmt: skip
    run_dir.bind(store, "weights", "cuda:0")  # as the first worker on another type of device does
    assert run_dir.require(store).inputs["device_type"] == "cuda"
    with pytest.raises(OtherRunError, match=r"device_type: .cuda. → .cpu."):
        run(config, Goal.SAMPLE)


def test_what_a_run_is_bound_to_is_part_of_what_determines_it(make_config: MakeConfig) -> None:
    config = make_config()
    run(config, Goal.SAMPLE)
    store = Store(config.run.uri)
    found, before = run_dir.require(store), yaml.safe_load(store.read(run_dir.NAME))
    assert found.inputs["device_type"] == "cpu" and found.facts["device"] == "cpu"
    assert found.fingerprint == digest(found.inputs) != before["fingerprint"]
    run(dataclasses.replace(config), Goal.SAMPLE)  # nothing to do, and the same run


def test_runs_of_earlier_versions_have_it_in_their_run_yaml(make_config: MakeConfig) -> None:
    config = make_config()
    run(config, Goal.SAMPLE)
    store = Store(config.run.uri)
    found = run_dir.require(store)
    content = yaml.safe_load(store.read(run_dir.NAME)) | {
        "inputs": found.inputs, "facts": found.facts, "fingerprint": found.fingerprint,
    }  # fmt: skip
    del content[run_dir.DIGEST]
    for name in (run_dir.NAME, run_dir.BINDING):
        store.delete(name)
    store.put(run_dir.NAME, yaml.safe_dump(content | {run_dir.DIGEST: digest(content)}).encode())
    assert run_dir.require(store).inputs == found.inputs
    run(config, Goal.SAMPLE)
    assert not store.exists(run_dir.BINDING)
    run_dir.bind(store, found.inputs["model_weights"], "cpu")
    with pytest.raises(OtherRunError, match="model_weights"):
        run_dir.bind(store, "others", "cpu")
