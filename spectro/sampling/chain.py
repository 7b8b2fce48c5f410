"""Chains of one group: their draws, and ΔL of every draw (design §2, §4).

Components that are drawn independently take their draws from their keys; all others step
together on the chain's minibatch (`mala`: on the evaluation set), each on its own posterior: one
prefix and one suffix pass serve them all, and those of several chains, each with its own minibatch
and noise. Steps are numbered from 0; draw t is the state after step
num_burnin_steps + t · steps_between_draws  (as in devinterp), and the chain ends with its last
draw. A chain never looks at the tokens that are measured.

Draws are handled in blocks: when a block is complete its ΔL is taken, it is handed to the
sink, and the components that are reliable enough are done. Nothing waits for a number in
between, so that a GPU is never asked for one.

Shapes: M sampling sequences, E evaluation sequences, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.cost.budget import RowBudget
from spectro.models.scoring import Scoring
from spectro.sampling.chain_batch import ChainBatchState, OnStep, Sink, Stepping
from spectro.sampling.checkpoint import Checkpoint, Checkpoints, joined
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig
from spectro.sampling.draws import (
    Draws,
    DrawSource,
    JoinedDraws,
    StackedDraws,
    gaussian_draws,
)
from spectro.sampling.keys import Randomness
from spectro.sampling.mala import Mala, steps_to_decorrelate, tuned
from spectro.sampling.observables import Observables
from spectro.sampling.pilot.pilot import independent_components
from spectro.sampling.pilot.pilot_sizes import MIN_START_STEPS
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.recorder import Recorder
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Blocks, Gaussian, Stepper


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """One finished chain of a group."""

    components: dict[str, ComponentChain]
    """Component → ΔL, weights and traces."""
    draws: DrawSource
    """The draws; those of stepped components only if no sink took them."""


@dataclass(frozen=True, kw_only=True)
class GroupChains:
    """Chains of a group's components; those of one `run` that step do so together.

    Chains are independent: the other chains of a run change the last bits of a chain's results, and
    nothing else.
    """

    part: GroupModel[Any]
    """The group's forward passes, of any architecture."""
    sampler: Sampler
    """How draws are made."""
    config: ChainConfig
    """Length, thinning and minibatch size."""
    sampling_ids: Tensor
    """Sequences of the sampling distribution for minibatches, int64 [M, T+1]."""
    evaluation_ids: Tensor
    """The fixed sequences on which ΔL is taken, int64 [E, T+1]."""
    randomness: Randomness
    """Where noise and minibatches come from."""
    pilot: Mapping[str, PosteriorMoments] = field(default_factory=dict)
    """Exact moments of every component: `Reweighted` decides by them who is stepped, and the
    sampler bias of stepped chains is measured against them. May be empty for other samplers."""
    scoring: Scoring | None = None
    """How losses on the evaluation set are computed."""
    stepping: RowBudget | None = None
    """Rows at once where gradients are; whole minibatches of all chains if None."""
    observables: Observables | None = None
    """What is taken of every draw beside ΔL."""

    @property
    def independent(self) -> frozenset[str]:
        """Components that are drawn without a chain."""
        if isinstance(self.sampler, Gaussian):
            return frozenset(self.part.names)
        return independent_components(self.sampler, self.pilot)

    def run(
        self,
        chains: Sequence[int],
        *,
        sinks: Mapping[int, Sink] | None = None,
        on_step: OnStep | None = None,
        checkpoints: Checkpoints | None = None,
        left_out: Collection[str] = (),
    ) -> dict[int, ChainResult]:
        """Run some chains, and take ΔL of every draw.

        Args:
            chains: indices of the chains, all different.
            sinks: by chain, take the draws of stepped components, block by block; kept in memory
                if None.
            on_step: called with (units done, units in all); a unit is a step or a block.
            checkpoints: where the chains resume, and where their checkpoints go; draws that sinks
                have taken are not in a checkpoint.
            left_out: components that are not drawn here.

        Raises:
            NonFiniteLossError: the loss of a component is infinite or not a number.
            ValueError: the sampling set has fewer sequences than a minibatch; a thinning interval
                to be measured without burn-in; checkpoints of stepped components without sinks.
        """
        names = [name for name in self.part.names if name not in left_out]
        independent = [name for name in names if name in self.independent]
        stepped = [name for name in names if name not in self.independent]
        if stepped:
            self.config.require_burnin()
            if checkpoints is not None and sinks is None:
                raise ValueError("checkpoints hold no draws: give sinks that keep them")
        recorders = {chain: self._recorder(chain) for chain in chains}
        writer = _CheckpointTaker(recorders, checkpoints or Checkpoints())
        sources = self._draw_independent(independent, writer, on_step)
        kept = {chain: _InMemorySink() for chain in chains}
        if stepped:
            self._stepping(stepped).run(
                stepped,
                recorders,
                sinks or kept,
                on_step,
                resume=writer.batch,
                on_state=writer.stepped,
            )
        return {
            chain: ChainResult(
                components=recorder.finish(),
                draws=JoinedDraws(
                    sources=sources[chain]
                    | dict.fromkeys(stepped, StackedDraws(draws=kept[chain].draws()))
                ),
            )
            for chain, recorder in recorders.items()
        }

    def _recorder(self, chain: int) -> Recorder:
        return Recorder(
            self.part,
            self.sampler,
            self.config,
            self.evaluation_ids,
            chain=chain,
            pilot=self.pilot,
            scoring=self.scoring,
            observables=self.observables,
        )

    def _stepping(self, names: Sequence[str]) -> Stepping:
        assert not isinstance(self.sampler, Gaussian)
        rules = {name: _rule(self.sampler, self.pilot.get(name)) for name in names}
        return Stepping(
            part=self.part,
            samplers=rules,
            burnin={n: _burnin(rules[n], self.config, self.pilot.get(n)) for n in names},
            config=self.config,
            sampling_ids=self.sampling_ids,
            evaluation_ids=self.evaluation_ids,
            randomness=self.randomness,
            budget=self.stepping,
        )

    def _draw_independent(
        self, names: list[str], writer: _CheckpointTaker, on_step: OnStep | None
    ) -> dict[int, dict[str, DrawSource]]:
        """Chain → component → independent draws, once the recorders have taken their ΔL."""
        found: dict[int, dict[str, DrawSource]] = {chain: {} for chain in writer.recorders}
        weights = {name: self.part.weights(name) for name in self.part.names}
        for index, (chain, recorder) in enumerate(writer.recorders.items() if names else ()):
            draws = gaussian_draws(weights, self.sampler, chain, self.randomness)
            share = _share_of(on_step, index, len(writer.recorders))

            def on_block(done: int, total: int, share: OnStep | None = share) -> None:
                if share is not None:
                    share(done, total)
                writer.block_done()

            recorder.record_independent(draws, names, on_block)
            found[chain] = dict.fromkeys(names, draws)
        return found


def _rule(sampler: Stepper | Mala, moments: PosteriorMoments | None) -> Stepper | Mala:
    """Update rule of a component: `mala` with the step that its pilot has tuned."""
    if isinstance(sampler, Mala):
        return tuned(sampler, math.nan if moments is None else moments.rho)
    return sampler


def _burnin(rule: Stepper | Mala, config: ChainConfig, moments: PosteriorMoments | None) -> int:
    """Burn-in steps; of `mala` twice its autocorrelation time or more, half of it uncorrected."""
    if not isinstance(rule, Mala):
        return config.num_burnin_steps
    known = moments is not None and not math.isnan(moments.acceptance)
    acceptance = moments.acceptance if moments is not None and known else 1.0
    apart = steps_to_decorrelate(rule.rho, acceptance, config.max_draw_correlation)
    return max(config.num_burnin_steps, 2 * max(MIN_START_STEPS, apart))


class _CheckpointTaker:
    """Takes checkpoints of recorders and stepping chains when they are due, and restores them."""

    def __init__(self, recorders: Mapping[int, Recorder], checkpoints: Checkpoints) -> None:
        self.recorders, self._checkpoints = recorders, checkpoints
        self.batch: Checkpoint | None = None
        if checkpoints.resume is not None:
            for chain, recorder in recorders.items():
                recorder.restore(checkpoints.resume.part(f"chain{chain}"))
            if "batch" in checkpoints.resume.values:
                self.batch = checkpoints.resume.part("batch")

    def block_done(self) -> None:
        """After a block of independent draws."""
        if self._checkpoints.due():
            done = sum(recorder.num_draws for recorder in self.recorders.values())
            self._checkpoints.save(done, joined(self._collected()))

    def stepped(self, batch: ChainBatchState) -> None:
        """After a step that was not the last; independent draws are all taken by then."""
        if self._checkpoints.due():
            done = sum(recorder.num_draws for recorder in self.recorders.values())
            parts = self._collected() | {"batch": batch.snapshot()}
            self._checkpoints.save(done + batch.step, joined(parts))

    def _collected(self) -> dict[str, Checkpoint]:
        return {f"chain{chain}": own.snapshot() for chain, own in self.recorders.items()}


def _share_of(on_step: OnStep | None, index: int, count: int) -> OnStep | None:
    """Progress of one of several equal parts that follow each other."""
    if on_step is None:
        return None
    return lambda done, total: on_step(index * total + done, count * total)


class _InMemorySink:
    """Keeps the draws of stepped components in memory."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Blocks]] = {}

    def __call__(self, component: str, first: int, draws: Blocks) -> None:
        self._blocks.setdefault(component, []).append(draws)

    def draws(self) -> Draws:
        """All draws, joined; empties the sink block by block, to save memory."""
        found: Draws = {}
        while self._blocks:
            name, parts = self._blocks.popitem()
            found[name] = {}
            for block in list(parts[0]):
                found[name][block] = torch.cat([part.pop(block) for part in parts])
        return found
