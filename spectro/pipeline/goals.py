"""The units of a run for a goal, and what is there of it already."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from spectro.config import PipelineConfig, to_dict
from spectro.formats import run_dir, tokens
from spectro.formats.more_tokens import tidy
from spectro.formats.product import part_name
from spectro.formats.tokens import MARKER, TokensInfo
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.storage.store import Store
from spectro.work.model_info import ModelInfo, model_of
from spectro.work.registry import StageRegistry
from spectro.work.stage import Goal, RunPlan
from spectro.work.units import Unit, walk

logger = logging.getLogger(__name__)


def open_run(store: Store, config: PipelineConfig, model: ModelInfo) -> None:
    """Write `run.yaml` of the run and of its other parts, or check those that are there.

    What the model cannot do was refused before (preflight.py). Raises OtherRunError.
    """
    if not store.is_local and not store.exists(run_dir.NAME):
        store.check_fence()
    run = dataclasses.replace(config.run, webhook=None)  # its path is some services' secret
    own = dataclasses.replace(config, run=run, more=None)  # an addition has its own marker
    for part, each in own.parts.items():
        run_dir.start(store.child(part), to_dict(each), each.inputs(), model.facts)


def bind_run(store: Store, config: PipelineConfig, model: ModelInfo) -> None:
    """Record, or check, which weights a run measures and on what; raises OtherRunError."""
    for part in config.parts:
        run_dir.bind(store.child(part), model.weights_sha256, model.device)


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """What a run knows of its model before any worker has started."""

    shape: ModelInfo | None
    """Its shape, where no input is left to be checked; None: a worker reads its config."""
    is_needed: bool
    """Whether a unit is left that needs the weights. Tokens need the tokenizer alone, clusters and
    the page nothing: they can be made where no GPU is, of a model that is not there any more."""


def known_model(
    store: Store, config: PipelineConfig, goal: Goal, stages: StageRegistry = STAGES
) -> KnownModel:
    """What is known from `run.yaml` and the tokens."""
    file = run_dir.read(store)
    present = set() if file is None else set(store.list())
    if file is None or config.more is not None or MARKER not in present:
        return KnownModel(shape=None, is_needed=goal is not Goal.TOKENS)
    model = model_of(file, store.uri)
    units = goal_units(config, model, tokens.read_info(store), goal, stages)
    to_do = stages.required([*units, *lost_units(units, present)], present)
    return KnownModel(shape=model, is_needed=any(unit.needs_model for unit in to_do))


def present_objects(
    store: Store, config: PipelineConfig, goal: Goal, stages: StageRegistry = STAGES
) -> set[str]:
    """Objects that are there, without those that count as absent, such as markers of lost draws.

    What is not of the tokens that the run has now is removed; clusters only where they are asked
    for: until then the tokens that were added can be assigned to them.
    """
    keep = Goal.SAMPLE.includes(goal)
    present, info = set(store.list()), tokens.read_info(store)
    for part in config.parts:
        prefix, here = f"{part}/" if part else "", store.child(part)
        own = {name.removeprefix(prefix) for name in present if name.startswith(prefix)}
        stale = stages.remove_stale(here, own, info.probe_sha256, keep_clusters=keep)
        absent = stale | stages.incomplete(here, own - stale)
        present -= {f"{prefix}{name}" for name in absent}
    tidy(store, present)
    _log_dropped_chains(present, info.splits["probe"].num_shards, config.chain)
    return present


def _log_dropped_chains(present: Collection[str], num_shards: int, chain: ChainConfig) -> None:
    """Log that chains whose draws were removed are run again, if rows are missing."""
    lacking = [shard for shard in range(num_shards) if part_name(shard) not in present]
    needed = {f"{c}.dropped.json" for shard in lacking for c in chain.of_shard(shard)}
    dropped = sum(name.rpartition("/")[2] in needed for name in present)
    if dropped:
        logger.info(
            "the draws of %d chains were removed (run.keep_draws=false): these chains are run "
            "again, since tokens are to be measured along them",
            dropped,
        )


def lost_units(goals: Iterable[Unit], present: Collection[str]) -> list[Unit]:
    """Units whose result is kept for later and is lost, such as chains of finished shards.

    Nobody needs them now, but the next addition of tokens does, and a run is not whole without.
    """
    return [unit for unit in walk(goals) if unit.is_kept and not unit.is_done(present)]


def goal_units(
    config: PipelineConfig,
    model: ModelInfo,
    info: TokensInfo,
    goal: Goal,
    stages: StageRegistry = STAGES,
) -> list[Unit]:
    """The units that were asked for; what they need comes with them."""
    return stages.goals(RunPlan(config=config, model=model, tokens=info), goal)
