"""Sampling schedules: burn-in, thinning and number of draws, assumed or recorded.

A plan assumes what only the pilot can know: which components need chains, and how many steps lie
between draws. With `chain.target_reliability` its number of draws is an upper bound. A bill reads
the schedules of the run's chain records.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spectro.config import PipelineConfig
from spectro.formats.chain_records import ChainRecord, read_pilot, read_record
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import FULL, Component
from spectro.models.size import ModelSize
from spectro.planning.config import Assumptions
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot import WITHOUT_TOP_K, affordable_steps, top_k_components
from spectro.sampling.pilot.pilot_sizes import MIN_START_STEPS
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.tuning import MIN_REFERENCE_STEPS, NUM_REFERENCE_STEPS, REFERENCE_CHAINS
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.storage.store import Store

TUNING_STEPS = 64
"""Gradients of a pilot that tunes a `mala` step, assumed: two to four halvings."""
REFERENCE_BURNIN = 40
"""Steps of a reference chain before those that count (sampling/pilot/tuning.py), assumed."""


@dataclass(frozen=True, kw_only=True)
class DrawSchedule:
    """How one component's draws come about in one chain."""

    independent: bool
    """Whether they are independent draws: no step, nothing stored."""
    num_draws: int
    """Draws."""
    steps_between_draws: int = 0
    """Thinning interval: steps from draw to draw, ≥ 1 unless independent."""
    listed: bool = False
    """Whether its losses are taken by a top-K softmax."""
    corrected: bool = False
    """Whether its steps are Metropolis steps, which see the evaluation set."""
    num_burnin_steps: int | None = None
    """Steps before the first draw's; None: `chain.num_burnin_steps`."""
    shared: bool = field(default=False, compare=False)
    """Whether another part of the run has the same draws (measure/shared_draws.py)."""
    num_pilot_steps: int = field(default=0, compare=False)
    """Gradients over the evaluation set that the pilot took to tune its step and to know E[ΔL]."""

    def draw_step(self, chain: ChainConfig, draw: int) -> int:
        """Step after which a draw is taken, from 0."""
        known = self.num_burnin_steps
        burnin = chain.num_burnin_steps if known is None else known
        return burnin + draw * self.steps_between_draws

    def num_steps(self, chain: ChainConfig) -> int:
        """Steps of the chain, which ends with its last draw."""
        return 0 if self.independent else self.draw_step(chain, self.num_draws - 1) + 1


Schedules = Mapping[str, DrawSchedule]
"""Component → its schedule, of one chain."""
SchedulesByGroup = Mapping[str, Sequence[Schedules]]
"""Group → chain → component → schedule."""


def assumed_schedules(
    config: PipelineConfig, size: ModelSize, assumptions: Assumptions, num_shards: int = 1
) -> dict[str, list[Schedules]]:
    """Schedules before the run: the same in every chain of this many token shards."""
    num_chains = len(config.chain.of_shards(num_shards))
    between = config.chain.steps_between_draws or assumptions.steps_between_draws
    corrected = isinstance(config.sampler, Mala)
    num_evaluation = config.tokens.num_evaluation_sequences * len(config.tokens.subsets)
    reference = _reference_steps(config, num_evaluation)
    burnin = max(config.chain.num_burnin_steps, 2 * max(MIN_START_STEPS, between))

    def schedule(component: Component) -> DrawSchedule:
        independent = _is_independent(config, component, assumptions)
        has_reference = not corrected and component == FULL
        return DrawSchedule(
            independent=independent,
            num_draws=config.chain.num_draws,
            steps_between_draws=0 if independent else between,
            listed=config.scoring.uses_top_k(size.vocab_size)
            and component.group not in WITHOUT_TOP_K
            and not _matches(component, assumptions.exact_components),
            corrected=corrected and not independent,
            num_burnin_steps=burnin if corrected and not independent else None,
            num_pilot_steps=0
            if independent
            else reference * has_reference + TUNING_STEPS * corrected,
        )

    return {
        group.name: [{c.name: schedule(c) for c in group.components}] * num_chains
        for group in groups_of(config, size)
    }


def recorded_schedules(
    store: Store, config: PipelineConfig, size: ModelSize, num_shards: int = 1
) -> dict[str, list[Schedules]]:
    """Schedules of a run's chains, as recorded, for the first `num_shards` token shards."""
    found: dict[str, list[Schedules]] = {}
    for group in groups_of(config, size):
        pilot = read_pilot(store, group.name)
        listed = top_k_components(config.scoring, pilot)
        records = (
            read_record(store, group.name, chain, or_dropped=True)
            for chain in config.chain.of_shards(num_shards)
        )
        found[group.name] = [schedules_of_chain(record, listed, pilot) for record in records]
    return found


def schedules_of_chain(
    record: ChainRecord, listed: frozenset[str], pilot: Mapping[str, PosteriorMoments]
) -> Schedules:
    """Schedules of all components of one chain, as recorded."""

    def schedule(name: str, chain: ComponentChain) -> DrawSchedule:
        between = 0 if chain.independent else max(1, chain.steps_between_draws)
        burnin = len(chain.step_loss) - (len(chain.delta_loss) - 1) * between - 1
        return DrawSchedule(
            independent=chain.independent,
            num_draws=len(chain.delta_loss),
            steps_between_draws=between,
            listed=name in listed,
            corrected=chain.corrected,
            num_burnin_steps=burnin if chain.corrected else None,
            num_pilot_steps=pilot[name].num_steps,
        )

    return {name: schedule(name, chain) for name, chain in record.components.items()}


def with_shared(
    config: PipelineConfig, schedules: Mapping[str, SchedulesByGroup]
) -> dict[str, SchedulesByGroup]:
    """Schedules of every part of a run, with those marked whose draws an earlier part has made."""
    found, before = dict(schedules), [schedules[""]]
    for part in config.sisters:
        found[part] = {
            group: [
                _mark_shared(own, [other[group][chain] for other in before])
                for chain, own in enumerate(chains)
            ]
            for group, chains in schedules[part].items()
        }
        before.append(schedules[part])
    return found


def _mark_shared(schedules: Schedules, before: Sequence[Schedules]) -> Schedules:
    return {
        name: replace(
            own, shared=own.independent and any(other[name].independent for other in before)
        )
        for name, own in schedules.items()
    }


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
