"""Cluster units that are done twice, by a worker that was thought dead or by two drivers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.cluster_stage.find import find_and_write_clusters
from spectro.cluster_stage.units import ClusterUnit
from spectro.config import PipelineConfig
from spectro.formats import run_dir, tokens
from spectro.formats.fingerprint import OtherRunError
from spectro.measure.resident_model import ResidentModel
from spectro.pipeline.goals import goal_units
from spectro.pipeline.run import run_pipeline
from spectro.storage.store import Store
from spectro.work.model_info import model_of
from spectro.work.progress import Progress
from spectro.work.stage import Goal

RunCopy = tuple[Store, PipelineConfig]
NAMES = ("clusters/cluster.json", "clusters/clusters.parquet", "clusters/members.parquet")


def do_again(store: Store, config: PipelineConfig) -> None:
    model = model_of(run_dir.require(store), store.uri)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, uri=store.uri))
    goals = goal_units(config, model, tokens.read_info(store), Goal.CLUSTER)
    unit = next(unit for unit in goals if isinstance(unit, ClusterUnit) and not unit.part)
    find_and_write_clusters(unit, ResidentModel(config), lambda done, total: None, lambda: False)


def test_a_second_writer_leaves_the_clusters_of_the_first(run_copy: Callable[[], RunCopy]) -> None:
    store, config = run_copy()
    before = {name: store.read(name) for name in NAMES}
    do_again(store, config)
    assert {name: store.read(name) for name in NAMES} == before
    other = dataclasses.replace(config.cluster, min_size=config.cluster.min_size + 1)
    with pytest.raises(OtherRunError, match="min_size"):
        do_again(store, dataclasses.replace(config, cluster=other))


@pytest.mark.parametrize("lost", NAMES)
def test_what_was_lost_of_clusters_is_made_again(
    run_copy: Callable[[], RunCopy], lost: str
) -> None:
    store, config = run_copy()
    before = {name: store.read(name) for name in NAMES}
    store.delete(lost)
    do_again(store, config)
    assert {name: store.read(name) for name in NAMES} == before


def test_clusters_need_no_model(run_copy: Callable[[], RunCopy]) -> None:
    store, config = run_copy()
    before = {name: store.read(name) for name in NAMES}
    store.delete_many([n for n in store.list() if "clusters/" in n or "neighbours/" in n])
    gone = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, name_or_path="/nowhere/gone"),
        run=dataclasses.replace(config.run, uri=store.uri),
    )
    run_pipeline(gone, Progress(), goal=Goal.CLUSTER)
    assert {name: store.read(name) for name in NAMES} == before
    assert store.exists("control/clusters/cluster.json")
    assert store.exists("clusters/half-1/cluster.json")


ALONE = """
import socket, sys
import torch

def refuse(*call):
    raise AssertionError(f"a cluster job opened a connection: {call}")

socket.socket.connect = socket.socket.connect_ex = refuse
torch.cuda.is_available = lambda: True  # of a CPU build: what used a GPU would raise
sys.argv[1:] = ["cluster", f"run.uri={sys.argv[1]}", "run.num_workers=0"]
from jobs.cli import main
main()
"""


def test_the_command_needs_no_model_no_gpu_and_no_hub(
    run_copy: Callable[[], RunCopy], tiny_model_dir: Path
) -> None:
    """In a process of its own, with the folder of the model away."""
    store, _ = run_copy()
    before = {name: store.read(name) for name in NAMES}
    store.delete_many([n for n in store.list() if "clusters/" in n or "neighbours/" in n])
    away = tiny_model_dir.with_name("away")
    tiny_model_dir.rename(away)
    try:
        done = subprocess.run(
            [sys.executable, "-c", ALONE, store.uri], capture_output=True, text=True
        )
    finally:
        away.rename(tiny_model_dir)
    assert done.returncode == 0, done.stderr
    assert {name: store.read(name) for name in NAMES} == before


def test_another_clustering_lies_beside_the_first(run_copy: Callable[[], RunCopy]) -> None:
    store, config = run_copy()
    before = store.list()
    beside = dataclasses.replace(
        config,
        cluster=dataclasses.replace(config.cluster, min_rise=1.05, stability=False),
        run=dataclasses.replace(config.run, uri=store.uri, clusters="clusters-rise"),
    )
    run_pipeline(beside, Progress(), goal=Goal.CLUSTER)
    made = {n for n in store.list() if n not in before and not n.startswith("sessions/")}
    names = {name.replace("clusters/", "clusters-rise/") for name in NAMES}
    assert made == names | {f"control/{name}" for name in names}  # the lists are those of the first
