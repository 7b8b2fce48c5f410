"""Estimated cost of the units of a measurement, in seconds at nominal rates: for their order, and
for the time that is left. The plan (`planning/`) counts exactly; this needs only proportions.

A draw of a component costs its forward pass per token; a step three of them; a stored draw is
written once by its chain and read once by each tile. Which components step is known only after the
pilot: assumed are those of the plan (`planning/config.py`).
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from spectro.config import PipelineConfig
from spectro.models.components import FULL, FULL_GROUP, Component, Group
from spectro.planning.config import Assumptions
from spectro.sampling.config import ChainConfig, DrawDtype
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.pilot_sizes import MIN_START_STEPS, NUM_TRIAL_STEPS, num_pilot_draws
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Gaussian
from spectro.work.model_info import ModelInfo

NOMINAL_FLOPS = {"cuda": 4e14, "cpu": 1e11}
"""Flops per second of a worker by device type: forward passes in bfloat16 on an H200 as the plan
assumes them, in float32 on a few cores."""
NOMINAL_BYTES = 1e9
"""Bytes per second between a worker and storage. So a stored byte costs as much as 400 000 flops of
a GPU: a draw of all weights of a 1.4B model, 5.7 GB, as much as passing 800 tokens."""
STEP_PASSES = 3
"""A step in forward passes: the backward pass takes two."""


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """Costs of one part of a run."""

    model: ModelInfo
    """Shape of the model, and where it is held."""
    sampler: Sampler
    """How draws are made."""
    chain: ChainConfig
    """How many, and how many steps lie between them."""
    num_evaluation: int
    """Sequences of the evaluation set."""
    context: int
    """Tokens of a sequence."""

    @classmethod
    def of(cls, config: PipelineConfig, model: ModelInfo) -> UnitCosts:
        """Those of a part of a run."""
        tokens = config.tokens
        return cls(
            model=model,
            sampler=config.sampler,
            chain=config.chain,
            num_evaluation=tokens.num_evaluation_sequences * len(tokens.subsets),
            context=tokens.context,
        )

    def pilot(self, group: Group) -> float:
        """Seconds of a pilot: its draws on the evaluation set, and steps that are tuned."""
        draws = num_pilot_draws(self.sampler, listed=False)
        steps = MIN_START_STEPS + NUM_TRIAL_STEPS if self._steps(group) else 0
        return self._passes(group, draws + STEP_PASSES * steps, self.num_evaluation * self.context)

    def chains(self, group: Group, num_chains: int) -> float:
        """Seconds of some chains: ΔL of their draws, steps, draws that are written."""
        chain = self.chain
        seconds = self._passes(group, chain.num_draws, self.num_evaluation * self.context)
        if self._steps(group):
            between = chain.steps_between_draws or Assumptions().steps_between_draws
            steps = chain.num_burnin_steps + chain.num_draws * between
            is_mala = isinstance(self.sampler, Mala)
            seen = (self.num_evaluation if is_mala else chain.batch_size) * self.context
            seconds += self._passes(group, STEP_PASSES * steps, seen) + self._draws_seconds(group)
        return num_chains * seconds

    def tile(self, group: Group, num_sequences: int) -> float:
        """Seconds of a tile: all draws of all chains on its tokens, stored ones read."""
        chain = self.chain
        num_tokens = num_sequences * self.context
        seconds = self._passes(group, chain.num_draws, num_tokens)
        if self._steps(group):
            seconds += self._draws_seconds(group)
        return chain.num_chains * seconds

    def assembly(self, num_sequences: int) -> float:
        """Seconds of an assembly: the clean losses of its tokens."""
        return self._passes(FULL_GROUP, 1, num_sequences * self.context)

    def _passes(self, group: Group, num_draws: int, num_tokens: int) -> float:
        rate = NOMINAL_FLOPS.get(self.model.device.split(":")[0], NOMINAL_FLOPS["cuda"])
        return 2 * self.model.cost(group) * num_draws * num_tokens / rate

    def _draws_seconds(self, group: Group) -> float:
        """Seconds to write or read the stored draws of one chain."""
        size = 2 if self.chain.draw_dtype is DrawDtype.BFLOAT16 else 4
        weights = sum(self.model.weights_of(c) for c in group.components)
        return size * self.chain.num_draws * weights / NOMINAL_BYTES

    def _steps(self, group: Group) -> bool:
        """Whether a group's components are stepped, as far as that is known before the pilot."""
        sampler = self.sampler
        if isinstance(sampler, Gaussian):
            return False
        return not isinstance(sampler, Reweighted) or any(map(_needs_chain, group.components))


def _needs_chain(component: Component) -> bool:
    patterns = Assumptions().chain_components
    return component == FULL or any(fnmatch.fnmatchcase(component.name, p) for p in patterns)
