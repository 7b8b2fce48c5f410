"""Notes of a plan: what it assumes, what is not in its numbers, what a pilot warns of."""

from __future__ import annotations

import math

from spectro.config import PipelineConfig
from spectro.formats import run_dir
from spectro.formats.chain_names import pilot_name
from spectro.formats.chain_records import read_pilot
from spectro.formats.run_parts import CONTROL
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import FULL, FULL_GROUP
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.rates import Rates
from spectro.planning.unit_work import MeasurementSize, Work
from spectro.sampling.config import TokenDraws
from spectro.sampling.pilot.damage import DAMAGED, damage
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.storage.store import Store
from spectro.susceptibility.warnings import damage_sentence

LEFT_OUT = (
    "not in it: reading and tokenising the sources, the page, workers' start, units done twice"
)
MOST_OWN_DRAWS = 0.1
"""Work of chains over that of tiles, above which a plan says that token shards are too small for
separate draws."""


def damage_notes(store: Store, config: PipelineConfig, size: ModelSize) -> list[str]:
    """What the pilots of a run that has begun say of posteriors that destroy the model."""
    found, gamma = [], config.sampler.gamma
    if not store.exists(run_dir.NAME):
        return []
    for group in groups_of(config, size):
        if store.exists(pilot_name(group.name)):
            for name, moments in read_pilot(store, group.name).items():
                at_prior = config.sampler.nbeta == 0
                mean = moments.prior_delta_loss if at_prior else moments.delta_loss
                share = damage(mean, moments.headroom)
                if share >= DAMAGED:
                    needed = None if math.isnan(moments.gamma_needed) else moments.gamma_needed
                    found.append(f"pilot: {damage_sentence(name, share, needed, gamma)}")
    return found


def plan_notes(
    config: PipelineConfig,
    m: MeasurementSize,
    rates: Rates,
    assumed: Assumptions,
    peak_bytes: int,
    least_step_bytes: int,
    chains_over_tiles: float,
) -> tuple[str, ...]:
    """What a plan of a whole run assumes and leaves out.

    Args:
        config, m: the run.
        rates: of the device.
        assumed: until the pilot.
        peak_bytes: most device memory of any stage.
        least_step_bytes: of a step with the smallest micro-batches, where that memory is not there.
        chains_over_tiles: work of the posterior's chains over that of its tiles.
    """
    notes = [f"rates: {rates.provenance}"]
    stepped = _stepped(config, m.size, assumed)
    if isinstance(config.sampler, Reweighted):
        notes.append(f"assumed until the pilot: chains are needed for {stepped}, for nothing else")
        if config.sisters:
            notes.append(_shared_draws_note(config, stepped))
    if config.chain.steps_between_draws is None and not isinstance(config.sampler, Gaussian):
        notes.append(f"assumed: {assumed.steps_between_draws} steps between draws of a chain")
    if config.scoring.uses_top_k(m.size.vocab_size):
        names = ", ".join([*WITHOUT_TOP_K, *assumed.exact_components])
        notes.append(
            f"assumed until the pilot: losses by a softmax over the top "
            f"{config.scoring.shortlist_size} tokens, but for {names}"
        )
    if config.chain.target_reliability is not None:
        notes.append("chain.target_reliability ends draws early: these are upper bounds")
    memory = rates.memory_bytes or rates.host_memory_bytes
    if memory is not None and least_step_bytes > memory:
        notes.append(
            f"a step of {min(config.run.chains_per_unit, config.chain.num_chains)} chains needs "
            f"{least_step_bytes / 1e9:.0f} GB however small its micro-batches, and there are "
            f"{memory / 1e9:.0f} GB: lower run.chains_per_unit, or take larger cards"
        )
    elif memory is not None and peak_bytes > memory:
        notes.append(
            f"the peak, {peak_bytes / 1e9:.0f} GB, is above the {memory / 1e9:.0f} GB there are: "
            "batches will be halved"
        )
    own_draws = _own_draws_notes(config, stepped, len(m.shard_sizes), chains_over_tiles)
    return (*notes, LEFT_OUT, *own_draws)


def stored_draws_notes(
    config: PipelineConfig, m: MeasurementSize, device: Device, chains: Work, tiles: Work
) -> list[str]:
    """What it costs to store the draws that step, beside stepping again wherever they are wanted.

    Args:
        config, m, device: the run, and what it is done on.
        chains, tiles: work of the posterior's units.
    """
    if not chains.written_bytes:
        return []
    own = config.chain.draws is TokenDraws.PER_SHARD
    times = 1 if own else len(m.shard_sizes)  # each token shard wants all draws, or has its own
    stored = device.unit_seconds(
        m.size, Work(read_bytes=tiles.read_bytes, written_bytes=chains.written_bytes)
    )
    again = device.unit_seconds(m.size, Work(stepping_flops=times * chains.stepping_flops))
    return [
        f"draws that step: {_amount(chains.written_bytes)} written and "
        f"{_amount(tiles.read_bytes)} read back take {stored / 3600:,.1f} device-hours; to "
        f"regenerate them by their keys for {times} token shards would take {again / 3600:,.1f}"
    ]


def _amount(num_bytes: int) -> str:
    return f"{num_bytes / 1e12:.2g} TB" if num_bytes >= 1e11 else f"{num_bytes / 1e9:.2g} GB"


def _stepped(config: PipelineConfig, size: ModelSize, assumed: Assumptions) -> str:
    """Names of what `reweighted` is assumed to need chains for."""
    full = [FULL.name] if FULL_GROUP in groups_of(config, size) else []
    return ", ".join([*full, *assumed.chain_components]) or "nothing"


def _own_draws_notes(
    config: PipelineConfig, stepped: str, num_shards: int, chains_over_tiles: float
) -> list[str]:
    """What separate draws of each token shard cost beside shared ones."""
    if config.chain.draws is TokenDraws.SHARED:
        return []
    notes = []
    if chains_over_tiles > MOST_OWN_DRAWS:
        notes.append(
            f"chain.draws per_shard: chains of {num_shards} token shards are "
            f"{chains_over_tiles:.0%} of the tiles' work; a larger tokens.sequences_per_shard "
            "makes it less"
        )
    if not isinstance(config.sampler, Gaussian):
        names = stepped if isinstance(config.sampler, Reweighted) else "all"
        notes.append(
            f"chain.draws per_shard: components that step ({names}) do so for each of "
            f"{num_shards} token shards"
        )
    return notes


def _shared_draws_note(config: PipelineConfig, names: str) -> str:
    """Which parts cost nothing, and what they must draw themselves."""
    own = []
    if CONTROL in config.sisters:
        own.append(f"independent draws of {names} at nbeta 0")
    if len(config.sisters) > len(own):
        own.append(f"chains of {names}")
    return (
        f"{', '.join(config.sisters)}: the run's own draws by other weights, without a pass; "
        f"assumed to be made anew: {' and '.join(own)}"
    )
