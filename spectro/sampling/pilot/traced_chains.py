"""Metropolis chains on the evaluation set of which only traces are kept.

Shapes: C chains, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.sampling.advance import States, advance, start
from spectro.sampling.checkpoint import Checkpoint, joined
from spectro.sampling.component_trace import numbers
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala
from spectro.sampling.pilot.passes import Pass
from spectro.sampling.state_snapshots import restored, snapshot_of

FloatArray = npt.NDArray[np.float64]
TensorTraces = dict[str, list[list[Tensor]]]
"""Component → chain → scalar of every step, on the device."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What some steps reported, component → [C, S]."""

    loss: dict[str, FloatArray]
    acceptance: dict[str, FloatArray]

    @property
    def mean_acceptance(self) -> dict[str, float]:
        """By component."""
        return {name: float(own.mean()) for name, own in self.acceptance.items()}


class TracedChains:
    """Chains of some components, whose states are not kept.

    Args:
        part: the group.
        samplers: component → its update rule.
        chains: their numbers.
        evaluation_ids: int64 [E, T+1], what every step sees.
        randomness: where noise comes from.
        budget: rows at once where gradients are.
        own: the pass that they are; a checkpoint can be taken after any step.
        num_steps: steps that will be taken, for the share that is done.
    """

    def __init__(
        self,
        part: GroupModel[Any],
        samplers: Mapping[str, Mala],
        chains: Sequence[int],
        evaluation_ids: Tensor,
        randomness: Randomness,
        budget: RowBudget | None,
        *,
        own: Pass,
        num_steps: int,
    ) -> None:
        self._part, self._samplers, self._randomness = part, samplers, randomness
        self._ids_CET1 = evaluation_ids.expand(len(chains), *evaluation_ids.shape)
        self._budget, self._own, self._planned = budget, own, num_steps
        self.num_steps = 0
        """Steps that were asked for."""
        self._taken = 0
        """Steps that were taken; more than were asked for after a resumption."""
        self._traces: dict[str, TensorTraces] = {
            kind: {name: [[] for _ in chains] for name in samplers}
            for kind in ("loss", "acceptance")
        }
        self._states: States = {}
        if (resume := own.checkpoints.resume) is None:
            self._states = {
                name: {c: start(s, part.weights(name), name, c, randomness) for c in chains}
                for name, s in samplers.items()
            }
        else:
            self._restore(resume)

    def step(self, num_steps: int, *, adjusted: bool = True) -> Traces:
        """Take steps, but for those that were taken before a resumption."""
        first, self.num_steps = self.num_steps, self.num_steps + num_steps
        while self._taken < self.num_steps:
            self._advance(adjusted)
            self._own.report(self._taken, max(self._planned, self._taken))
            if self._own.checkpoints.due():
                self._own.checkpoints.save(self._taken, self._snapshot())
        loss, acceptance = (
            {
                name: np.stack([numbers(row[first : self.num_steps]) for row in rows])
                for name, rows in self._traces[kind].items()
            }
            for kind in ("loss", "acceptance")
        )
        return Traces(loss=loss, acceptance=acceptance)

    def _advance(self, adjusted: bool) -> None:
        self._states, moved = advance(
            self._part,
            self._samplers,
            self._states,
            self._ids_CET1,
            self._taken,
            self._randomness,
            adjusted=dict.fromkeys(self._samplers, adjusted),
            budget=self._budget,
        )
        self._taken += 1
        for name, own in moved.items():
            for row, each in enumerate(own.values()):
                assert each.acceptance is not None
                self._traces["loss"][name][row].append(each.loss)
                self._traces["acceptance"][name][row].append(each.acceptance)

    def _snapshot(self) -> Checkpoint:
        tensors = {
            f"{kind}/{name}": torch.stack([torch.stack(row) for row in rows])
            for kind, traces in self._traces.items()
            for name, rows in traces.items()
        }
        states = snapshot_of(self._states, self._taken)
        return joined({"states": states, "traces": Checkpoint(tensors=tensors)})

    def _restore(self, snapshot: Checkpoint) -> None:
        states, traces = snapshot.part("states"), snapshot.part("traces").tensors
        self._states = restored(states, {n: self._part.weights(n) for n in self._samplers})
        self._taken = states.values["step"]
        device = self._ids_CET1.device
        for kind, own in self._traces.items():
            for name in own:
                found_CS = traces[f"{kind}/{name}"].to(device)
                own[name] = [list(row.unbind()) for row in found_CS]
