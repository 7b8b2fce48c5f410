"""The whole measurement in one process, without Ray: `spectro.susceptibilities`.

It is made of the same functions as the distributed jobs: `run_group_chains`, `score_tile`,
`estimate_column`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.models.architecture import GroupModel
from spectro.models.components import FULL_GROUP, Component, group_components, select_components
from spectro.models.cost.rows import scoring_budget, stepping_budget
from spectro.models.delta import clean_losses
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model, loss_headroom
from spectro.models.losses import shortlisting_of
from spectro.models.scoring import Scoring, ScoringConfig
from spectro.models.token_ids import Ids, check_ids
from spectro.models.top_k_softmax import TopKFit
from spectro.result import Result
from spectro.sampling.baseline import unpaired_offset
from spectro.sampling.chain import run_group_chains
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness, Randomness
from spectro.sampling.pilot.pilot import listed_components, run_pilot
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.recorder import ComponentChain
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.susceptibility.estimator import (
    Baseline,
    ChainSums,
    EstimatorConfig,
)
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    centred_reliability,
    estimate_column,
)
from spectro.susceptibility.score import ScoredChain, TileSums, score_tile
from spectro.susceptibility.summary import (
    chain_summary,
    column_summary,
    summary_lines,
)
from spectro.susceptibility.warnings import chain_warnings

logger = logging.getLogger(__name__)


def susceptibilities(
    model: GPTNeoXForCausalLM,
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
    seed: int = 0,
    randomness: Randomness | None = None,
) -> Result:
    """Measure the susceptibility of every component to every token of the probe sequences.

    Args:
        model: a GPT-NeoX model; its weights are w* and are not changed.
        sampling_ids: int64 [M, T+1], sequences of the model's training distribution: minibatches
            of the chains are taken from them.
        probe_ids: int64 [N, T+1], the sequences measured; their T may be another.
        sampler: `spectro.Reweighted(...)`, `Mala`, `Exponential`, `Psgld`, `Sgld` or `Gaussian`.
        components: names or patterns: `l0h0`, `l*mlp`, `embed`, `unembed`, `*` for all. Columns
            come in this order; what one pattern selects in the model's, and a component that
            several select where the first does.
        evaluation_ids: int64 [E, T+1], fixed sequences on which ΔL is taken; the sampling
            sequences if None.
        num_chains, num_draws, steps_between_draws, num_burnin_steps, batch_size,
            target_reliability: see ChainConfig.
        chains_together: chains of a component that step at once; memory grows with it, and the
            last bits of the result may change, nothing else. On a CPU 1 is as fast.
        scoring: what may be approximated within a measured error; short lists for large
            vocabularies if None.
        estimator: `two_chain` with the paired baseline if None.
        seed: keys all randomness.
        randomness: replaces the keyed randomness, for comparisons with other packages.

    Raises:
        ValueError: ids of wrong shape or outside the vocabulary, evaluation sequences of another
            context than the sampling sequences, a component that selects nothing or is given
            twice, impossible settings.
        NonFiniteLossError: a chain left the region where the loss is finite.
    """
    if isinstance(sampler, Reweighted) and sampler.also_nbeta:
        raise ValueError(
            f"sampler.also_nbeta is {sampler.also_nbeta}, one nbeta is measured at a time here: "
            "call once for each with the same seed (sampler.at(nbeta)), the draws are then the same"
        )
    resident = GPTNeoX.from_pretrained_model(model)
    sampling = check_ids(resident, sampling_ids, "sampling_ids")
    evaluation = (
        sampling
        if evaluation_ids is None
        else check_ids(resident, evaluation_ids, "evaluation_ids")
    )
    if evaluation.shape[1] != sampling.shape[1]:
        raise ValueError(
            f"evaluation_ids has contexts of {evaluation.shape[1] - 1} tokens and sampling_ids of "
            f"{sampling.shape[1] - 1}: ΔL would be of another distribution than the chains sample"
        )
    inputs = _Inputs(
        model=resident,
        sampler=sampler,
        chain=ChainConfig(
            num_chains=num_chains,
            num_draws=num_draws,
            steps_between_draws=steps_between_draws,
            num_burnin_steps=num_burnin_steps,
            batch_size=batch_size,
            target_reliability=target_reliability,
        ),
        chains_together=chains_together,
        scoring=scoring or ScoringConfig(),
        estimator=estimator or EstimatorConfig(),
        sampling=sampling,
        evaluation=evaluation,
        probe=check_ids(resident, probe_ids, "probe_ids"),
        seed=seed,
        randomness=randomness or KeyedRandomness(seed=seed),
    )
    shape = resident.shape
    chosen = select_components(components, shape.num_layers, shape.num_heads)
    return _measure(inputs, chosen)


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What `susceptibilities` was asked for, checked."""

    model: GPTNeoX
    sampler: Sampler
    chain: ChainConfig
    chains_together: int
    scoring: ScoringConfig
    estimator: EstimatorConfig
    sampling: Tensor
    evaluation: Tensor
    probe: Tensor
    seed: int
    randomness: Randomness


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One group's components, or one of them."""

    sums: dict[str, ChainSums]
    chains: dict[str, list[ComponentChain]]
    pilot: dict[str, PosteriorMoments]


def _measure(inputs: _Inputs, components: Sequence[Component]) -> Result:
    """Chains and scores, of `full` too where the estimator needs it, as columns in their order."""
    kind, resident = inputs.estimator.kind, inputs.model
    groups = group_components(components, with_full=kind.needs_full)
    lists = shortlisting_of(resident, inputs.scoring, inputs.evaluation)
    headroom = loss_headroom(resident, inputs.evaluation)
    measured = {
        group.name: _measure_group(group_model(resident, group), inputs, lists, headroom)
        for group in groups
    }
    sums = {name: found for m in measured.values() for name, found in m.sums.items()}
    offset = 0.0
    if inputs.estimator.baseline is Baseline.UNPAIRED:
        offset = unpaired_offset(
            resident,
            inputs.sampling,
            inputs.evaluation,
            inputs.randomness,
            batch_size=inputs.chain.batch_size,
            num_batches=inputs.estimator.num_baseline_batches,
            num_chains=inputs.chain.num_chains,
        )
    full = sums.get(FULL_GROUP.name)
    columns = {
        c.name: estimate_column(sums[c.name], full, kind, phi_offset=offset) for c in components
    }
    loss = clean_losses(group_model(resident, FULL_GROUP), inputs.probe).float().cpu().numpy()
    return _result(
        columns, measured, full, offset, loss, inputs.probe.cpu().numpy(), inputs.sampler.gamma
    )


def _measure_group(
    part: GroupModel[Any], inputs: _Inputs, lists: TopKFit | None, headroom: float
) -> _Measured:
    """Run all chains of a group, some at a time, and score the probe along each one's draws."""
    pilot = run_pilot(
        part,
        inputs.sampler,
        inputs.evaluation,
        KeyedRandomness(seed=inputs.seed),
        budget=scoring_budget(inputs.model, inputs.scoring.shortlist_size if lists else 0),
        stepping=stepping_budget(inputs.model),
        candidate=lists,
        headroom=headroom,
        config=inputs.chain,
    )
    names = listed_components(inputs.scoring, pilot)
    list_size = inputs.scoring.shortlist_size if lists and names else 0
    passes = Scoring(
        budget=scoring_budget(inputs.model, list_size),
        shortlisting=dataclasses.replace(lists, components=names) if lists and names else None,
    )
    tiles: list[dict[str, TileSums]] = []
    chains: dict[str, list[ComponentChain]] = {name: [] for name in part.names}
    for company in inputs.chain.companies(inputs.chains_together):
        results = run_group_chains(
            part,
            inputs.sampler,
            inputs.chain,
            inputs.sampling,
            inputs.evaluation,
            chains=company,
            randomness=inputs.randomness,
            pilot=pilot,
            scoring=passes,
            stepping=stepping_budget(inputs.model),
        )
        for chain in company:
            result = results.pop(chain)  # its draws may go when it is scored
            for name, found in result.components.items():
                chains[name].append(found)
            scored = ScoredChain(
                draws=result.draws,
                delta_loss={n: c.delta_loss for n, c in result.components.items()},
                weight={n: c.weight for n, c in result.components.items()},
            )
            tiles.append(score_tile(part, {chain: scored}, inputs.probe, scoring=passes))
    sums = {
        name: ChainSums(
            weighted_CN=np.concatenate([tile[name].weighted_CN for tile in tiles]),
            plain_CN=np.concatenate([tile[name].plain_CN for tile in tiles]),
            delta_loss=[c.delta_loss for c in chains[name]],
            weight=[c.weight for c in chains[name]],
        )
        for name in part.names
    }
    return _Measured(sums=sums, chains=chains, pilot=pilot)


def _result(
    columns: dict[str, ColumnEstimate],
    measured: dict[str, _Measured],
    full: ChainSums | None,
    offset: float,
    loss: npt.NDArray[np.float32],
    probe_ids: npt.NDArray[np.int64],
    gamma: float,
) -> Result:
    response_N = (
        full.of_chains(range(full.num_chains)).response_N if full else np.full(loss.size, np.nan)
    )
    chains = {
        name: chain_summary(m.chains[name], m.pilot.get(name), phi_offset=offset)
        for m in measured.values()
        for name in m.chains
    }
    summary = column_summary(
        {name: column.moments for name, column in columns.items()},
        chains,
        centred_reliability(list(columns.values())),
    )
    summary["warnings"] = chain_warnings(chains, gamma)
    for line in summary["warnings"]:
        logger.warning("%s", line)
    for line in summary_lines(summary):
        logger.info("column %s", line)

    def grid(values: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
        return np.stack(values, axis=-1).astype(np.float32).reshape(*loss.shape, len(values))

    return Result(
        components=tuple(columns),
        chi=grid([column.chi_N for column in columns.values()]),
        standard_error=grid([column.standard_error_N for column in columns.values()]),
        num_chains=next(iter(columns.values())).num_chains,
        loss=loss,
        full_response=response_N.astype(np.float32).reshape(loss.shape),
        summary=summary,
        probe_ids=probe_ids,
    )
