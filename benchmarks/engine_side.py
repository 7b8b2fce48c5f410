"""This engine's whole measurement with its phases metered: what a run's units do, in a run's order.

A group's pilot, its chains, and one pass over the measured tokens along the draws of all chains.
The only file of the benchmarks that knows how the engine is put together; parity checks that it
computes what `spectro.susceptibilities` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from benchmarks.meter import Meter
from benchmarks.shapes import Splits
from benchmarks.work import EVALUATING, PILOT, SCORING, STEPPING, Work
from spectro.models.architecture import GroupModel
from spectro.models.components import FULL_GROUP
from spectro.models.config import Precision, ScoringConfig
from spectro.models.cost.budget import RowBudget
from spectro.models.cost.rows import scoring_budget, stepping_budget
from spectro.models.delta import clean_losses
from spectro.models.engine import Engine as ModelEngine
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.scoring import Scoring
from spectro.models.top_k_softmax import TopKFit
from spectro.models.universal import UniversalModel
from spectro.models.variant_losses import fit_top_k
from spectro.sampling import recorder
from spectro.sampling.chain import ChainResult, GroupChains
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.pilot.pilot import run_pilot, top_k_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.reweighted import Sampler
from spectro.sampling.samplers import Psgld
from spectro.susceptibility.estimator import ChainSums, EstimatorKind
from spectro.susceptibility.reliability import estimate_column
from spectro.susceptibility.score import ScoredChain, score_tile

EXACT = ScoringConfig(shortlist_size=0)
"""The whole vocabulary always."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a measurement leaves behind."""

    chi: npt.NDArray[np.float32]
    """χ, [tokens, components in the order of the work]."""
    components: Mapping[str, Mapping[str, Any]]
    """How each component, the unrestricted one included, was measured."""


@dataclass(frozen=True, kw_only=True)
class Pilots:
    """What a measurement starts with."""

    lists: TopKFit | None
    """What top-K lists share, where they pay."""
    moments: Mapping[str, PosteriorMoments]
    """Of every component."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine with a user's choices."""

    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    precision: Precision = Precision.FLOAT32
    vocabulary_sample: int | None = None
    """S of the sampled softmax of its gradients."""
    kind: EstimatorKind = EstimatorKind.TWO_CHAIN
    universal: bool = False
    """Whether the universal engine computes, instead of the family's."""

    def __call__(
        self,
        work: Work,
        meter: Meter | None = None,
        *,
        pilots: Pilots | None = None,
    ) -> Measured:
        """Measure; without pilots given, with its own."""
        clock = meter or Meter(lambda: 0.0)
        run = _Run.start(self, work, clock)
        pilots = pilots or run.pilots()
        sums: dict[str, ChainSums] = {}
        facts: dict[str, dict[str, Any]] = {}
        for part in run.parts:
            of_group, facts_of_group = run.group(part, pilots)
            sums, facts = sums | of_group, facts | facts_of_group
        full = sums.get("full")
        columns = [estimate_column(sums[name], full, self.kind) for name in work.components]
        # the product has the tokens' losses beside them
        clean_losses(group_model(run.resident, FULL_GROUP), run.ids.probe, run.scoring_rows)
        chi = np.stack([column.chi_N for column in columns], axis=-1)
        return Measured(chi=chi.astype(np.float32), components=facts)

    def pilots(self, work: Work, meter: Meter | None = None) -> Pilots:
        """What a measurement starts with, to be used by several."""
        return _Run.start(self, work, meter or Meter(lambda: 0.0)).pilots()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One measurement under way."""

    engine: Engine
    work: Work
    clock: Meter
    resident: ModelEngine
    parts: Sequence[GroupModel[Any]]
    ids: Splits
    scoring_rows: RowBudget
    stepping_rows: RowBudget

    @classmethod
    def start(cls, engine: Engine, work: Work, clock: Meter) -> _Run:
        work.model.requires_grad_(False)
        resident = engine_of(work.model, engine.precision, universal=engine.universal)
        size, device = resident.shape, resident.device
        groups = size.groups(work.components, with_full=False)
        if engine.kind is EstimatorKind.TWO_CHAIN:
            groups = (*groups, FULL_GROUP)
        return cls(
            engine=engine,
            work=work,
            clock=clock,
            resident=resident,
            parts=[group_model(resident, group) for group in groups],
            ids=Splits(**{name: found.to(device) for name, found in vars(work.splits).items()}),
            scoring_rows=scoring_budget(resident),
            stepping_rows=stepping_budget(resident),
        )

    def pilots(self) -> Pilots:
        """Of every group."""
        with self.clock.phase(PILOT):
            lists = None
            if not isinstance(self.resident, UniversalModel):
                lists = fit_top_k(self.resident, self.engine.scoring, self.ids.evaluation)
            moments = [
                run_pilot(
                    part,
                    self.work.sampler,
                    self.ids.evaluation,
                    KeyedRandomness(seed=self.work.seed),
                    budget=self.scoring_rows,
                    candidate=lists,
                )
                for part in self.parts
            ]
        return Pilots(lists=lists, moments={n: m for group in moments for n, m in group.items()})

    def group(
        self, part: GroupModel[Any], pilots: Pilots
    ) -> tuple[dict[str, ChainSums], dict[str, dict[str, Any]]]:
        """A group's sums, and how its components were measured."""
        pilot = {name: pilots.moments[name] for name in part.names}
        passes = self._passes(pilot, pilots.lists)
        with self.clock.phase(STEPPING), _evaluating(self.clock):
            chains = {
                chain: self._chain(part, chain, pilot, passes)
                for chain in range(self.work.num_chains)
            }
        with self.clock.phase(SCORING):
            scored = {chain: _scored(result) for chain, result in chains.items()}
            tile = score_tile(part, scored, self.ids.probe, scoring=passes)
        sums, facts = {}, {}
        for name in part.names:
            own = [chain.components[name] for chain in chains.values()]
            sums[name] = ChainSums(
                weighted_CN=tile[name].weighted_CN,
                plain_CN=tile[name].plain_CN,
                delta_loss=[chain.delta_loss for chain in own],
                weight=[chain.weight for chain in own],
            )
            facts[name] = _facts(name, passes, pilot[name], own)
        return sums, facts

    def _passes(self, pilot: Mapping[str, PosteriorMoments], lists: TopKFit | None) -> Scoring:
        """How this group's losses are computed."""
        names = top_k_components(self.engine.scoring, pilot)
        used = lists is not None and names and self.engine.scoring != EXACT
        return Scoring(
            budget=self.scoring_rows,
            top_k=dataclasses.replace(lists, components=names) if used else None,
        )

    def _sampler(self) -> Sampler:
        size = self.engine.vocabulary_sample
        if size is None:
            return self.work.sampler
        assert isinstance(self.work.sampler, Psgld), self.work.sampler
        return dataclasses.replace(self.work.sampler, vocabulary_sample=size)

    def _chain(
        self,
        part: GroupModel[Any],
        chain: int,
        pilot: Mapping[str, PosteriorMoments],
        passes: Scoring,
    ) -> ChainResult:
        work = self.work
        config = ChainConfig(
            num_chains=work.num_chains,
            num_draws=work.num_draws,
            steps_between_draws=work.steps_between_draws,
            num_burnin_steps=work.num_burnin_steps,
            batch_size=work.batch_size,
        )
        return GroupChains(
            part=part,
            sampler=self._sampler(),
            config=config,
            sampling_ids=self.ids.sampling,
            evaluation_ids=self.ids.evaluation,
            randomness=KeyedRandomness(seed=work.seed),
            pilot=pilot,
            scoring=passes,
            stepping=self.stepping_rows,
        ).run((chain,))[chain]


def _evaluating(clock: Meter) -> AbstractContextManager[Any]:
    """ΔL is evaluated within a chain: its time is separated from the steps' there."""
    evaluate = recorder.evaluate

    def metered(*arguments: Any, **options: Any) -> Any:
        with clock.phase(EVALUATING):
            return evaluate(*arguments, **options)

    return mock.patch.object(recorder, "evaluate", metered)


def _scored(result: ChainResult) -> ScoredChain:
    return ScoredChain(
        draws=result.draws,
        delta_loss={name: found.delta_loss for name, found in result.components.items()},
        weight={name: found.weight for name, found in result.components.items()},
    )


def _facts(
    name: str, passes: Scoring, pilot: PosteriorMoments, own: list[ComponentChain]
) -> dict[str, Any]:
    return {
        "from_lists": passes.top_k is not None and name in passes.top_k.components,
        "shortlist_error": pilot.shortlist_error,
        "effective_fraction": pilot.effective_fraction,
        "without_chain": own[0].independent,
        "steps_between_draws": [chain.steps_between_draws for chain in own],
        "steps": sum(len(chain.step_loss) for chain in own),
    }
