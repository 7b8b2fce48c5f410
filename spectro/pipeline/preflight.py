"""What is wrong with a run and can be known before it begins: nothing has been written by then.

A worker calls `check_inputs` before it loads the model, since only a worker's machine is sure to
see the checkpoint and the text; the driver calls the other two. Configuration, config.json, the
headers of weights, the tokenizer, the index or the first documents of every source: a second or
two, and no weights.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch

from spectro.clustering.knn.search import require_enough
from spectro.clustering.vectors.preprocess import needs_halves, removes_uniform_mode
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.measure.resident_model import ResidentModel
from spectro.measure.tokenise import (
    added_parts,
    added_sources,
    known_tokens,
    model_size,
    sources_at,
    tokenizer_of,
)
from spectro.models.cost.memory import require_fits
from spectro.models.load import resolve_device
from spectro.planning.config import PRODUCT_BYTES
from spectro.planning.rates import product_type
from spectro.sampling.config import QuerySplit, TokenDraws
from spectro.sampling.observables import SplitSequences, require_observables
from spectro.storage.store import Store
from spectro.susceptibility.estimator import EstimatorKind
from spectro.tokens.build import check_source
from spectro.tokens.config import Source
from spectro.tokens.overlap import require_distinct
from spectro.upsampling.checks import check_same_text
from spectro.work.model_info import ModelInfo
from spectro.work.stage import Goal


def describe_model(resident: ResidentModel) -> ModelInfo:
    """Check a run's inputs and describe its model by its config; errors as `check_inputs`."""
    check_inputs(resident.config, resident.root)
    return ModelInfo(**dataclasses.asdict(model_size(resident.config)))


def load_described(resident: ResidentModel) -> ModelInfo:
    """Load a run's model onto its device and describe it.

    Raises ValueError, in one line, also for a model that one GPU does not hold, before its weights
    are read, and for a user's component that selects no parameter.
    """
    config = resident.config
    device = resolve_device(config.model.device)
    if device.type == "cuda":
        card_bytes = torch.cuda.mem_get_info(device)[1]
        product_bytes = PRODUCT_BYTES[product_type(config.model)]
        require_fits(
            model_size(config), product_bytes, config.tokens.context, card_bytes, str(device)
        )
    for component in model_size(config).select(config.components):
        if component.definition:  # refused where it selects nothing
            resident.model.blocks(component)
    return ModelInfo.of(resident.hf_model)


def check_inputs(config: PipelineConfig, root: Store) -> None:
    """Refuse a model, tokenizer or source that the run cannot use.

    Raises ValueError or FileNotFoundError, in one line.
    """
    size = model_size(config)
    size.select(config.components)
    size.require_context(config.tokens.context)
    config.scoring.require_top_k(size.vocab_size)
    _require_observables(config, root)
    wanted = _wanted(config, root)
    if wanted:
        encode, eot_id = tokenizer_of(config.model, size.vocab_size)
        own = config.tokens.subsets
        open_url = sources_at(config)
        require_distinct({**own, **{n: source for n, (source, _) in wanted.items()}}, open_url)
        for name, (source, part) in wanted.items():
            check_source(
                config.tokens, name, source, part, encode, eot_id, size.vocab_size, open_url
            )
        if config.upsample is not None:
            check_same_text(config, Store(config.upsample.source), list(wanted), size.vocab_size)


def _require_observables(config: PipelineConfig, root: Store) -> None:
    """Refuse observables of tokens that there will not be, and functions that are not there."""
    own, info = config.tokens, known_tokens(root, config) if config.observables else None

    def split(wanted: QuerySplit) -> SplitSequences:
        is_probe = wanted is QuerySplit.PROBE
        per_subset = own.num_probe_sequences if is_probe else own.num_evaluation_sequences
        subsets = [name for name in own.subsets for _ in range(per_subset)]
        count = len(subsets)
        if is_probe and info is not None:  # with additions
            count = info.splits["probe"].num_sequences
        ids_ST1 = torch.empty((count, own.context + 1), device="meta")
        return SplitSequences(ids_ST1=ids_ST1, subsets=subsets)

    require_observables(config.observables, split)


def _wanted(config: PipelineConfig, root: Store) -> dict[str, tuple[Source, range]]:
    """Subset → source and part of its order that are still to be read."""
    info = known_tokens(root, config)
    if info is None:
        part = range(config.tokens.num_sequences)
        return {name: (source, part) for name, source in config.tokens.subsets.items()}
    if config.more is None:
        return {}
    sources = added_sources(config, info)
    return {n: (sources[n], part) for n, part in added_parts(config, info).items()}


def check_place(store: Store) -> None:
    """Refuse a local folder that cannot be made or written to. Raises ValueError, in one line."""
    if not store.is_local:
        return  # `Store.check_fence` writes there before the run does
    folder = Path(store.root)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"run.uri is {store.uri}, but {there} is a file: expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"run.uri is {store.uri}, but {there} cannot be written to by this user")


def check_goal(config: PipelineConfig, store: Store, goal: Goal, model: ModelInfo) -> None:
    """Refuse clusters that a run's draws, or a new run's tokens, columns or chains, cannot give.

    Raises ValueError, in one line.
    """
    if Goal.SAMPLE.includes(goal):
        return
    _require_one_mean_phi(config)
    if store.exists(tokens.MARKER):
        return
    own, cluster = config.tokens, config.cluster
    num_tokens = len(own.subsets) * own.num_probe_sequences * own.context
    require_enough(num_tokens, cluster.num_neighbours)
    chosen = model.select(config.components)
    if len(chosen) < 2:
        raise ValueError(
            f"clustering needs at least 2 columns, found {chosen[0].name} alone: give more "
            "components, or only measure (spectro sample)"
        )
    by_columns = cluster.min_reliability is not None or cluster.weigh_by_reliability
    if config.chain.num_chains < 2 and (by_columns or needs_halves(cluster)):
        raise ValueError(
            "cluster settings of reliability (min_reliability, whiten_reliability, "
            f"weigh_by_reliability) need two chains, found chain.num_chains "
            f"{config.chain.num_chains}: one chain has no halves to compare"
        )
    if needs_halves(cluster) and not config.run.keep_halves:
        raise ValueError(
            "cluster settings of the reliability of directions need χ of the halves of the "
            "chains: give run.keep_halves=true"
        )


def _require_one_mean_phi(config: PipelineConfig) -> None:
    """`restricted` takes E[φ]·B out of `two_chain` columns; shards with own draws have own E[φ]."""
    own_draws = config.chain.draws is TokenDraws.PER_SHARD
    if (
        own_draws
        and config.estimator.kind is EstimatorKind.TWO_CHAIN
        and removes_uniform_mode(config.cluster)
    ):
        raise ValueError(
            "cluster.preprocess restricted takes the shared response out of two_chain columns, and "
            "with chain.draws per_shard every token shard has another amount of it: take "
            "estimator.kind=restricted, or cluster.preprocess=standardise"
        )
