"""The sampling schedule of a component: burn-in, thinning interval and draws."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Blocks, ChainState

MAX_STEPS_BETWEEN_DRAWS = 256
"""Largest thinning interval, even if draws still correlate."""


class SamplingSchedule:
    """Steps after which draws are taken; measures the thinning interval where none is given."""

    def __init__(self, config: ChainConfig, num_burnin_steps: int) -> None:
        self._config, self._burnin = config, num_burnin_steps
        self._between = config.steps_between_draws
        self._first: Blocks | None = None

    @property
    def num_steps(self) -> int:
        """Steps in all, as far as they are known."""
        return self._burnin + (self._config.num_draws - 1) * (self._between or 1) + 1

    def takes(self, step: int, state: ChainState) -> bool:
        """Whether the state after a step is a draw."""
        since = step - self._burnin
        if since <= 0:
            if self._between is None and since == 0:
                self._first = state.displacement
            return since == 0
        if self._between is None and self._decorrelated(since, state):
            self._between, self._first = since, None
        return self._between is not None and since % self._between == 0

    def snapshot(self) -> Checkpoint:
        """The thinning interval, or the draw against which it is being measured."""
        first = self._first or {}
        return Checkpoint(
            tensors={block: tensor.clone() for block, tensor in first.items()},
            values={"between": self._between},
        )

    @classmethod
    def of(
        cls,
        snapshot: Checkpoint,
        config: ChainConfig,
        num_burnin_steps: int,
        like: Mapping[str, Tensor],
    ) -> SamplingSchedule:
        """Restore a snapshot; `like` are the component's weights, for their device."""
        found = cls(config, num_burnin_steps)
        found._between = snapshot.values["between"]
        first = {block: tensor.to(like[block].device) for block, tensor in snapshot.tensors.items()}
        found._first = first or None
        return found

    def _decorrelated(self, since: int, state: ChainState) -> bool:
        """Whether the chain's autocorrelation with its first draw is small enough.

        The cosine of two displacements is the autocorrelation averaged over all weights of the
        component, so one pair of states suffices.
        """
        if since >= MAX_STEPS_BETWEEN_DRAWS:
            return True
        assert self._first is not None
        return float(_cosine(self._first, state.displacement)) <= self._config.max_draw_correlation


def _cosine(first: Blocks, second: Blocks) -> Tensor:
    product = sum((first[b] * second[b]).sum() for b in first)
    squares = [sum(t.pow(2).sum() for t in blocks.values()) for blocks in (first, second)]
    return torch.as_tensor(product / (squares[0] * squares[1]) ** 0.5)
