"""One whole run, with control, clusters and page, for all tests that only look at runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.models.config import ModelConfig
from spectro.pipeline.run import Goal, run_pipeline
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Exponential
from spectro.storage.store import Store
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.views.page.config import ReportConfig
from spectro.work.config import RunConfig
from spectro.work.progress import Progress
from tests.run.upsampled_runs import measured_run  # noqa: F401 - a fixture

RunCopy = tuple[Store, PipelineConfig]


@pytest.fixture(scope="session")
def whole_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, text_dir: Path
) -> PipelineConfig:
    """Configuration of a finished run; look, do not touch."""
    config = PipelineConfig(
        model=ModelConfig(name_or_path=str(tiny_model_dir), device="cpu"),
        tokens=TokensConfig(
            subsets={"code": Source(kind=SourceKind.TEXT_FOLDER, path=str(text_dir / "code"))},
            context=16,
            num_probe_sequences=6,
            num_sampling_sequences=4,
            num_evaluation_sequences=2,
            sequences_per_shard=3,
        ),
        sampler=Exponential(gamma=300.0, nbeta=10.0, step_size=1e-3),
        chain=ChainConfig(
            num_chains=2, num_draws=3, batch_size=2, num_burnin_steps=1, steps_between_draws=2
        ),
        run=RunConfig(uri=str(tmp_path_factory.mktemp("whole") / "run"), num_workers=0),
        components=["l1*", "embed"],
        cluster=ClusterConfig(num_neighbours=8, min_size=4, reach=50),
        report=ReportConfig(max_points=20),
    )
    run_pipeline(config, Progress(), goal=Goal.REPORT)
    return config


@pytest.fixture
def run_copy(whole_run: PipelineConfig, tmp_path: Path) -> Callable[[], RunCopy]:
    """Makes a copy of the whole run that may be spoilt, and gives its configuration."""

    def copy() -> RunCopy:
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole_run.run.uri, folder)
        return Store(str(folder)), whole_run

    return copy
