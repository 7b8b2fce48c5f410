"""A small model measured from end to end, on a CPU or on the pretended device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from spectro.models import precision
from spectro.models.components import (
    FULL_GROUP,
    Group,
    all_components,
    group_components,
    select_components,
)
from spectro.models.config import Precision, ScoringConfig
from spectro.models.cost.budget import RowBudget
from spectro.models.engine import engine_of
from spectro.models.token_ids import check_ids
from spectro.models.token_loss import BLOCK
from spectro.models.top_k_softmax import LOSS_CHUNK
from spectro.models.transformer import Transformer
from spectro.sampling.checkpoint import Checkpoints
from spectro.sampling.config import ChainConfig, ObservableConfig
from spectro.sampling.keys import KeyedRandomness, _key
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import SLICE
from spectro.susceptibility.estimator import EstimatorConfig
from spectro.susceptibility.measurement import MeasuredModel, scored_chain
from tests.device.pretended_device import Tf32Products

Arrays = dict[str, npt.NDArray[Any]]
NUM_LAYERS, NUM_HEADS, VOCAB, CONTEXT = 3, 2, 61, 12
PATTERNS = ("embed", "l1*", "unembed")
ROWS = 2**14
SWITCH = precision._switch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """`MeasurementSettings` of a test."""

    sampler: Sampler
    chain: ChainConfig = dataclasses.field(
        default_factory=lambda: ChainConfig(
            num_chains=2, num_draws=4, num_burnin_steps=3, steps_between_draws=1, batch_size=2
        )
    )
    estimator: EstimatorConfig = dataclasses.field(default_factory=EstimatorConfig)
    seed: int = 5
    observables: dict[str, ObservableConfig] = dataclasses.field(default_factory=dict)


def groups() -> tuple[Group, ...]:
    """Embedding, a layer, unembedding, all weights."""
    chosen = select_components(PATTERNS, all_components(NUM_LAYERS, NUM_HEADS))
    return (*group_components(chosen), FULL_GROUP)


def measured_model(
    device: str,
    kind: Precision = Precision.FLOAT32,
    *,
    list_size: int = 0,
    rows: int | None = ROWS,
    num_layers: int = NUM_LAYERS,
) -> MeasuredModel:
    """A random model with its sequences; rows of every pass are given, or found by free memory."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=num_layers,
        num_attention_heads=NUM_HEADS,
        intermediate_size=24,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    return _measured(GPTNeoXForCausalLM(config), device, kind, list_size, rows)


def measured_llama(device: str, kind: Precision = Precision.FLOAT32) -> MeasuredModel:
    """The same of the Llama kind: two heads share keys and values, embeddings are tied."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=24,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    return _measured(LlamaForCausalLM(config), device, kind, 0, ROWS)


def _measured(
    hf: PreTrainedModel, device: str, kind: Precision, list_size: int, rows: int | None
) -> MeasuredModel:
    model = engine_of(hf.eval().requires_grad_(False).to(device), kind)
    assert isinstance(model, Transformer)
    found = MeasuredModel(
        _scoring(list_size),
        model=lambda: model,
        sampling_ids=lambda: ids(model, 6, seed=1),
        evaluation_ids=lambda: ids(model, 3, seed=2),
    )
    if rows is not None:
        budget = RowBudget(rows=rows)
        vars(found)["scoring_budget"] = lambda top_k: budget
        vars(found)["stepping_budget"] = budget
    return found


def ids(model: Transformer, num_seq: int, seed: int) -> Tensor:
    """Random sequences on the model's device."""
    stream = torch.Generator().manual_seed(seed)
    found = torch.randint(VOCAB, (num_seq, CONTEXT + 1), generator=stream)
    return check_ids(model, found, "tokens/test")


def probe_ids(own: MeasuredModel) -> Tensor:
    """The sequences that are scored."""
    return ids(own.model, 4, seed=3)


def measure(
    own: MeasuredModel,
    settings: Settings,
    group: Group,
    *,
    chain_checkpoints: Checkpoints | None = None,
    score_checkpoints: Checkpoints | None = None,
) -> Arrays:
    """Pilot, chains and running sums of one group, as arrays by name."""
    found: Arrays = {}
    pilot = own.pilot(group, settings)
    for name, moments in pilot.items():
        numbers = [v for v in dataclasses.asdict(moments).values() if isinstance(v, int | float)]
        found[f"pilot/{name}"] = np.array(numbers, dtype=np.float64)
    blocks: dict[int, dict[str, list[Mapping[str, Tensor]]]] = {0: {}, 1: {}}
    sinks = {c: _sink(blocks[c]) for c in blocks} if chain_checkpoints else None
    chains = own.chains(group, settings, pilot).run(
        list(range(settings.chain.num_chains)), sinks=sinks, checkpoints=chain_checkpoints
    )
    for chain, result in chains.items():
        for name, record in result.components.items():
            found[f"delta_loss/{chain}/{name}"] = record.delta_loss
            found[f"weight/{chain}/{name}"] = record.weight
            found[f"step_loss/{chain}/{name}"] = record.step_loss
    if sinks is not None:
        return found
    scored = {c: scored_chain(result.draws, result.components) for c, result in chains.items()}
    tiles = own.score(group, scored, probe_ids(own), pilot, checkpoints=score_checkpoints)
    for name, sums in tiles.items():
        found[f"weighted/{name}"], found[f"plain/{name}"] = sums.weighted_CN, sums.plain_CN
    return found


def _sink(into: dict[str, list[Mapping[str, Tensor]]]) -> Any:
    def take(component: str, first: int, draws: Mapping[str, Tensor]) -> None:
        into.setdefault(component, []).append(draws)

    return take


@contextmanager
def cuda_sizes_on_cpu() -> Iterator[None]:
    """The CPU takes blocks, slices and keyed noise as CUDA does: its results have the same bits."""
    with (
        mock.patch.dict(BLOCK, {"cpu": BLOCK["cuda"]}),
        mock.patch.dict(LOSS_CHUNK, {"cpu": LOSS_CHUNK["cuda"]}),
        mock.patch.dict(SLICE),
        mock.patch.object(KeyedRandomness, "noise", _noise_of_generator),
        mock.patch.object(precision, "_switch", _rounded_in_products),
        mock.patch.object(precision, "round_to_tf32", lambda tensor: tensor),
    ):
        SLICE.pop("cpu")
        yield


@contextmanager
def _rounded_in_products(device_type: str, kind: Precision) -> Iterator[None]:
    """CUDA's TF32 switch on a CPU: operands are rounded within products, and nowhere else."""
    if kind is not Precision.TF32:
        with SWITCH(device_type, kind):
            yield
    else:
        with Tf32Products():
            yield


def _noise_of_generator(
    self: KeyedRandomness, component: str, chain: int, step: int, like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    key = _key(self.seed, "noise", component, chain, step)
    stream = torch.Generator().manual_seed(key % 2**63)
    return {
        name: torch.randn(like[name].shape, generator=stream, dtype=like[name].dtype)
        for name in sorted(like)
    }


def _scoring(list_size: int) -> ScoringConfig:
    if not list_size:
        return ScoringConfig(shortlist_size=0)
    return ScoringConfig(shortlist_size=list_size, max_shortlist_error=1e9)
