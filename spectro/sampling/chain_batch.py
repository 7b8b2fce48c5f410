"""Components and chains that step together, and when their draws are taken.

Steps are numbered from 0; draw t is the state after step
num_burnin_steps + t · steps_between_draws  (as in devinterp).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.sampling.advance import States, advance, start
from spectro.sampling.checkpoint import Checkpoint, joined
from spectro.sampling.config import ChainConfig
from spectro.sampling.gradients import VocabularySample
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala
from spectro.sampling.recorder import Recorder
from spectro.sampling.samplers import Blocks, Stepper
from spectro.sampling.schedule import SamplingSchedule
from spectro.sampling.state_snapshots import restored, snapshot_of

Sink = Callable[[str, int, Blocks], None]
"""Takes (component, index of the first draw, block → [R, *shape]) of stepped components."""
OnStep = Callable[[int, int], None]
"""Takes (units done, units in all)."""


@dataclass
class ChainBatchState:
    """State of chains that step together, between two steps."""

    step: int
    """Steps taken."""
    wanted: dict[int, dict[str, SamplingSchedule]]
    """Chain → components that still need draws."""
    states: States
    """Of all components that some chain wants, in all chains that want some component."""

    def snapshot(self) -> Checkpoint:
        """All of it."""
        schedules = {
            str(chain): joined({name: schedule.snapshot() for name, schedule in own.items()})
            for chain, own in self.wanted.items()
        }
        return joined(
            {
                "states": snapshot_of(self.states, self.step),
                "schedules": joined(schedules),
            }
        )

    @classmethod
    def of(
        cls,
        snapshot: Checkpoint,
        config: ChainConfig,
        burnin: Mapping[str, int],
        like: Mapping[str, Mapping[str, Tensor]],
    ) -> ChainBatchState:
        """Restore a snapshot; `like` are the components' weights, for their device."""
        states, schedules = snapshot.part("states"), snapshot.part("schedules")
        return cls(
            step=states.values["step"],
            wanted={
                int(chain): {
                    name: SamplingSchedule.of(
                        schedules.part(chain).part(name), config, burnin[name], like[name]
                    )
                    for name in own
                }
                for chain, own in schedules.values.items()
            },
            states=restored(states, like),
        )


@dataclass(frozen=True)
class Stepping:
    """Components and chains that step together."""

    part: GroupModel[Any]
    samplers: Mapping[str, Stepper | Mala]
    """Update rule of every component that steps."""
    burnin: Mapping[str, int]
    """Its steps before the first draw's step."""
    config: ChainConfig
    sampling_ids: Tensor
    """Minibatches are taken from these."""
    evaluation_ids: Tensor
    """Sequences of every `mala` step."""
    randomness: Randomness
    budget: RowBudget | None

    def run(
        self,
        names: list[str],
        recorders: Mapping[int, Recorder],
        sinks: Mapping[int, Sink],
        on_step: OnStep | None,
        *,
        resume: Checkpoint | None = None,
        on_state: Callable[[ChainBatchState], None] | None = None,
    ) -> None:
        """Step until every component has its draws in every chain.

        A chain that has all its draws steps no more, and neither does a component that no chain
        needs any more. Every remaining component steps in every remaining chain, for paired
        variants need equal numbers: a component that is done in one chain but not in another
        steps on in both while the first chain goes on. Its steps then are recorded nowhere.
        """
        state = self._start(names, list(recorders)) if resume is None else self._resumed(resume)
        while state.states:
            self._advance(state, recorders, sinks)
            if on_step is not None:
                left = [s.num_steps for own in state.wanted.values() for s in own.values()]
                on_step(state.step, max(left, default=state.step))
            if state.states and on_state is not None:
                on_state(state)

    def _start(self, names: Iterable[str], chains: Collection[int]) -> ChainBatchState:
        """All chains before their first step."""
        return ChainBatchState(
            step=0,
            wanted={
                chain: {n: SamplingSchedule(self.config, self.burnin[n]) for n in names}
                for chain in chains
            },
            states={
                name: {
                    chain: start(
                        self.samplers[name],
                        self.part.weights(name),
                        name,
                        chain,
                        self.randomness,
                    )
                    for chain in chains
                }
                for name in names
            },
        )

    def _resumed(self, snapshot: Checkpoint) -> ChainBatchState:
        """Where a snapshot was taken."""
        like = {name: self.part.weights(name) for name in self.part.names}
        return ChainBatchState.of(snapshot, self.config, self.burnin, like)

    def _advance(
        self, state: ChainBatchState, recorders: Mapping[int, Recorder], sinks: Mapping[int, Sink]
    ) -> None:
        """One step, and the draws that follow from it."""
        states = self._step(state.states, state.step, state.wanted, recorders)
        for chain, schedules in state.wanted.items():
            drawn = {
                name: states[name][chain]
                for name, schedule in schedules.items()
                if schedule.takes(state.step, states[name][chain])
            }
            for name in recorders[chain].take_draws(drawn, state.step, sinks[chain]):
                del schedules[name]
        state.states = _still_wanted(states, state.wanted)
        state.step += 1

    def _step(
        self,
        states: States,
        step: int,
        wanted: Mapping[int, Collection[str]],
        recorders: Mapping[int, Recorder],
    ) -> States:
        chains = list(next(iter(states.values())))
        moved, found = advance(
            self.part,
            self.samplers,
            states,
            self._seen(chains, step),
            step,
            self.randomness,
            adjusted={name: step >= self.burnin[name] // 2 for name in states},
            budget=self.budget,
            sample=self._sample(chains, step),
        )
        for name, own in found.items():
            for chain, each in own.items():
                if name in wanted[chain]:
                    recorders[chain].record_step(name, each, drawing=step >= self.burnin[name])
        return moved

    def _seen(self, chains: Sequence[int], step: int) -> Tensor:
        """Sequences of each chain, int64 [C, B, T+1]: a minibatch, or the evaluation set."""
        if all(isinstance(sampler, Mala) for sampler in self.samplers.values()):
            return self.evaluation_ids.expand(len(chains), *self.evaluation_ids.shape)
        return self._minibatches(chains, step)

    def _sample(self, chains: Sequence[int], step: int) -> VocabularySample | None:
        """Next tokens of each chain's sequences, where all update rules estimate gradients so."""
        rule = next(iter(self.samplers.values()))  # those of a run differ in their step size only
        if isinstance(rule, Mala) or rule.vocabulary_sample is None:
            return None
        softmax = self.part.sampled_softmax(rule.vocabulary_sample)
        if softmax is None:
            return None
        shift, batch = self.randomness.vocabulary_shift, range(self.config.batch_size)
        return VocabularySample(softmax, [[shift(c, step, i) for i in batch] for c in chains])

    def _minibatches(self, chains: Iterable[int], step: int) -> Tensor:
        """Each chain's own sequences, int64 [C, B, T+1]."""
        num_seq, batch_size = len(self.sampling_ids), self.config.batch_size
        chosen = [self.randomness.minibatch(c, step, num_seq, batch_size) for c in chains]
        return self.sampling_ids[torch.stack(chosen).to(self.sampling_ids.device)]


def _still_wanted(states: States, wanted: Mapping[int, Collection[str]]) -> States:
    """The components that some chain wants, in the chains that want some component."""
    return {
        name: {chain: state for chain, state in own.items() if wanted[chain]}
        for name, own in states.items()
        if any(name in names for names in wanted.values())
    }
