"""Cost of tokens and draws, by the plan's counts, and how many a budget pays."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.calibrate.choose import Split
from spectro.config import PipelineConfig, SamplerConfig
from spectro.measure.sampled_groups import groups_of
from spectro.models.size import ModelSize
from spectro.planning.calibration.config import MAX_DRAWS, CalibrateConfig
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.plan import make_plan
from spectro.planning.run_work import measurement_of
from spectro.planning.schedules import DrawSchedule
from spectro.planning.unit_work import chain_work, tile_work
from spectro.sampling.control import Control
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Gaussian
from spectro.susceptibility.estimator import EstimatorConfig, EstimatorKind

MOST_CHAINS = 4
"""Chains that draws are given to: more say no more of the errors (interval.py)."""


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """What there is to buy, and where."""

    config: PipelineConfig
    """Of the run that is to be."""
    size: ModelSize
    """Of its model."""
    device: Device
    """With the rates that count."""

    def splits(
        self, sampler: SamplerConfig, chained: Sequence[str], settings: CalibrateConfig
    ) -> list[Split]:
        """The most tokens for 4, 8, … draws; none where these are fewer than may be chosen."""
        doubled = range((MAX_DRAWS // settings.min_draws).bit_length())
        found = [
            self.most_tokens(sampler, chained, settings.min_draws << times, settings)
            for times in doubled
        ]
        return [split for split in found if split.num_tokens >= settings.min_tokens]

    def most_tokens(
        self, sampler: SamplerConfig, chained: Sequence[str], num_draws: int, s: CalibrateConfig
    ) -> Split:
        """As many tokens as the budget pays and the text has."""
        fixed, each = self._line(sampler, chained, num_draws)
        row = self.split(1, num_draws, 0.0).num_tokens
        most = sys.maxsize if s.max_tokens is None else s.max_tokens // row
        num_sequences = max(0, min(int((s.budget_seconds - fixed) / each), most))
        return self.split(num_sequences, num_draws, fixed + num_sequences * each)

    def split(self, num_sequences: int, num_draws: int, seconds: float) -> Split:
        """A split of so many sequences per subset."""
        tokens = self.config.tokens
        return Split(
            num_sequences=num_sequences,
            num_tokens=num_sequences * len(tokens.subsets) * tokens.context,
            num_draws=num_draws,
            cost_seconds=seconds,
        )

    def seconds(
        self, sampler: SamplerConfig, chained: Sequence[str], num_sequences: int, num_draws: int
    ) -> float:
        """Of one device, by `spectro plan`."""
        config = with_split(self.config, sampler, num_sequences, num_draws)
        assumed = Assumptions(chain_components=list(chained))
        return make_plan(config, self.size, self.device, assumed).device_seconds

    def _line(
        self, sampler: SamplerConfig, chained: Sequence[str], num_draws: int
    ) -> tuple[float, float]:
        """Cost without tokens, and of a sequence of every subset, from two sizes."""
        few = self.config.tokens.sequences_per_shard
        first, second = (self.seconds(sampler, chained, n * few, num_draws) for n in (1, 2))
        each = (second - first) / few
        return first - few * each, each


def chains_of(num_draws: int) -> tuple[int, int]:
    """Chains and draws of each: whole pairs, and two chains as soon as there are two pairs."""
    num_chains = max(c for c in range(1, MOST_CHAINS + 1) if num_draws % (2 * c) == 0)
    return num_chains, num_draws // num_chains


def sampler_of(config: PipelineConfig, gamma: float, nbeta: float) -> SamplerConfig:
    """Independent draws in antithetic pairs at γ and nβ."""
    if nbeta == 0:
        return Gaussian(gamma=gamma)
    asked = config.sampler
    if isinstance(asked, Reweighted):
        return dataclasses.replace(asked, gamma=gamma, nbeta=nbeta, also_nbeta=(), antithetic=True)
    return Reweighted(gamma=gamma, nbeta=nbeta)


def with_split(
    config: PipelineConfig, sampler: SamplerConfig, num_sequences: int, num_draws: int
) -> PipelineConfig:
    """The run of a split; without a control where it would be the same posterior.

    Its control is the default of the sampler, whatever that of another sampler was.
    """
    chain = config.chain
    if chain.num_chains * chain.num_draws != num_draws:
        num_chains, per_chain = chains_of(num_draws)
        chain = dataclasses.replace(chain, num_chains=num_chains, num_draws=per_chain)
    has_control = sampler.nbeta > 0 and config.control is not Control.NONE
    return dataclasses.replace(
        config,
        sampler=sampler,
        tokens=dataclasses.replace(config.tokens, num_probe_sequences=num_sequences),
        chain=chain,
        estimator=EstimatorConfig(kind=EstimatorKind.RESTRICTED),
        control=Control.DEFAULT if has_control else Control.NONE,
    )


def pilot_flops(config: PipelineConfig, size: ModelSize, num_draws: int) -> int:
    """Forward passes of a pilot at one γ: all draws on its probe and evaluation sequences."""
    m = measurement_of(config, size)
    schedule = DrawSchedule(independent=True, num_draws=num_draws)
    found = 0
    for group in groups_of(config, size):
        drawn = [{c.name: schedule for c in group.components}]
        found += tile_work(m, group, sum(m.shard_sizes), drawn, 1).scoring_flops
        found += chain_work(m, group, drawn).scoring_flops
    return found
