"""A tiny GPT-NeoX in the ordinary Hugging Face format, text for it, and runs of it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported, and for all processes that tests start: small tensors gain nothing by a
# second thread, and lose much where two test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.models.config import ModelConfig
from spectro.sampling.chain import ChainConfig
from spectro.sampling.samplers import Exponential
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.views.page.config import ReportConfig
from spectro.work.config import RunConfig
from tests.servers.fixtures import moto_server, seaweed  # noqa: F401 - fixtures
from tests.servers.google import google  # noqa: F401 - a fixture

pytest_plugins = ["tests.suite"]
settings.register_profile("tests", deadline=None)  # no test asserts a time
settings.load_profile("tests")
MakeConfig = Callable[..., PipelineConfig]
FinishRun = Callable[..., None]
VOCAB_SIZE = 257
CHAIN = ChainConfig(
    num_chains=2, num_draws=3, batch_size=2, num_burnin_steps=1, steps_between_draws=2
)
"""A distance that is given: chains that measure theirs take up to 256 steps from draw to draw."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test, and no fixture, inherits the threads of a unit that had the machine to itself."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def disk() -> Iterator[None]:
    """Not waited for: nothing here outlives a power cut, and each put would sync twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random model of two layers with a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        bos_token_id=256,
        eos_token_id=256,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {char: index for index, char in enumerate(alphabet)} | {"<|endoftext|>": 256}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of text, `code` and `prose`."""
    folder = tmp_path_factory.mktemp("text")
    for name, line in (
        ("code", "def f{i}(x): return x * {i}\n"),
        ("prose", "Chapter {i}. Once.\n"),
    ):
        (folder / name).mkdir()
        for part in range(3):
            text = "".join(line.format(i=i * 7 + part) for i in range(200))
            (folder / name / f"{part}.txt").write_text(text)
    return folder


@pytest.fixture
def make_config(tiny_model_dir: Path, text_dir: Path, tmp_path: Path) -> MakeConfig:
    """Factory of whole configurations of a few seconds; keyword arguments replace fields."""

    def make(uri: Path | str | None = None, **overrides: Any) -> PipelineConfig:
        run = RunConfig(uri=str(uri or tmp_path / "run"), num_workers=0)
        config = PipelineConfig(
            model=ModelConfig(name_or_path=str(tiny_model_dir), device="cpu"),
            tokens=TokensConfig(
                subsets={
                    name: Source(kind=SourceKind.TEXT_FOLDER, path=str(text_dir / name))
                    for name in ("code", "prose")
                },
                context=16,
                num_probe_sequences=6,
                num_sampling_sequences=4,
                num_evaluation_sequences=2,
                sequences_per_shard=8,
            ),
            sampler=Exponential(gamma=300.0, nbeta=10.0, step_size=1e-3),
            chain=CHAIN,
            run=run,
            components=["l0h1", "l1*", "embed", "unembed"],
            cluster=ClusterConfig(num_neighbours=8, min_size=4, reach=50),
            report=ReportConfig(max_points=20),
            control=False,
        )
        return dataclasses.replace(config, **overrides)

    return make


@pytest.fixture(scope="session")
def finish_run(tmp_path_factory: pytest.TempPathFactory) -> FinishRun:
    """Brings a new run to a goal; each configuration is worked once, and copied after that.

    For tests whose subject comes after: what is killed, added, lost or asked for later.
    """
    # not for every test: it takes seconds to import
    from spectro.pipeline.run import Goal, run_pipeline
    from spectro.work.progress import Progress

    made: dict[str, Path] = {}

    def finish(config: PipelineConfig, goal: Goal = Goal.SAMPLE) -> None:
        anywhere = dataclasses.replace(config, run=dataclasses.replace(config.run, uri="anywhere"))
        key = f"{goal} {anywhere!r}"
        if key not in made:
            folder = tmp_path_factory.mktemp("finished") / "run"
            run = dataclasses.replace(config.run, uri=str(folder))
            run_pipeline(dataclasses.replace(config, run=run), Progress(), goal=goal)
            made[key] = folder
        shutil.copytree(made[key], config.run.uri)

    return finish


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Call a job in this process, as the command line would, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> int:
        import importlib

        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return int(importlib.import_module(f"jobs.{name}").main())

    return call
