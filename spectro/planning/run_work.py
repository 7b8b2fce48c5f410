"""Work of every unit of a run, by part and stage, from the sampling schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spectro.config import PipelineConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.size import ModelSize
from spectro.planning.schedules import SchedulesByGroup, with_shared
from spectro.planning.unit_work import (
    MeasurementSize,
    Work,
    assembly_work,
    chain_work,
    headroom_work,
    pilot_work,
    setup_work,
    tile_work,
    uses_lists,
)
from spectro.sampling.pilot.pilot_sizes import num_pilot_draws

UnitsByStage = dict[str, list[Work]]


def measurement_of(config: PipelineConfig, size: ModelSize) -> MeasurementSize:
    """What the counts of a configuration depend on.

    Raises ValueError if the context is longer than the model allows, or a pattern selects
    nothing.
    """
    tokens = config.tokens
    size.require_context(tokens.context)
    num_subsets, per_shard = len(tokens.subsets), tokens.sequences_per_shard
    num_probe = tokens.num_probe_sequences * num_subsets
    return MeasurementSize(
        size=size,
        chain=config.chain,
        estimator=config.estimator,
        context=tokens.context,
        num_sampling=tokens.num_sampling_sequences * num_subsets,
        num_evaluation=tokens.num_evaluation_sequences * num_subsets,
        shard_sizes=tuple(
            min(per_shard, num_probe - start) for start in range(0, num_probe, per_shard)
        ),
        num_columns=len(size.select(config.components)),
        keep_halves=config.run.keep_halves,
        list_size=config.scoring.shortlist_size
        if config.scoring.uses_top_k(size.vocab_size) and not size.is_universal
        else 0,
        vocabulary_sample=_vocabulary_sample(config, size),
    )


def _vocabulary_sample(config: PipelineConfig, size: ModelSize) -> int:
    sample = getattr(config.sampler, "vocabulary_sample", None) or 0
    return sample if sample < size.vocab_size and not size.is_universal else 0


def count_part(
    config: PipelineConfig,
    m: MeasurementSize,
    schedules: SchedulesByGroup,
    num_batches: Callable[[int, bool], int],
    *,
    num_setups: int = 1,
    sharing: Sequence[SchedulesByGroup] = (),
    shares_draws: bool = False,
) -> UnitsByStage:
    """Work of every unit of one part of a run (the posterior's, or the control's), by stage.

    Args:
        config: of that part.
        m: `measurement_of` it.
        schedules: of all chains of the measurement's token shards.
        num_batches: (sequences of a shard, with top-K lists) → batches of a tile.
        num_setups: workers that begin with this part.
        sharing: schedules of the parts whose sums are stored in this one's tiles.
        shares_draws: whether this part's sums are stored in the tiles of another.
    """
    groups = groups_of(config, m.size)
    num_components = sum(len(group.components) for group in groups)
    num_drawn = 0 if shares_draws else num_pilot_draws(config.sampler, listed=m.list_size > 0)
    shard_sizes = () if shares_draws else m.shard_sizes
    chains_of = [config.chain.of_shard(shard) for shard in range(len(m.shard_sizes))]
    chain_batches = dict.fromkeys(
        chains
        for shard in range(len(m.shard_sizes))
        for chains in config.chain.batches(config.run.chains_per_unit, shard)
    )
    return {
        "pilot": [setup_work(m)] * num_setups
        + [headroom_work(m)] * min(num_setups, len(groups))
        + [pilot_work(m, g, num_drawn, schedules[g.name][0]) for g in groups],
        "chains": [
            chain_work(m, g, [schedules[g.name][chain] for chain in chains])
            for g in groups
            for chains in chain_batches
        ],
        "tiles": [
            tile_work(
                m,
                g,
                num_seq,
                [schedules[g.name][chain] for chain in chains_of[shard]],
                num_batches(num_seq, uses_lists(g, schedules[g.name][0])),
                [[own[g.name][chain] for chain in chains_of[shard]] for own in sharing],
            )
            for shard, num_seq in enumerate(shard_sizes)
            for g in groups
        ],
        "assembly": [
            assembly_work(m, num_seq, num_components, 1 + len(sharing)) for num_seq in shard_sizes
        ],
    }


def count_run(
    config: PipelineConfig,
    m: Mapping[str, MeasurementSize],
    schedules: Mapping[str, SchedulesByGroup],
    num_batches: Callable[[int, bool], int],
    *,
    num_setups: int = 1,
) -> dict[str, UnitsByStage]:
    """Work of every unit of all parts of a run: part → stage → units.

    `m` and `schedules` are of every part; `num_setups` counts workers; see `count_part`.
    """
    known, sharing = with_shared(config, schedules), list(config.sisters)
    return {
        part: count_part(
            own,
            m[part],
            known[part],
            num_batches,
            num_setups=0 if part else num_setups,
            sharing=[] if part else [known[other] for other in sharing],
            shares_draws=part in sharing,
        )
        for part, own in config.parts.items()
    }
