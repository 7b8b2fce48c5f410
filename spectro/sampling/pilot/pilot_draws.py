"""ΔL of a pilot's independent draws, and the error of the top-K softmax along them.

Shapes: P draws, N evaluation tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.models.scoring import Scoring
from spectro.models.top_k_softmax import TopKFit
from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.draws import GaussianDraws
from spectro.sampling.evaluate import Evaluated, evaluate
from spectro.sampling.keys import Randomness
from spectro.sampling.pilot.passes import Pass, Passes

PILOT_CHAIN = -1
"""Chain number of the pilot's noise."""
DRAWS, LISTED = "draws", "listed"
"""The passes along the draws: exact, and with the top-K softmax."""


@dataclass(frozen=True)
class PilotDraws:
    """Independent draws of one group's components."""

    part: GroupModel[Any]
    evaluation_ids: Tensor
    randomness: Randomness
    budget: RowBudget
    passes: Passes

    def delta_losses(
        self, gamma: float, num_draws: int, candidate: TopKFit | None
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        """Component → ΔL of its draws of N(w*, 1/γ), nats; → the error of the top-K softmax.

        The error is NaN without a candidate.
        """
        names = self.part.names
        work = num_draws * len(names)
        if candidate is not None:
            self.passes.plan(LISTED, work)

        def exact(own: Pass) -> Checkpoint:
            found = self._evaluated(own, gamma, names, num_draws)
            return Checkpoint(
                tensors={n: each.delta_RN for n, each in found.items()}
                if candidate is not None
                else {},
                values={n: each.delta_loss.tolist() for n, each in found.items()},
            )

        drawn = self.passes.run(DRAWS, work, exact)
        if candidate is None:
            return drawn.values, dict.fromkeys(names, math.nan)
        top_k = dataclasses.replace(candidate, components=frozenset(names))

        def compared(own: Pass) -> Checkpoint:
            found = self._evaluated(own, gamma, names, num_draws, top_k)
            errors = {n: _error(found[n].delta_RN, delta) for n, delta in drawn.tensors.items()}
            return Checkpoint(values=errors)

        errors = self.passes.run(LISTED, work, compared).values
        self.passes.drop_tensors(DRAWS)
        return drawn.values, errors

    def mean_delta_loss(
        self, name: str, gamma: float, names: Sequence[str], num_draws: int
    ) -> Mapping[str, float]:
        """Mean ΔL of some components' draws at another γ; `name` is that of the pass."""

        def means(own: Pass) -> Checkpoint:
            found = self._evaluated(own, gamma, names, num_draws)
            return Checkpoint(values={n: float(found[n].delta_loss.mean()) for n in names})

        return self.passes.run(name, num_draws * len(names), means).values

    def _evaluated(
        self,
        own: Pass,
        gamma: float,
        names: Sequence[str],
        num_draws: int,
        top_k: TopKFit | None = None,
    ) -> dict[str, Evaluated]:
        """Losses along the first draws of N(w*, 1/γ), the same noise for every γ."""
        source = GaussianDraws(
            weights={name: self.part.weights(name) for name in self.part.names},
            gamma=gamma,
            antithetic=False,
            chain=PILOT_CHAIN,
            randomness=self.randomness,
        )
        return evaluate(
            self.part,
            source,
            dict.fromkeys(names, slice(0, num_draws)),
            self.evaluation_ids,
            Scoring(budget=self.budget, top_k=top_k),
            on_draws=own.report,
            checkpoints=own.checkpoints,
        )


def _error(approximate_RN: Tensor, exact_RN: Tensor) -> float:
    """Root mean square of the difference over that of Δℓ."""
    scale = float(exact_RN.double().pow(2).mean().sqrt())
    if scale == 0:
        return math.nan
    return float((approximate_RN - exact_RN).double().pow(2).mean().sqrt()) / scale
