"""The measuring path: pilot, draws, scoring, sums; columns.py and summary.py finish it.

    MeasuredModel.pilot → .chains → .score → chain_sums → columns.estimate → summary.column_summary

The in-process API, the Ray workers, texts measured along a run's draws and the calibration call
these functions; they differ only in where sequences and draws are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL_GROUP, Group
from spectro.models.config import ScoringConfig
from spectro.models.cost.budget import RowBudget
from spectro.models.cost.rows import scoring_budget, stepping_budget
from spectro.models.delta import ReadDraws, clean_losses
from spectro.models.engine import Engine
from spectro.models.groups import group_model, loss_headroom
from spectro.models.scoring import Scoring
from spectro.models.top_k_softmax import TopKFit
from spectro.models.universal import UniversalModel
from spectro.models.variant_losses import fit_top_k
from spectro.sampling.chain import GroupChains
from spectro.sampling.checkpoint import Checkpoints
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig, ObservableConfig, QuerySplit
from spectro.sampling.keys import KeyedRandomness, Randomness
from spectro.sampling.observables import Observables, SplitSequences
from spectro.sampling.pilot.pilot import run_pilot, top_k_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.reweighted import Sampler
from spectro.susceptibility.estimator import Baseline, ChainSums, EstimatorConfig
from spectro.susceptibility.score import ScoredChain, score_tile
from spectro.susceptibility.tile_sums import TileSums

Pilot = Mapping[str, PosteriorMoments]
"""Component → moments of its posterior, for one group."""


class MeasurementSettings(Protocol):
    """How draws are made, how many chains there are, how sums become susceptibilities, the seed of
    all randomness, and what is taken of every draw beside ΔL; `PipelineConfig` is one."""

    @property
    def sampler(self) -> Sampler: ...

    @property
    def chain(self) -> ChainConfig: ...

    @property
    def estimator(self) -> EstimatorConfig: ...

    @property
    def seed(self) -> int: ...

    @property
    def observables(self) -> Mapping[str, ObservableConfig]: ...


class MeasuredModel:
    """A model with its sampling and evaluation sequences, and all that is computed once of them.

    Args:
        scoring: what may be approximated within a measured error.
        model, sampling_ids, evaluation_ids: load the attributes of these names at first use.
        split: gives the sequences that observables are taken on; the evaluation set alone if None.
    """

    def __init__(
        self,
        scoring: ScoringConfig,
        *,
        model: Callable[[], Engine],
        sampling_ids: Callable[[], Tensor],
        evaluation_ids: Callable[[], Tensor],
        split: Callable[[QuerySplit], SplitSequences] | None = None,
    ) -> None:
        self._split = split or self._evaluation_split
        self._observables: dict[tuple[tuple[str, ObservableConfig], ...], Observables] = {}
        self._scoring_config = scoring
        self._load_model = model
        self._load_sampling, self._load_evaluation = sampling_ids, evaluation_ids

    @cached_property
    def model(self) -> Engine:
        """The model at w*."""
        return self._load_model()

    @cached_property
    def sampling_ids(self) -> Tensor:
        """Sequences that minibatches are taken from, int64 [M, T+1]."""
        return self._load_sampling()

    @cached_property
    def evaluation_ids(self) -> Tensor:
        """Sequences on which ΔL is taken, int64 [E, T+1]."""
        return self._load_evaluation()

    @cached_property
    def top_k_fit(self) -> TopKFit | None:
        """What top-K softmaxes of this model share; None where they do not pay."""
        if isinstance(self.model, UniversalModel):
            return None
        return fit_top_k(self.model, self._scoring_config, self.evaluation_ids)

    @cached_property
    def scoring_budget(self) -> Callable[[bool], RowBudget]:
        """Rows of a forward pass, with the top-K softmax (True) or the whole vocabulary (False).

        A budget keeps what it has learnt of the memory.
        """
        size = self._scoring_config.shortlist_size
        return cache(lambda top_k: scoring_budget(self.model, size if top_k else 0))

    @cached_property
    def stepping_budget(self) -> RowBudget:
        """Rows of a step, with what its backward pass keeps."""
        return stepping_budget(self.model)

    @cached_property
    def headroom(self) -> float:
        """ln V − L(w*) on the evaluation set, nats: what the model has learnt of its text."""
        return loss_headroom(self.model, self.evaluation_ids, self.scoring_budget(False))

    def part(self, group: Group) -> GroupModel[Any]:
        """Forward passes of a group."""
        return group_model(self.model, group)

    def scoring(self, pilot: Pilot) -> Scoring:
        """How losses of a group are computed: its pilot has measured the top-K softmax's error."""
        names, fit = top_k_components(self._scoring_config, pilot), self.top_k_fit
        if fit is None or not names:
            return Scoring(budget=self.scoring_budget(False))
        return Scoring(
            budget=self.scoring_budget(True),
            top_k=dataclasses.replace(fit, components=names),
        )

    def losses(self, ids_nT1: Tensor) -> npt.NDArray[np.float32]:
        """ℓ(w*) of every token of some sequences, nats, [n, T]."""
        losses: npt.NDArray[np.float32] = clean_losses(self.part(FULL_GROUP), ids_nT1).cpu().numpy()
        return losses

    def pilot(
        self,
        group: Group,
        settings: MeasurementSettings,
        *,
        known: Pilot | None = None,
        on_progress: Callable[[float, float], None] | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> dict[str, PosteriorMoments]:
        """Moments of every component's posterior (see `run_pilot`).

        With `known`, the pilot of the same draws at another nβ, no draw is evaluated again.
        """
        fit = None if known else self.top_k_fit
        return run_pilot(
            self.part(group),
            settings.sampler,
            self.evaluation_ids,
            KeyedRandomness(seed=settings.seed),
            budget=self.scoring_budget(fit is not None),
            stepping=self.stepping_budget,
            candidate=fit,
            headroom=float("nan") if known else self.headroom,
            config=settings.chain,
            known=known,
            on_progress=on_progress,
            checkpoints=checkpoints,
        )

    def chains(
        self,
        group: Group,
        settings: MeasurementSettings,
        pilot: Pilot,
        randomness: Randomness | None = None,
    ) -> GroupChains:
        """Chains of a group, to be run."""
        return GroupChains(
            part=self.part(group),
            sampler=settings.sampler,
            config=settings.chain,
            sampling_ids=self.sampling_ids,
            evaluation_ids=self.evaluation_ids,
            randomness=randomness or KeyedRandomness(seed=settings.seed),
            pilot=pilot,
            scoring=self.scoring(pilot),
            stepping=self.stepping_budget,
            observables=self.observables(settings),
        )

    def observables(self, settings: MeasurementSettings) -> Observables | None:
        """What is taken of every draw beside ΔL, made once; None: nothing."""
        chosen = tuple(settings.observables.items())
        if chosen and chosen not in self._observables:
            made = Observables(dict(chosen), self._split, self.model.logits)
            self._observables[chosen] = made
        return self._observables.get(chosen)

    def _evaluation_split(self, split: QuerySplit) -> SplitSequences:
        if split is not QuerySplit.EVALUATION:
            raise ValueError(f"there are no {split.value} sequences here")
        return SplitSequences(ids_ST1=self.evaluation_ids)

    def score(
        self,
        group: Group,
        chains: Mapping[int, ScoredChain],
        probe_ids: Tensor,
        pilot: Pilot,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> dict[str, TileSums]:
        """Running sums of tokens along the draws of some chains (see `score_tile`)."""
        return score_tile(
            self.part(group),
            chains,
            probe_ids,
            scoring=self.scoring(pilot),
            on_progress=on_progress,
            checkpoints=checkpoints,
        )

    @torch.no_grad()
    def phi_offset(
        self, settings: MeasurementSettings, randomness: Randomness | None = None
    ) -> float:
        """o in φ_t = ΔL(t) + o, nats: 0 for the paired baseline.

        For the unpaired one o = L(w*) − L̃*: L(w*) the mean over the evaluation set, L̃* that over
        the first `num_baseline_batches` minibatches of every chain.
        """
        if settings.estimator.baseline is not Baseline.UNPAIRED:
            return 0.0
        source = randomness or KeyedRandomness(seed=settings.seed)
        ids, num_batches = self.sampling_ids, settings.estimator.num_baseline_batches
        total = 0.0
        for chain in range(settings.chain.num_chains):
            for step in range(num_batches):
                chosen = source.minibatch(chain, step, len(ids), settings.chain.batch_size)
                total += float(self.model.clean_losses(ids[chosen.to(ids.device)]).mean())
        clean = float(self.model.clean_losses(self.evaluation_ids).double().mean())
        return clean - total / (settings.chain.num_chains * num_batches)


def scored_chain(
    draws: ReadDraws,
    components: Mapping[str, ComponentChain],
    blocks: Mapping[str, Sequence[int]] | None = None,
) -> ScoredChain:
    """A chain's draws with the observable and weights of each; `blocks` as in `ScoredChain`."""
    return ScoredChain(
        draws=draws,
        delta_loss={name: own.delta_loss for name, own in components.items()},
        weight={name: own.weight for name, own in components.items()},
        blocks=blocks or {},
        observables={name: own.observables for name, own in components.items()},
    )


def chain_sums(
    tile: Mapping[str, TileSums], chains: Mapping[str, Sequence[ComponentChain]]
) -> dict[str, ChainSums]:
    """Component → sums of all its chains, which are in the order of the tile's rows."""
    return {
        name: ChainSums(
            weighted_CN=tile[name].weighted_CN,
            plain_CN=tile[name].plain_CN,
            delta_loss=[chain.delta_loss for chain in own],
            weight=[chain.weight for chain in own],
            observed=tile[name].observed,
            observables={
                observable: [chain.observables[observable] for chain in own]
                for observable in tile[name].observed
            },
        )
        for name, own in chains.items()
    }
