"""Work of each unit of a run: flops, and bytes read and written.

One function per kind of unit (`units.py`), each written against what `execute.py` does for it.
Flops are those of the real calls (call_flops.py); batch sizes do not change them. Bytes are
payload: draws, token ids, tiles, rows of the product and half estimates at their uncompressed size,
without headers, markers and JSON. A unit that is repeated (a lost worker, memory that ran out) is
not in the count.

Shapes: n sequences of a shard, T positions, C chains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from spectro.models.components import Group
from spectro.models.size import ModelSize
from spectro.models.variant_losses import COVARIANCE_POSITIONS
from spectro.planning.call_flops import (
    call_flops,
    component_flops,
    has_prefix,
    list_setup_flops,
    model_flops,
    sampling_costs,
    sampling_saves,
    sums_flops,
)
from spectro.planning.schedules import DrawSchedule, Schedules
from spectro.sampling.config import ChainConfig, DrawDtype
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K
from spectro.sampling.recorder import BLOCK_BYTES
from spectro.susceptibility.estimator import Baseline, EstimatorConfig

FLOAT_BYTES = 4
ID_BYTES = 4
ROW_BYTES = 8 + 4 + 2 + 4 + 4 + 4 + 4
"""A row of the product but for χ (formats/product.py)."""
HALVES_ROW_BYTES = 8
"""A row of the half estimates but for χ and B (formats/halves.py)."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What some units do; adds up."""

    scoring_flops: int = 0
    """Forward passes without gradient."""
    stepping_flops: int = 0
    """Steps: clean pass, forward pass with gradient, backward pass."""
    read_bytes: int = 0
    """Read from the run's storage."""
    written_bytes: int = 0
    """Written to it."""
    num_units: int = 0
    """Units of work."""

    @property
    def flops(self) -> int:
        """All flops."""
        return self.scoring_flops + self.stepping_flops

    def __add__(self, other: Work) -> Work:
        return Work(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)}
        )


def total(units: Iterable[Work]) -> Work:
    """Work of some units together."""
    return sum(units, Work())


@dataclass(frozen=True, kw_only=True)
class MeasurementSize:
    """What the counts of one measurement (the posterior's, or the control's) depend on."""

    size: ModelSize
    """The model."""
    chain: ChainConfig
    """Minibatches, blocks, burn-in."""
    estimator: EstimatorConfig
    """What assembly does beside."""
    context: int
    """T."""
    num_sampling: int
    """Sequences of the minibatches."""
    num_evaluation: int
    """Sequences on which ΔL is taken."""
    shard_sizes: tuple[int, ...]
    """n of every token shard."""
    num_columns: int
    """H, components that are columns of χ."""
    keep_halves: bool = True
    """Whether half estimates are stored beside the rows, where there are two chains."""
    list_size: int = 0
    """K of top-K lists; 0 where the vocabulary is too small for them to pay."""
    vocabulary_sample: int = 0
    """S of the sampled softmax of gradients; 0: they take the whole vocabulary."""


def tokens_work(m: MeasurementSize) -> Work:
    """Token ids of all splits; reading and tokenising the sources is not counted."""
    num_seq = sum(m.shard_sizes) + m.num_sampling + m.num_evaluation
    return Work(written_bytes=_id_bytes(m, num_seq), num_units=1)


def setup_work(m: MeasurementSize) -> Work:
    """What a worker makes of top-K lists before its first unit."""
    if not m.list_size:
        return Work()
    num_seq = min(m.num_evaluation, math.ceil(COVARIANCE_POSITIONS / m.context))
    return Work(scoring_flops=list_setup_flops(m.size, num_seq, m.context, m.list_size))


def headroom_work(m: MeasurementSize) -> Work:
    """L(w*) on the evaluation set, which a worker takes before its first pilot."""
    return Work(scoring_flops=model_flops(m.size, m.num_evaluation, m.context))


def pilot_work(
    m: MeasurementSize, group: Group, num_pilot_draws: int, schedules: Schedules
) -> Work:
    """`run_pilot`: all components' draws in one evaluation, and once more from top-K lists; then
    the gradients of those that step. Draws at other γ, of a damaged model, are not counted. No
    draws (`num_pilot_draws` 0): those of another nβ's pilot serve."""
    ways = [False] if group.name in WITHOUT_TOP_K or not m.list_size else [False, True]
    flops = 0
    for listed in ways if num_pilot_draws else []:
        schedule = DrawSchedule(independent=True, num_draws=num_pilot_draws, listed=listed)
        drawn = {c.name: schedule for c in group.components}
        flops += _clean_pass(m, group, m.num_evaluation, drawn)
        flops += _draws(m, group, [drawn], m.num_evaluation)
    steps = {c: schedules[c.name].num_pilot_steps for c in group.components}
    shape = (m.num_evaluation, m.context)
    stepping = max(steps.values()) * call_flops(m.size, group, *shape).prepare
    stepping += sum(n * component_flops(m.size, c, *shape).gradient for c, n in steps.items())
    return Work(scoring_flops=flops, stepping_flops=stepping, num_units=1)


def chain_work(m: MeasurementSize, group: Group, chains: Sequence[Schedules]) -> Work:
    """`run_group_chains`: steps of the stepped components, ΔL of everyone's draws."""
    scoring = 0
    for schedules in chains:
        evaluations = _evaluations_alone(m, schedules) + _evaluations_stepped(m, group, schedules)
        scoring += evaluations * _clean_pass(m, group, m.num_evaluation, schedules)
    return Work(
        scoring_flops=scoring + _draws(m, group, chains, m.num_evaluation),
        stepping_flops=_stepping_flops(m, group, chains),
        written_bytes=sum(stored_bytes(m, group, schedules) for schedules in chains),
        num_units=1,
    )


def tile_work(
    m: MeasurementSize,
    group: Group,
    num_seq: int,
    chains: Sequence[Schedules],
    num_batches: int,
    sharing: Sequence[Sequence[Schedules]] = (),
) -> Work:
    """`score_tile`: all draws of all chains on one shard.

    Args:
        m, group: what is measured, of whom.
        num_seq: n.
        chains: schedules by chain.
        num_batches: batches that the shard is computed in; stored draws are read for each anew,
            but for the groups that are scored in rounds (susceptibility/score.py).
        sharing: schedules by chain of every part whose sums lie in the same tile.
    """
    num_tokens = num_seq * m.context
    every = [schedules for own in (chains, *sharing) for schedules in own]
    num_draws = sum(schedules[c.name].num_draws for schedules in every for c in group.components)
    flops = _clean_pass(m, group, num_seq, chains[0])
    flops += sum(_draws(m, group, own, num_seq) for own in (chains, *sharing))
    flops += num_draws * sums_flops(num_tokens)
    read = _id_bytes(m, num_seq)
    in_rounds = not (has_prefix(m.size, group) or uses_lists(group, chains[0]))
    times = 1 if in_rounds else num_batches
    read += sum(_reread_bytes(m, group, schedules, times) for schedules in every)
    return Work(
        scoring_flops=flops,
        read_bytes=read,
        written_bytes=_tile_bytes(len(group.components), len(every), num_tokens),
        num_units=1,
    )


def assembly_work(
    m: MeasurementSize, num_seq: int, num_components: int, num_parts: int = 1
) -> Work:
    """`assemble_shard`: ℓ(w*) of the shard, its tiles into rows and half estimates of all parts.

    `num_components` counts `full`, whose tile is read and is no column.
    """
    num_tokens, num_chains = num_seq * m.context, m.chain.num_chains
    row_bytes = num_tokens * (ROW_BYTES + FLOAT_BYTES * m.num_columns)
    flops = model_flops(m.size, num_seq, m.context)
    if m.estimator.baseline is Baseline.UNPAIRED:
        batches = num_chains * m.estimator.num_baseline_batches
        sequences = batches * m.chain.batch_size + m.num_evaluation
        flops += model_flops(m.size, sequences, m.context)
    return Work(
        scoring_flops=flops,
        read_bytes=_id_bytes(m, num_seq)
        + num_parts * _tile_bytes(num_components, num_chains, num_tokens),
        written_bytes=num_parts * (row_bytes + halves_bytes(m, num_tokens)),
        num_units=1,
    )


def halves_bytes(m: MeasurementSize, num_tokens: int) -> int:
    """Half estimates of some tokens."""
    if not m.keep_halves or m.chain.num_chains < 2:
        return 0
    num_floats = m.num_columns + m.estimator.kind.needs_full  # B beside the columns
    return num_tokens * (HALVES_ROW_BYTES + 2 * FLOAT_BYTES * num_floats)


def stored_bytes(m: MeasurementSize, group: Group, schedules: Schedules) -> int:
    """Draws that a chain leaves in storage."""
    return sum(_draw_bytes(m, schedules[c.name], m.size.weights_of(c)) for c in group.components)


def kept_bytes(m: MeasurementSize) -> int:
    """Bytes of a number of a stepped draw, as it is stored."""
    return 2 if m.chain.draw_dtype is DrawDtype.BFLOAT16 else FLOAT_BYTES


def block_size(m: MeasurementSize, num_weights: int) -> int:
    """Draws that are evaluated and stored together (`Recorder`)."""
    most, draw_bytes = m.chain.draws_per_block, FLOAT_BYTES * num_weights
    fitting = [n for n in range(2, most + 1) if most % n == 0 and n * draw_bytes <= BLOCK_BYTES]
    return max(fitting, default=1)


def uses_lists(group: Group, schedules: Schedules) -> bool:
    """Whether batches of a group get top-K lists."""
    return any(schedules[c.name].listed for c in group.components)


def _clean_pass(m: MeasurementSize, group: Group, num_seq: int, schedules: Schedules) -> int:
    """Flops of a batch before any draw."""
    list_size = m.list_size if uses_lists(group, schedules) else 0
    found = call_flops(m.size, group, num_seq, m.context, list_size)
    return found.prepare + found.clean_losses


def _stepping_flops(m: MeasurementSize, group: Group, chains: Sequence[Schedules]) -> int:
    """All steps of some chains together.

    A chain steps until its last component is done, a component until it is done in the last
    chain; each component of each chain as long as both.
    """
    corrected = any(schedule.corrected for schedule in chains[0].values())
    shape = (m.num_evaluation if corrected else m.chain.batch_size, m.context)
    steps = [{c: own[c.name].num_steps(m.chain) for c in group.components} for own in chains]
    prepare = call_flops(m.size, group, *shape).prepare
    flops = sum(max(own.values()) for own in steps) * prepare
    for component in group.components:
        most = max(own[component] for own in steps)
        times = sum(min(most, max(own.values())) for own in steps)
        flops += times * component_flops(m.size, component, *shape).gradient
        if m.vocabulary_sample and group.name not in WITHOUT_TOP_K:
            flops -= times * sampling_saves(m.size, *shape, m.vocabulary_sample)
    if m.vocabulary_sample and group.name not in WITHOUT_TOP_K:
        num_seq = m.chain.batch_size * sum(max(own.values()) for own in steps)
        flops += sampling_costs(
            m.size, num_seq, min(num_seq, m.num_sampling), m.context, m.vocabulary_sample
        )
    return flops


def _draws(m: MeasurementSize, group: Group, chains: Sequence[Schedules], num_seq: int) -> int:
    """Losses of all draws of some chains, but for those that another part scores."""
    flops, shape = 0, (num_seq, m.context)
    for component in group.components:
        own = (schedules[component.name] for schedules in chains)
        num_draws = sum(c.num_draws for c in own if not c.shared)
        list_size = m.list_size if chains[0][component.name].listed else 0
        flops += num_draws * component_flops(m.size, component, *shape, list_size).losses
    return flops


def _evaluations_alone(m: MeasurementSize, schedules: Schedules) -> int:
    """Independent draws are evaluated block by block, all components together."""
    draws = [c.num_draws for c in schedules.values() if c.independent and not c.shared]
    return math.ceil(max(draws, default=0) / m.chain.draws_per_block)


def _evaluations_stepped(m: MeasurementSize, group: Group, schedules: Schedules) -> int:
    """Stepped draws are evaluated after the steps with which a component's block is complete."""
    steps: set[int] = set()
    for component in group.components:
        schedule = schedules[component.name]
        if not schedule.independent:
            block = block_size(m, m.size.weights_of(component))
            ends = {
                min(d, schedule.num_draws) for d in range(block, schedule.num_draws + block, block)
            }
            steps |= {schedule.draw_step(m.chain, end - 1) for end in ends}
    return len(steps)


def _reread_bytes(m: MeasurementSize, group: Group, schedules: Schedules, num_batches: int) -> int:
    """Stored draws that a tile reads of one chain (`StoredDraws`).

    Of a component's blocks the last is held until its first is wanted again: one block is read
    once, of two the second is, and more are read for each batch anew.
    """
    read = 0
    for component in group.components:
        schedule, num_weights = schedules[component.name], m.size.weights_of(component)
        block = min(block_size(m, num_weights), schedule.num_draws)
        stored, first = _draw_bytes(m, schedule, num_weights), kept_bytes(m) * block * num_weights
        if schedule.independent or schedule.num_draws <= block:
            read += stored
        elif schedule.num_draws <= 2 * block:
            read += stored + (num_batches - 1) * first
        else:
            read += num_batches * stored
    return read


def _draw_bytes(m: MeasurementSize, schedule: DrawSchedule, num_weights: int) -> int:
    return 0 if schedule.independent else kept_bytes(m) * schedule.num_draws * num_weights


def _id_bytes(m: MeasurementSize, num_seq: int) -> int:
    return ID_BYTES * num_seq * (m.context + 1)


def _tile_bytes(num_components: int, num_chains: int, num_tokens: int) -> int:
    return 2 * FLOAT_BYTES * num_components * num_chains * num_tokens
