"""The whole measurement in one process, without Ray: `spectro.susceptibilities`.

It is made of the same functions as the distributed jobs: `run_chain`, `score_tile`,
`estimate_column`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from spectro.models.components import FULL_GROUP, Group, group_components, select_components
from spectro.models.delta import clean_losses
from spectro.models.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.sampling.baseline import unpaired_offset
from spectro.sampling.chain import ChainConfig, run_chain
from spectro.sampling.keys import KeyedRandomness, Randomness
from spectro.sampling.samplers import Sampler
from spectro.susceptibility.estimator import (
    Baseline,
    ChainSums,
    EstimatorConfig,
    EstimatorKind,
)
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    centred_reliability,
    estimate_column,
    gelman_rubin,
    reliability,
)
from spectro.susceptibility.score import score_tile

if TYPE_CHECKING:
    import xarray

logger = logging.getLogger(__name__)
Ids = Tensor | npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Susceptibilities of every token of N sequences; T tokens each, H components."""

    components: tuple[str, ...]
    """Names of the columns."""
    chi: npt.NDArray[np.float32]
    """χ, [N, T, H], nats². Column t belongs to the token y = ids[t+1] in context ids[:t+1]."""
    standard_error: npt.NDArray[np.float32]
    """Jackknife standard error of χ over chains, [N, T, H]; NaN with one chain."""
    reliability: npt.NDArray[np.float64]
    """Split-half reliability per column, [H]; NaN with one chain."""
    centred_reliability: npt.NDArray[np.float64]
    """The same after standardising columns and centring rows, as clustering sees them, [H]."""
    loss: npt.NDArray[np.float32]
    """ℓ(w*), [N, T], nats."""
    full_response: npt.NDArray[np.float32]
    """B_i = E_full[Δℓ_i − ΔL], [N, T], nats; NaN without unrestricted chains."""
    mean_phi: npt.NDArray[np.float64]
    """E_C[φ] per column, [H], nats."""
    rhat: npt.NDArray[np.float64]
    """R̂ of ΔL over chains per column, [H]; NaN with one chain."""
    probe_ids: npt.NDArray[np.int64]
    """The sequences measured, [N, T+1]."""

    def to_parquet(self, uri: str) -> str:
        """Write the product of design §5 under a folder or URI; returns the object's path.

        `subset` is "probe" for every token; reliability and the rest stand in the schema's
        metadata. Raises FileExistsError if the folder holds a product already.
        """
        from spectro.storage import product
        from spectro.storage.fs import Store

        num_sequences = len(self.probe_ids)
        rows = product.ShardRows(
            ids_nT1=self.probe_ids,
            sequence_id_n=np.arange(num_sequences),
            subset_n=np.zeros(num_sequences, dtype=np.int16),
            subset_names=("probe",),
            loss_N=self.loss.reshape(-1),
            full_response_N=self.full_response.reshape(-1),
            chi_NH=self.chi.reshape(-1, len(self.components)),
        )
        summary = {
            "components": list(self.components),
            "num_tokens": self.loss.size,
            "reliability": _numbers(self.reliability),
            "centred_reliability": _numbers(self.centred_reliability),
            "mean_phi": _numbers(self.mean_phi),
            "rhat": _numbers(self.rhat),
        }
        digest = hashlib.sha256(self.chi.tobytes()).hexdigest()
        table = product.shard_table(rows, self.components, f"in-process:{digest}", summary)
        store = Store(uri)
        store.put(product.part_name(0), product.to_bytes(table))
        return f"{store.uri}/{product.part_name(0)}"

    def to_xarray(self) -> xarray.Dataset:
        """The result as a labelled dataset (needs the package xarray)."""
        import xarray

        token = ("sequence", "position")
        return xarray.Dataset(
            {
                "chi": ((*token, "component"), self.chi),
                "standard_error": ((*token, "component"), self.standard_error),
                "loss": (token, self.loss),
                "full_response": (token, self.full_response),
                "token": (token, self.probe_ids[:, 1:]),
                "reliability": ("component", self.reliability),
                "centred_reliability": ("component", self.centred_reliability),
                "mean_phi": ("component", self.mean_phi),
                "rhat": ("component", self.rhat),
            },
            coords={"component": list(self.components)},
        )


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
    steps_between_draws: int = 1,
    num_burnin_steps: int = 0,
    batch_size: int = 16,
    estimator: EstimatorConfig | None = None,
    seed: int = 0,
    randomness: Randomness | None = None,
) -> Result:
    """Measure the susceptibility of every component to every token of the probe sequences.

    Args:
        model: a GPT-NeoX model; its weights are w* and are not changed.
        sampling_ids: int64 [M, T+1], sequences of the model's training distribution: minibatches
            of the chains are taken from them.
        probe_ids: int64 [N, T+1], the sequences measured.
        sampler: `spectro.Psgld(...)`, `Exponential`, `Sgld` or `Gaussian`.
        components: names or patterns: `l0h0`, `l*mlp`, `embed`, `unembed`, `*` for all.
        evaluation_ids: int64 [E, T+1], fixed sequences on which ΔL is taken; the sampling
            sequences if None.
        num_chains, num_draws, steps_between_draws, num_burnin_steps, batch_size: see ChainConfig.
        estimator: `two_chain` with the paired baseline if None.
        seed: keys all randomness.
        randomness: replaces the keyed randomness, for comparisons with other packages.

    Raises:
        ValueError: ids of wrong shape or outside the vocabulary, a component that selects
            nothing, impossible settings.
        NonFiniteLossError: a chain left the region where the loss is finite.
    """
    resident = GPTNeoX.from_pretrained_model(model)
    estimator = estimator or EstimatorConfig()
    chains = ChainConfig(
        num_chains=num_chains,
        num_draws=num_draws,
        steps_between_draws=steps_between_draws,
        num_burnin_steps=num_burnin_steps,
        batch_size=batch_size,
    )
    shape = resident.shape
    chosen = select_components(components, shape.num_layers, shape.num_heads)
    sampling = check_ids(resident, sampling_ids, "sampling_ids")
    probe = check_ids(resident, probe_ids, "probe_ids")
    evaluation = (
        sampling
        if evaluation_ids is None
        else check_ids(resident, evaluation_ids, "evaluation_ids")
    )
    source = randomness or KeyedRandomness(seed=seed)
    groups = group_components(chosen)
    if estimator.kind is EstimatorKind.TWO_CHAIN:
        groups = (*groups, FULL_GROUP)
    sums: dict[str, ChainSums] = {}
    for group in groups:
        sums |= _group_sums(resident, group, sampler, chains, sampling, evaluation, probe, source)
    offset = 0.0
    if estimator.baseline is Baseline.UNPAIRED:
        offset = unpaired_offset(
            resident,
            sampling,
            evaluation,
            source,
            batch_size=batch_size,
            num_batches=estimator.num_baseline_batches,
            num_chains=num_chains,
        )
    full = sums.pop("full", None)
    columns = {
        name: estimate_column(own, full, estimator.kind, phi_offset=offset)
        for name, own in sums.items()
    }
    loss = clean_losses(group_model(resident, FULL_GROUP), probe)
    return _result(columns, sums, full, offset, loss.float().cpu().numpy(), probe.cpu().numpy())


def check_ids(model: GPTNeoX, ids: Ids, name: str) -> Tensor:
    """Token sequences as int64 [n, T+1] on the model's device.

    Raises ValueError for a wrong shape or type, no sequence, a context longer than the model's,
    or ids outside the vocabulary.
    """
    tensor = torch.as_tensor(ids)
    if tensor.dtype not in (torch.int64, torch.int32, torch.int16) or tensor.dim() != 2:
        raise ValueError(
            f"{name} must be integers of shape [sequences, T+1], "
            f"found {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    num_seq, length = tensor.shape
    if num_seq == 0 or length < 2:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: expected at least one sequence of at least "
            "two tokens (a context and a target)"
        )
    if length - 1 > model.shape.max_context:
        raise ValueError(
            f"{name} has contexts of {length - 1} tokens; the model was built for at most "
            f"{model.shape.max_context}"
        )
    low, high = int(tensor.min()), int(tensor.max())
    if low < 0 or high >= model.shape.vocab_size:
        raise ValueError(
            f"{name} has token ids from {low} to {high}, the model's vocabulary is 0 to "
            f"{model.shape.vocab_size - 1}: were they made by another tokenizer?"
        )
    return tensor.to(device=model.device, dtype=torch.int64)


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """JSON has no NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _group_sums(
    model: GPTNeoX,
    group: Group,
    sampler: Sampler,
    config: ChainConfig,
    sampling: Tensor,
    evaluation: Tensor,
    probe: Tensor,
    source: Randomness,
) -> dict[str, ChainSums]:
    """Run all chains of a group and score the probe along their draws."""
    results = [
        run_chain(
            model, group, sampler, config, sampling, evaluation, chain=c, seed=0, randomness=source
        )
        for c in range(config.num_chains)
    ]
    names = [component.name for component in group.components]
    delta_loss = {n: np.stack([result.delta_loss[n] for result in results]) for n in names}
    tile = score_tile(model, group, [result.draws for result in results], delta_loss, probe)
    logger.info("group %s: %d chains of %d draws scored", group.name, *delta_loss[names[0]].shape)
    return {
        n: ChainSums(
            weighted_CN=tile[n].weighted_CN,
            plain_CN=tile[n].plain_CN,
            delta_loss_CT=delta_loss[n],
        )
        for n in names
    }


def _result(
    columns: dict[str, ColumnEstimate],
    sums: dict[str, ChainSums],
    full: ChainSums | None,
    offset: float,
    loss: npt.NDArray[np.float32],
    probe_ids: npt.NDArray[np.int64],
) -> Result:
    num_chains = len(next(iter(sums.values())).delta_loss_CT)
    response_N = (
        full.of_chains(range(num_chains)).response_N if full else np.full(loss.size, np.nan)
    )

    def grid(values: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
        return np.stack(values, axis=-1).astype(np.float32).reshape(*loss.shape, len(values))

    return Result(
        components=tuple(columns),
        chi=grid([column.chi_N for column in columns.values()]),
        standard_error=grid([column.standard_error_N for column in columns.values()]),
        reliability=np.array([reliability(column.moments) for column in columns.values()]),
        centred_reliability=centred_reliability(list(columns.values())),
        loss=loss,
        full_response=response_N.astype(np.float32).reshape(loss.shape),
        mean_phi=np.array([own.delta_loss_CT.mean() + offset for own in sums.values()]),
        rhat=np.array([gelman_rubin(own.delta_loss_CT) for own in sums.values()]),
        probe_ids=probe_ids,
    )
