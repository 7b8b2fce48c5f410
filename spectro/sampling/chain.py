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
from dataclasses import dataclass
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
from spectro.sampling.mala import Mala, steps_to_forget, tuned
from spectro.sampling.pilot.pilot import independent_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.tuning import MIN_START_STEPS
from spectro.sampling.recorder import Recorder
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Blocks, Gaussian, Stepper


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """What a chain leaves behind."""

    components: dict[str, ComponentChain]
    """Everything but the draws, by component."""
    draws: DrawSource
    """The draws; those of stepped components only if no sink took them."""


def run_group_chains(
    part: GroupModel[Any],
    sampler: Sampler,
    config: ChainConfig,
    sampling_ids: Tensor,
    evaluation_ids: Tensor,
    *,
    chains: Sequence[int],
    randomness: Randomness,
    pilot: Mapping[str, PosteriorMoments] | None = None,
    sinks: Mapping[int, Sink] | None = None,
    scoring: Scoring | None = None,
    stepping: RowBudget | None = None,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
    left_out: Collection[str] = (),
) -> dict[int, ChainResult]:
    """Run some chains of a group's components; those that step do so together.

    Chains do not know of each other: with whom a chain steps changes the last bits of its
    results, and nothing else.

    Args:
        part: the group's forward passes, of any architecture.
        sampler: how draws are made.
        config: length and minibatch size.
        sampling_ids: int64 [M, T+1], sequences of the sampling distribution for minibatches.
        evaluation_ids: int64 [E, T+1], the fixed sequences on which ΔL is taken.
        chains: indices of the chains, all different.
        randomness: where noise and minibatches come from.
        pilot: exact moments of every component; `Reweighted` decides by them, and stepped
            chains are judged by them. May be None for other samplers.
        sinks: by chain, take the draws of stepped components, block by block; kept in memory if
            None.
        scoring: how losses on the evaluation set are computed.
        stepping: rows at once where gradients are; whole minibatches of all chains if None.
        on_step: called with (units done, units in all); a unit is a step or a block.
        checkpoints: how the chains are broken off and gone on with; the draws that sinks have
            taken before a snapshot are not in it.
        left_out: components that are not drawn here.

    Raises:
        NonFiniteLossError: the loss of a component is infinite or not a number.
        ValueError: the sampling set has fewer sequences than a minibatch; a distance of draws
            that is to be measured from w* on; checkpoints of stepped components without sinks.
    """
    pilot = pilot or {}
    is_gaussian = isinstance(sampler, Gaussian)
    alone = frozenset(part.names) if is_gaussian else independent_components(sampler, pilot)
    recorders = {
        chain: Recorder(
            part, sampler, config, evaluation_ids, chain=chain, pilot=pilot, scoring=scoring
        )
        for chain in chains
    }
    keeper = _Keeper(recorders, checkpoints or Checkpoints())
    drawn = [name for name in part.names if name not in left_out]
    names = [name for name in drawn if name in alone]
    stepped = [name for name in drawn if name not in alone]
    if stepped:
        config.require_burnin()
        if checkpoints is not None and sinks is None:
            raise ValueError("checkpoints hold no draws: give sinks that keep them")
    kept = {chain: _Kept() for chain in chains}
    independent = _independent_draws(part, sampler, randomness, keeper, names, on_step)
    if stepped:
        assert not isinstance(sampler, Gaussian)
        rules = {name: _rule(sampler, pilot.get(name)) for name in stepped}
        steps = Stepping(
            part=part,
            samplers=rules,
            burnin={name: _burnin(rules[name], config, pilot.get(name)) for name in stepped},
            config=config,
            sampling_ids=sampling_ids,
            evaluation_ids=evaluation_ids,
            randomness=randomness,
            budget=stepping,
        )
        steps.run(
            stepped,
            recorders,
            sinks or kept,
            on_step,
            resume=keeper.batch,
            on_state=keeper.stepped,
        )
    return {
        chain: ChainResult(
            components=recorder.finish(),
            draws=JoinedDraws(
                sources=independent[chain]
                | dict.fromkeys(stepped, StackedDraws(draws=kept[chain].draws()))
            ),
        )
        for chain, recorder in recorders.items()
    }


def _rule(sampler: Stepper | Mala, moments: PosteriorMoments | None) -> Stepper | Mala:
    """Update rule of a component: `mala` with the step that its pilot has tuned."""
    if isinstance(sampler, Mala):
        return tuned(sampler, math.nan if moments is None else moments.rho)
    return sampler


def _burnin(rule: Stepper | Mala, config: ChainConfig, moments: PosteriorMoments | None) -> int:
    """Steps before the first draw's step; `mala` forgets its start twice, uncorrected at first."""
    if not isinstance(rule, Mala):
        return config.num_burnin_steps
    known = moments is not None and not math.isnan(moments.acceptance)
    acceptance = moments.acceptance if moments is not None and known else 1.0
    forget = steps_to_forget(rule.rho, acceptance, config.max_draw_correlation)
    return max(config.num_burnin_steps, 2 * max(MIN_START_STEPS, forget))


class _Keeper:
    """Takes snapshots of recorders and stepping chains when they are due."""

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


def _independent_draws(
    part: GroupModel[Any],
    sampler: Sampler,
    randomness: Randomness,
    keeper: _Keeper,
    names: list[str],
    on_step: OnStep | None,
) -> dict[int, dict[str, DrawSource]]:
    """Chain → component → independent draws; the recorders have taken them."""
    found: dict[int, dict[str, DrawSource]] = {chain: {} for chain in keeper.recorders}
    weights = {name: part.weights(name) for name in part.names}
    for index, (chain, recorder) in enumerate(keeper.recorders.items()):
        if names:
            draws = gaussian_draws(weights, sampler, chain, randomness)
            share = _share_of(on_step, index, len(keeper.recorders))

            def on_block(done: int, total: int, share: OnStep | None = share) -> None:
                if share is not None:
                    share(done, total)
                keeper.block_done()

            recorder.independent(draws, names, on_block)
            found[chain] = dict.fromkeys(names, draws)
    return found


def _share_of(on_step: OnStep | None, index: int, count: int) -> OnStep | None:
    """Progress of one of several equal parts that follow each other."""
    if on_step is None:
        return None
    return lambda done, total: on_step(index * total + done, count * total)


class _Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Blocks]] = {}

    def __call__(self, component: str, first: int, draws: Blocks) -> None:
        self._blocks.setdefault(component, []).append(draws)

    def draws(self) -> Draws:
        """All draws that came, joined; the sink is empty then, block by block, for memory."""
        found: Draws = {}
        while self._blocks:
            name, parts = self._blocks.popitem()
            found[name] = {}
            for block in list(parts[0]):
                found[name][block] = torch.cat([part.pop(block) for part in parts])
        return found
