"""A measured run, and runs predicted from it, for the tests of upsampling."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.models.config import ModelConfig
from spectro.pipeline.run import Goal, run_pipeline
from spectro.predict.config import PredictConfig
from spectro.sampling.config import ChainConfig, TokenDraws
from spectro.sampling.samplers import Gaussian
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind
from spectro.tokens.config import MoreConfig, Source, SourceKind, TokensConfig
from spectro.upsampling.checks import learnt_from
from spectro.views.page.config import ReportConfig
from spectro.work.config import RunConfig
from spectro.work.progress import Progress

PROBE, MORE = 24, 30
"""Probe sequences per subset, of two: 768 tokens measured, 192 predicted."""
PREDICT = PredictConfig(num_folds=2, hidden=32, epochs=60)


def run(config: PipelineConfig, goal: Goal = Goal.SAMPLE) -> PipelineConfig:
    run_pipeline(config, Progress(), goal=goal)
    return config


def upsampled(
    measured: PipelineConfig, uri: Path, num: int | None = MORE, predict: PredictConfig = PREDICT
) -> PipelineConfig:
    """The configuration of a run that is predicted from a measured one."""
    return dataclasses.replace(
        measured,
        upsample=learnt_from(measured, predict),
        more=None if num is None else MoreConfig(num_probe_sequences=num),
        run=dataclasses.replace(measured.run, uri=str(uri)),
    )


@pytest.fixture(scope="module")
def measured_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, text_dir: Path
) -> PipelineConfig:
    """A finished run whose shards have separate draws; look, do not touch."""
    config = PipelineConfig(
        model=ModelConfig(name_or_path=str(tiny_model_dir), device="cpu"),
        tokens=TokensConfig(
            subsets={
                name: Source(kind=SourceKind.TEXT_FOLDER, path=str(text_dir / name))
                for name in ("code", "prose")
            },
            context=16,
            num_probe_sequences=PROBE,
            num_sampling_sequences=4,
            num_evaluation_sequences=2,
            sequences_per_shard=8,
        ),
        sampler=Gaussian(gamma=300.0),
        chain=ChainConfig(num_chains=2, num_draws=2, draws=TokenDraws.PER_SHARD),
        run=RunConfig(uri=str(tmp_path_factory.mktemp("measured") / "run"), num_workers=0),
        estimator=EstimatorConfig(kind=EstimatorKind.RESTRICTED),
        components=["l0h1", "l1h0", "l1mlp"],
        cluster=ClusterConfig(num_neighbours=8, min_size=4, reach=50),
        report=ReportConfig(max_points=20),
        control=False,
    )
    return run(config)
