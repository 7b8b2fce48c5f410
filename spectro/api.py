"""The whole measurement in one process, without Ray: `spectro.susceptibilities`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from spectro.models.components import (
    Group,
)
from spectro.models.config import ScoringConfig
from spectro.models.engine import engine_of
from spectro.models.overlap import overlap_warnings
from spectro.models.token_ids import Ids, check_ids
from spectro.result.result import Result
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import (
    ChainConfig,
    ObservableConfig,
    QuerySplit,
    require_observable_names,
)
from spectro.sampling.keys import KeyedRandomness, Randomness
from spectro.sampling.observables import SplitSequences
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.susceptibility.columns import TokenEstimates, estimate
from spectro.susceptibility.estimator import (
    EstimatorConfig,
)
from spectro.susceptibility.measurement import MeasuredModel, chain_sums, scored_chain
from spectro.susceptibility.summary import (
    chain_summaries,
    column_summary,
    summary_lines,
)
from spectro.susceptibility.tile_sums import TileSums
from spectro.susceptibility.warnings import chain_warnings

logger = logging.getLogger(__name__)


def susceptibilities(
    model: PreTrainedModel,
    sampling_ids: Ids,
    probe_ids: Ids,
    *,
    sampler: Sampler,
    components: Sequence[str] = ("*",),
    evaluation_ids: Ids | None = None,
    num_chains: int = 4,
    num_draws: int = 100,
    steps_between_draws: int | None = None,
    num_burnin_steps: int = 8,
    batch_size: int = 16,
    target_reliability: float | None = None,
    chains_together: int = 1,
    scoring: ScoringConfig | None = None,
    estimator: EstimatorConfig | None = None,
    observables: Mapping[str, ObservableConfig] | None = None,
    seed: int = 0,
    randomness: Randomness | None = None,
) -> Result:
    """Measure the susceptibility of every component to every token of the probe sequences.

    Args:
        model: a causal language model of transformers; its weights are w* and are not changed.
        sampling_ids: int64 [M, T+1], sequences of the training distribution, for minibatches.
        probe_ids: int64 [N, T+1], the sequences measured; their T may differ.
        sampler: `spectro.Reweighted(...)`, `Mala`, `Exponential`, `Psgld`, `Sgld` or `Gaussian`.
        components: names or patterns in the order of the columns: `l0h0`, `l*mlp`, `embed`,
            `l*attn`, `l0h0.q`, `full`; `*` for the standard ones (docs/components.md).
        evaluation_ids: int64 [E, T+1], fixed sequences on which ΔL is taken; the sampling
            sequences if None.
        num_chains, num_draws, steps_between_draws, num_burnin_steps, batch_size,
            target_reliability: see ChainConfig.
        chains_together: chains of a component that step at once; memory grows with it, and the
            last bits of the result may change. On a CPU 1 is as fast.
        scoring: what may be approximated within a measured error.
        estimator: `two_chain` with the paired baseline if None.
        observables: further observables by name (docs/observables.md).
        seed: keys all randomness.
        randomness: replaces the keyed randomness, for comparisons with other packages.

    Raises:
        ValueError: ids of wrong shape or outside the vocabulary, evaluation sequences of another
            context than the sampling sequences, a component that selects nothing or is given
            twice, impossible settings.
        NonFiniteLossError: a chain left the region where the loss is finite.
    """
    chain = ChainConfig(
        num_chains=num_chains, num_draws=num_draws, steps_between_draws=steps_between_draws,
        num_burnin_steps=num_burnin_steps, batch_size=batch_size,
        target_reliability=target_reliability,
    )  # fmt: skip
    settings = _Settings(
        sampler=sampler, chain=chain, estimator=estimator or EstimatorConfig(), seed=seed,
        observables=dict(observables or {}),
    )  # fmt: skip
    measured = _measured_model(model, scoring, sampling_ids, evaluation_ids, probe_ids)
    keyed = randomness or KeyedRandomness(seed=seed)
    return _Measurement(measured, settings, keyed, chains_together).result(components, probe_ids)


def _measured_model(
    model: PreTrainedModel,
    scoring: ScoringConfig | None,
    sampling: Ids,
    evaluation: Ids | None,
    probe: Ids,
) -> MeasuredModel:
    """The model with its sequences, checked."""
    resident = engine_of(model)
    own = check_ids(resident, sampling, "sampling_ids")
    other = own if evaluation is None else check_ids(resident, evaluation, "evaluation_ids")
    if other.shape[1] != own.shape[1]:
        raise ValueError(
            f"evaluation_ids has contexts of {other.shape[1] - 1} tokens and sampling_ids of "
            f"{own.shape[1] - 1}: ΔL would be of another distribution than the chains sample"
        )

    def split(wanted: QuerySplit) -> SplitSequences:
        is_probe = wanted is QuerySplit.PROBE
        return SplitSequences(
            ids_ST1=check_ids(resident, probe, "probe_ids") if is_probe else other
        )

    return MeasuredModel(
        scoring or ScoringConfig(),
        model=lambda: resident,
        sampling_ids=lambda: own,
        evaluation_ids=lambda: other,
        split=split,
    )


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """See `measurement.MeasurementSettings`."""

    sampler: Sampler
    chain: ChainConfig
    estimator: EstimatorConfig
    seed: int
    observables: Mapping[str, ObservableConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_observable_names(self.observables)
        also = self.sampler.also_nbeta if isinstance(self.sampler, Reweighted) else ()
        if also:
            raise ValueError(
                f"sampler.also_nbeta is {also}, one nbeta is measured at a time here: call once "
                "for each with the same seed (sampler.at(nbeta)), the draws are then the same"
            )


class _Measurement:
    """Pilots, chains and sums of all groups, gathered one group after the other."""

    def __init__(
        self,
        model: MeasuredModel,
        settings: _Settings,
        randomness: Randomness,
        chains_together: int,
    ) -> None:
        self._model, self._settings, self._randomness = model, settings, randomness
        self._batches = settings.chain.batches(chains_together)
        self._pilots: dict[str, PosteriorMoments] = {}
        self._chains: dict[str, list[ComponentChain]] = {}

    def result(self, patterns: Sequence[str], probe_ids: Ids) -> Result:
        """Measure all groups; columns come in the order of the patterns."""
        model, estimator, size = self._model, self._settings.estimator, self._model.model.shape
        ids = check_ids(model.model, probe_ids, "probe_ids")
        chosen = size.select(patterns)
        names = [c.name for c in chosen]
        tiles: dict[str, TileSums] = {}
        for group in size.groups(patterns, with_full=estimator.kind.needs_full):
            tiles |= self._measure(group, ids)
        offset = model.phi_offset(self._settings, self._randomness)
        sums = chain_sums(tiles, self._chains)
        loss_N = model.losses(ids).reshape(-1)
        found = estimate(sums, names, estimator.kind, loss_N, phi_offset=offset)
        shape = (len(ids), ids.shape[1] - 1)
        return Result(
            components=found.components,
            columns={
                name: values.astype(np.float32).reshape(*shape, *values.shape[1:])
                for name, values in found.values(found.token_columns).items()
            },
            num_chains=self._settings.chain.num_chains,
            summary=self._summary(
                found, offset, overlap_warnings(chosen, size, model.model.blocks)
            ),
            probe_ids=ids.cpu().numpy(),
            observables=tuple(found.influence),
        )

    def _measure(self, group: Group, ids: Tensor) -> dict[str, TileSums]:
        """Run a group's chains, some at a time, and score the tokens along each one's draws."""
        pilot = self._model.pilot(group, self._settings)
        group_chains = self._model.chains(group, self._settings, pilot, self._randomness)
        names = [component.name for component in group.components]
        tiles: list[dict[str, TileSums]] = []
        chains: dict[str, list[ComponentChain]] = {name: [] for name in names}
        for batch in self._batches:
            results = group_chains.run(batch)
            for chain in batch:
                result = results.pop(chain)  # its draws are freed once it is scored
                scored = scored_chain(result.draws, result.components)
                tiles.append(self._model.score(group, {chain: scored}, ids, pilot))
                for name in names:
                    chains[name].append(result.components[name])
        self._pilots |= pilot
        self._chains |= chains
        return {name: TileSums.joined([tile[name] for tile in tiles]) for name in names}

    def _summary(
        self, found: TokenEstimates, offset: float, warnings: Sequence[str]
    ) -> dict[str, object]:
        chains = chain_summaries(
            self._chains, self._pilots, nbeta=self._settings.sampler.nbeta, phi_offset=offset
        )
        moments = {name: column.moments for name, column in found.columns.items()}
        summary = column_summary(moments, chains, found.centred_reliability())
        summary["warnings"] = [*chain_warnings(chains, self._settings.sampler.gamma), *warnings]
        for line in summary["warnings"]:
            logger.warning("%s", line)
        for line in summary_lines(summary):
            logger.info("column %s", line)
        return summary
