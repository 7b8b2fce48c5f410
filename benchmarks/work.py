"""What both sides are asked for, and the phases of their time.

stepping     gradient steps of the chains (for draws without gradient: nothing)
evaluating   ΔL of the draws on the evaluation set
scoring      losses of the measured tokens along the draws
pilot        the engine's: what the exact posterior looks like, what top-K lists would cost
baseline     the peer's: L(w*); the engine takes it within the other phases
other        the rest: data sets, copies of the model, writing, estimates
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from benchmarks.shapes import Splits
from spectro.sampling.reweighted import Sampler

STEPPING, EVALUATING, SCORING = PHASES = ("stepping", "evaluating", "scoring")
"""The phases that both sides have."""
PILOT, BASELINE = "pilot", "baseline"


@dataclass(frozen=True, kw_only=True)
class Work:
    """One measurement."""

    model: PreTrainedModel
    splits: Splits
    components: list[str]
    sampler: Sampler
    """The peer runs `Psgld` and `Sgld` only."""
    num_chains: int = 2
    num_draws: int = 2
    steps_between_draws: int | None = 1
    """None, for the engine only: as many as a chain needs."""
    num_burnin_steps: int = 0
    batch_size: int = 16
    num_baseline_batches: int = 1
    """Over which the peer takes L(w*)."""
    seed: int = 0

    @property
    def device(self) -> str:
        """Device of the model."""
        return str(self.model.device.type)

    @property
    def all_draws(self) -> int:
        """Draws of one component."""
        return self.num_chains * self.num_draws
