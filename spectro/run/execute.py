"""What a worker does for each kind of unit: read, compute, put.

The science gets arrays and gives arrays; everything is read from the run's storage and written
there, so that a unit can be done anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property, singledispatch

import numpy as np
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.api import check_ids
from spectro.models.components import Group
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.load import load_model, load_tokenizer
from spectro.run.assembly import assemble_shard, summarise
from spectro.run.clusters import find_and_write_clusters
from spectro.run.config import CONTROL, PipelineConfig
from spectro.run.page import write_page
from spectro.run.units import (
    AssemblyUnit,
    ChainUnit,
    ClusterUnit,
    ReportUnit,
    SummaryUnit,
    TileUnit,
    TokensUnit,
    Unit,
)
from spectro.sampling.chain import run_chain
from spectro.storage import draws, tiles, tokens
from spectro.storage.fs import Store
from spectro.susceptibility.score import TileSums, score_tile
from spectro.tokens.build import build

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, float], None]


class Resident:
    """What a worker keeps between units: the model and the sequences of the chains."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.root = Store(config.run.uri)

    def of(self, unit: Unit) -> tuple[Store, PipelineConfig]:
        """The part of the run that a unit belongs to, and its configuration."""
        if unit.part == CONTROL:
            return self.root.child(CONTROL), self.config.as_control()
        return self.root, self.config

    @cached_property
    def hf_model(self) -> GPTNeoXForCausalLM:
        """The checkpoint."""
        return load_model(self.config.model)

    @cached_property
    def model(self) -> GPTNeoX:
        """The same weights, as the engine takes them."""
        return GPTNeoX.from_pretrained_model(self.hf_model)

    @cached_property
    def sampling_ids(self) -> Tensor:
        """Sequences of the minibatches, int64 [M, T+1]."""
        return self._split("sampling")

    @cached_property
    def evaluation_ids(self) -> Tensor:
        """Sequences on which ΔL is taken, int64 [E, T+1]."""
        return self._split("evaluation")

    def probe_ids(self, shard: int) -> Tensor:
        """Sequences of one token shard, int64 [n, T+1]."""
        _, sequences = tokens.read_shard(self.root, "probe", shard)
        return check_ids(self.model, torch.from_numpy(sequences.ids_ST1), "tokens/probe")

    def _split(self, split: str) -> Tensor:
        ids = tokens.read_split(self.root, split).ids_ST1
        return check_ids(self.model, torch.from_numpy(ids), f"tokens/{split}")


@singledispatch
def execute(unit: Unit, resident: Resident, on_progress: OnProgress) -> None:
    """Do a unit; its objects are in storage when this returns."""
    raise TypeError(f"no one knows how to do a {type(unit).__name__}")


@execute.register
def _tokens(unit: TokensUnit, resident: Resident, on_progress: OnProgress) -> None:
    config = resident.config
    tokenizer = load_tokenizer(config.model)
    vocab_size = int(resident.hf_model.config.vocab_size)

    def encode(texts: list[str]) -> list[list[int]]:
        encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [list(ids) for ids in encoded]

    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {config.model.name_or_path!r} has no end-of-text token: "
            "documents cannot be packed as the model was trained"
        )
    if not encode(["text"])[0]:
        raise ValueError(
            f"the tokenizer of {config.model.name_or_path!r} has no vocabulary: "
            "is tokenizer.json missing beside the checkpoint?"
        )
    splits = build(config.tokens, encode, tokenizer.eos_token_id, vocab_size, progress=on_progress)
    tokens.write_tokens(
        resident.root,
        splits,
        vocab_size=vocab_size,
        sequences_per_shard=config.tokens.sequences_per_shard,
    )


@execute.register
def _chain(unit: ChainUnit, resident: Resident, on_progress: OnProgress) -> None:
    store, config = resident.of(unit)
    start = time.monotonic()
    result = run_chain(
        resident.model,
        unit.group,
        config.sampler,
        config.chain,
        resident.sampling_ids,
        resident.evaluation_ids,
        chain=unit.chain,
        seed=config.seed,
        on_step=on_progress,
    )
    draws.write_chain(store, unit.group.name, unit.chain, result, time.monotonic() - start)


@execute.register
def _tile(unit: TileUnit, resident: Resident, on_progress: OnProgress) -> None:
    store, config = resident.of(unit)
    start = time.monotonic()
    probe_ids = resident.probe_ids(unit.shard)
    num_chains = config.chain.num_chains
    parts = []
    for chain in range(num_chains):  # one chain's draws at a time: memory does not grow with them

        def on_sequences(done: int, total: int, chain: int = chain) -> None:
            on_progress(chain * total + done, num_chains * total)

        parts.append(_score_chain(resident, store, unit.group, chain, probe_ids, on_sequences))
    sums = {
        name: TileSums(
            weighted_CN=np.concatenate([part[name].weighted_CN for part in parts]),
            plain_CN=np.concatenate([part[name].plain_CN for part in parts]),
        )
        for name in parts[0]
    }
    tiles.write_tile(store, unit.shard, unit.group.name, sums, time.monotonic() - start)


def _score_chain(
    resident: Resident,
    store: Store,
    group: Group,
    chain: int,
    probe_ids: Tensor,
    on_sequences: Callable[[int, int], None],
) -> Mapping[str, TileSums]:
    """Sums of one chain, [1, N]."""
    device = resident.model.device
    record = draws.read_record(store, group.name, chain)
    found = {
        name: {block: tensor.to(device) for block, tensor in blocks.items()}
        for name, blocks in draws.read_draws(store, group.name, chain).items()
    }
    delta_loss = {name: values[None] for name, values in record.delta_loss.items()}
    return score_tile(
        resident.model, group, [found], delta_loss, probe_ids, on_progress=on_sequences
    )


@execute.register
def _assembly(unit: AssemblyUnit, resident: Resident, on_progress: OnProgress) -> None:
    store, config = resident.of(unit)
    assemble_shard(unit, resident, store, config)


@execute.register
def _summary(unit: SummaryUnit, resident: Resident, on_progress: OnProgress) -> None:
    store, config = resident.of(unit)
    summarise(unit, store)
    if not config.run.keep_draws:
        for group in unit.groups:
            for chain in range(config.chain.num_chains):
                store.delete(draws.draws_name(group.name, chain))


@execute.register
def _cluster(unit: ClusterUnit, resident: Resident, on_progress: OnProgress) -> None:
    store, config = resident.of(unit)
    find_and_write_clusters(store, config.cluster, on_progress)


@execute.register
def _report(unit: ReportUnit, resident: Resident, on_progress: OnProgress) -> None:
    write_page(resident.root, resident.config, on_progress)
