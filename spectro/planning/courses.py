"""From a configuration to the work of every unit: what it settles, and what must be assumed.

The counts (`counts.py`) are exact for what the configuration settles. What only the pilot
can know is assumed: which components need chains, and how many steps lie between draws. With
`chain.target_reliability` the number of draws is an upper bound.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from spectro.config import PipelineConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import FULL, Component
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.planning.unit_counts import (
    ChainLengths,
    Courses,
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
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K, affordable_steps, num_pilot_draws
from spectro.sampling.pilot.tuning import (
    MIN_REFERENCE_STEPS,
    MIN_START_STEPS,
    NUM_REFERENCE_STEPS,
    REFERENCE_CHAINS,
)
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian

CoursesByGroup = Mapping[str, Sequence[Courses]]
"""Group → chain → component → course."""
UnitsByStage = dict[str, list[Work]]
TUNING_STEPS = 64
"""Gradients of a pilot that tunes a `mala` step, assumed: two to four halvings."""
REFERENCE_BURNIN = 40
"""Steps of a reference chain before those that count (sampling/pilot/tuning.py), assumed."""


def measurement_of(config: PipelineConfig, size: ModelSize) -> MeasurementSize:
    """What the counts depend on.

    Raises ValueError if the context is longer than the model allows, or a pattern selects
    nothing.
    """
    tokens = config.tokens
    size.require_context(tokens.context)
    num_subsets, per_shard = len(tokens.subsets), tokens.sequences_per_shard
    num_probe = tokens.num_probe_sequences * num_subsets
    components = [c for group in groups_of(config, size) for c in group.components]
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
        num_columns=sum(c != FULL for c in components),
        keep_halves=config.run.keep_halves,
        list_size=config.scoring.shortlist_size
        if config.scoring.uses_top_k(size.vocab_size)
        else 0,
    )


def assumed_courses(
    config: PipelineConfig, size: ModelSize, assumptions: Assumptions, num_shards: int = 1
) -> dict[str, list[Courses]]:
    """How draws will come about: the same in every chain of so many token shards."""
    num_chains = len(config.chain.of_shards(num_shards))
    between = config.chain.steps_between_draws or assumptions.steps_between_draws

    corrected = isinstance(config.sampler, Mala)
    num_evaluation = config.tokens.num_evaluation_sequences * len(config.tokens.subsets)
    reference = _reference_steps(config, num_evaluation)
    burnin = max(config.chain.num_burnin_steps, 2 * max(MIN_START_STEPS, between))

    def course(component: Component) -> ChainLengths:
        alone = _is_independent(config, component, assumptions)
        judged = not corrected and component == FULL
        return ChainLengths(
            independent=alone,
            num_draws=config.chain.num_draws,
            steps_between_draws=0 if alone else between,
            listed=config.scoring.uses_top_k(size.vocab_size)
            and component.group not in WITHOUT_TOP_K
            and not _matches(component, assumptions.exact_components),
            corrected=corrected and not alone,
            num_burnin_steps=burnin if corrected and not alone else None,
            num_pilot_steps=0 if alone else reference * judged + TUNING_STEPS * corrected,
        )

    return {
        group.name: [{c.name: course(c) for c in group.components}] * num_chains
        for group in groups_of(config, size)
    }


def count_part(
    config: PipelineConfig,
    m: MeasurementSize,
    courses: CoursesByGroup,
    num_batches: Callable[[int, bool], int],
    *,
    num_setups: int = 1,
    sisters: Sequence[CoursesByGroup] = (),
    is_sister: bool = False,
) -> UnitsByStage:
    """Work of every unit of one part of a run (the posterior's, or the control's), by stage.

    Args:
        config: of that part.
        m: `measurement_of` it.
        courses: how draws come about, in all chains of the measurement's token shards.
        num_batches: (sequences of a shard, with short lists) → batches of a tile.
        num_setups: workers that begin with this part.
        sisters: courses of the parts whose sums lie in this one's tiles.
        is_sister: whether this part's sums lie in the tiles of another.
    """
    groups = groups_of(config, m.size)
    num_components = sum(len(group.components) for group in groups)
    num_drawn = 0 if is_sister else num_pilot_draws(config.sampler, listed=m.list_size > 0)
    shard_sizes = () if is_sister else m.shard_sizes
    chains_of = [config.chain.of_shard(shard) for shard in range(len(m.shard_sizes))]
    companies = dict.fromkeys(
        company
        for shard in range(len(m.shard_sizes))
        for company in config.chain.batches(config.run.chains_per_unit, shard)
    )
    return {
        "pilot": [setup_work(m)] * num_setups
        + [headroom_work(m)] * min(num_setups, len(groups))
        + [pilot_work(m, g, num_drawn, courses[g.name][0]) for g in groups],
        "chains": [
            chain_work(m, g, [courses[g.name][chain] for chain in company])
            for g in groups
            for company in companies
        ],
        "tiles": [
            tile_work(
                m,
                g,
                num_seq,
                [courses[g.name][chain] for chain in chains_of[shard]],
                num_batches(num_seq, uses_lists(g, courses[g.name][0])),
                [[own[g.name][chain] for chain in chains_of[shard]] for own in sisters],
            )
            for shard, num_seq in enumerate(shard_sizes)
            for g in groups
        ],
        "assembly": [
            assembly_work(m, num_seq, num_components, 1 + len(sisters)) for num_seq in shard_sizes
        ],
    }


def with_shared(
    config: PipelineConfig, courses: Mapping[str, CoursesByGroup]
) -> dict[str, CoursesByGroup]:
    """Courses of every part of a run, those marked whose draws a part before has (sisters.py)."""
    found, before = dict(courses), [courses[""]]
    for part in config.sisters:
        found[part] = {
            group: [
                _marked(own, [other[group][chain] for other in before])
                for chain, own in enumerate(chains)
            ]
            for group, chains in courses[part].items()
        }
        before.append(courses[part])
    return found


def _marked(courses: Courses, before: Sequence[Courses]) -> Courses:
    """Of one chain."""
    return {
        name: replace(
            own, shared=own.independent and any(other[name].independent for other in before)
        )
        for name, own in courses.items()
    }


def count_run(
    config: PipelineConfig,
    m: Mapping[str, MeasurementSize],
    courses: Mapping[str, CoursesByGroup],
    num_batches: Callable[[int, bool], int],
    *,
    num_setups: int = 1,
) -> dict[str, UnitsByStage]:
    """Work of every unit of all parts of a run: part → stage → units.

    Args:
        config: of the run.
        m: `measurement_of` every part.
        courses: of every part.
        num_batches: as in `count_part`.
        num_setups: workers.
    """
    known, sisters = with_shared(config, courses), list(config.sisters)
    return {
        part: count_part(
            own,
            m[part],
            known[part],
            num_batches,
            num_setups=0 if part else num_setups,
            sisters=[] if part else [known[sister] for sister in sisters],
            is_sister=part in sisters,
        )
        for part, own in config.parts.items()
    }


def total(units: Sequence[Work]) -> Work:
    """Work of some units together."""
    return reduce(lambda a, b: a + b, units, Work())


def _reference_steps(config: PipelineConfig, num_evaluation: int) -> int:
    """Gradients of a pilot that takes E[ΔL] along reference chains; 0 where it may take too few."""
    most = affordable_steps(config.chain, num_evaluation)
    if most < len(REFERENCE_CHAINS) * MIN_REFERENCE_STEPS:
        return 0
    chains = len(REFERENCE_CHAINS) * (REFERENCE_BURNIN + NUM_REFERENCE_STEPS)
    return min(most, TUNING_STEPS + chains)


def _is_independent(config: PipelineConfig, component: Component, assumptions: Assumptions) -> bool:
    if isinstance(config.sampler, Gaussian):
        return True
    if not isinstance(config.sampler, Reweighted) or component == FULL:
        return False
    return not _matches(component, assumptions.chain_components)


def _matches(component: Component, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(component.name, pattern.lower()) for pattern in patterns)
