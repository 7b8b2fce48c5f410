"""After which steps a component's draws are taken."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Blocks, ChainState

MAX_STEPS_BETWEEN_DRAWS = 256
"""Where a chain still remembers then, draws are taken all the same."""


class SamplingSchedule:
    """After which steps a component's draws are taken; finds the distance where none is given."""

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
        if self._between is None and self._forgotten(since, state):
            self._between, self._first = since, None
        return self._between is not None and since % self._between == 0

    def snapshot(self) -> Checkpoint:
        """What was found, or what the distance is being measured against."""
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
        """What a snapshot was taken of; `like` are the component's weights, for their device."""
        found = cls(config, num_burnin_steps)
        found._between = snapshot.values["between"]
        first = {block: tensor.to(like[block].device) for block, tensor in snapshot.tensors.items()}
        found._first = first or None
        return found

    def _forgotten(self, since: int, state: ChainState) -> bool:
        """Whether the chain does not remember its first draw any more.

        The cosine of two displacements is the autocorrelation of the chain, averaged over its
        many weights, so one pair of states tells it.
        """
        if since >= MAX_STEPS_BETWEEN_DRAWS:
            return True
        assert self._first is not None
        return float(_cosine(self._first, state.displacement)) <= self._config.max_draw_correlation


def _cosine(first: Blocks, second: Blocks) -> Tensor:
    product = sum((first[b] * second[b]).sum() for b in first)
    squares = [sum(t.pow(2).sum() for t in blocks.values()) for blocks in (first, second)]
    return torch.as_tensor(product / (squares[0] * squares[1]) ** 0.5)
