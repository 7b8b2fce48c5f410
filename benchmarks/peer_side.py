"""devinterp's whole measurement with its phases metered.

The only file of the benchmarks that knows how it is called.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from transformers import PreTrainedModel

import spectro
from benchmarks.meter import OTHER, Meter
from benchmarks.replayed import peer_masks
from benchmarks.work import BASELINE, EVALUATING, SCORING, STEPPING, Work
from spectro.models.engine import engine_of
from spectro.sampling.reweighted import Sampler

PEER_SEED = 100


def _cross_entropy(model: Any, ids_BT1: torch.Tensor) -> torch.Tensor:
    """The loss that a user who wants speed would hand to the peer: [B, T]."""
    logits = model(ids_BT1[:, :-1], return_dict=False, use_cache=False)[0]
    targets = ids_BT1[:, 1:].reshape(-1)
    losses = functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
    return losses.view(len(ids_BT1), -1)


LOSSES: dict[str, Callable[..., torch.Tensor] | None] = {
    "own": None,
    "cross_entropy": _cross_entropy,
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """devinterp with the settings that its search found."""

    micro_batch: int | None = None
    """Its one batch size, of minibatches and scoring alike; gradients accumulate to the work's
    batch size. None: the work's batch size itself."""
    loss: str = "own"
    """A name of LOSSES."""
    folder: Path = field(
        default_factory=lambda: Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
    )
    """Where it writes its losses: memory, where there is such a folder."""

    def __call__(self, work: Work, meter: Meter | None = None) -> npt.NDArray[np.floating]:
        """χ by devinterp, [tokens, components in the order of `work`]."""
        from devinterp.slt.susceptibilities import susceptibilities

        masks = _masks(work.model, work.components)
        work.model.requires_grad_(True)
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            _peer_phases(meter),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            tree = susceptibilities(
                work.model,
                _dataset(work.splits.sampling),
                self._observables(work),
                {**masks, "full": None},
                sampling_task="evaluation",
                output_path=Path(folder) / "samples.zarr",
                **self._settings(work),
            )
            chi = tree["susceptibilities"]["sus"].load()
        work.model.requires_grad_(False)
        columns = [list(chi.coords["wr"].values).index(name) for name in work.components]
        return _in_our_order(np.asarray(chi.values)[:, columns], len(work.splits.probe))

    def one_component(self, work: Work, masks: Any, meter: Meter | None = None) -> None:
        """Draws and losses of one component, without the unrestricted chain that χ needs.

        Args:
            work: what is asked for.
            masks: parameter → which of its entries move, bool; None: all.
            meter: of the phases.
        """
        from devinterp.slt.sampling import sample

        work.model.requires_grad_(True)
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            _peer_phases(meter),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            sample(
                work.model,
                _dataset(work.splits.sampling),
                self._observables(work),
                param_masks=masks,
                output_path=Path(folder) / "samples.zarr",
                **self._settings(work),
            )
        work.model.requires_grad_(False)

    def _observables(self, work: Work) -> dict[str, Any]:
        micro = self.micro_batch or work.batch_size
        splits = {"evaluation": work.splits.evaluation, "probe": work.splits.probe}
        return {name: (_dataset(ids), len(ids) // micro) for name, ids in splits.items()}

    def _settings(self, work: Work) -> dict[str, Any]:
        micro = self.micro_batch or work.batch_size
        return {
            "num_chains": work.num_chains,
            "num_draws": work.num_draws,
            "num_steps_bw_draws": work.steps_between_draws,
            "num_burnin_steps": work.num_burnin_steps,
            "batch_size": micro,
            "gradient_accumulation_steps": work.batch_size // micro,
            "num_init_loss_batches": work.num_baseline_batches,
            "init_seed": PEER_SEED + 1000 * work.seed,
            "device": work.device,
            "loss_fn": LOSSES[self.loss],
            **_peer_sampler(work.sampler),
        }


def _in_our_order(chi_NH: npt.NDArray[np.floating], num_seq: int) -> npt.NDArray[np.floating]:
    """Undo the peer's shuffle of the sequences measured."""
    from devinterp.slt.observables import DeterministicShuffledSampler

    order = list(DeterministicShuffledSampler(range(num_seq), num_seq, seed=1337))
    found = np.empty_like(chi_NH).reshape(num_seq, -1, chi_NH.shape[1])
    found[order] = chi_NH.reshape(found.shape)
    return found.reshape(chi_NH.shape)


def _peer_sampler(sampler: Sampler) -> dict[str, Any]:
    common = {"n_beta": sampler.nbeta, "localization": sampler.gamma}
    match sampler:
        case spectro.Psgld():
            return {
                **common,
                "lr": sampler.step_size,
                "sampling_method": "rmsprop_sgld",
                "rmsprop_eps": sampler.damping,
                "rmsprop_alpha": sampler.alpha,
            }
        case spectro.Sgld():
            return {**common, "lr": sampler.step_size, "sampling_method": "sgmcmc_sgld"}
    raise ValueError(f"devinterp has no {type(sampler).__name__}")


def _masks(model: PreTrainedModel, names: Sequence[str]) -> dict[str, Any]:
    engine = engine_of(model)
    chosen = engine.shape.select(names)
    return {own.name: peer_masks(model, own, engine.blocks(own)) for own in chosen}


def _dataset(ids: torch.Tensor) -> Any:
    import datasets

    return datasets.Dataset.from_dict({"input_ids": ids.tolist()}).with_format("torch")


@contextmanager
def _peer_phases(meter: Meter | None) -> Iterator[None]:
    if meter is None:
        yield
        return
    from devinterp.slt import sampler, sampling
    from devinterp.slt.observables import Observable

    compute_loss = Observable.compute_loss

    def by_observable(self: Any, model: Any) -> Any:
        with meter.phase(SCORING if self.obs_id == "probe" else EVALUATING):
            return compute_loss(self, model)

    chain = _as_phase(meter, STEPPING, sampling.sample_single_chain)
    baseline = _as_phase(meter, BASELINE, sampling._write_init_loss)
    # once per chain, however long it is: no part of what a step costs
    collect = _as_phase(meter, OTHER, sampler._gc_and_empty_cache)
    with (
        mock.patch.object(sampling, "sample_single_chain", chain),
        mock.patch.object(sampling, "_write_init_loss", baseline),
        mock.patch.object(sampler, "deepcopy", _as_phase(meter, OTHER, sampler.deepcopy)),
        mock.patch.object(sampler, "_gc_and_empty_cache", collect),
        mock.patch.object(Observable, "compute_loss", by_observable),
    ):
        yield


def _as_phase(meter: Meter, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def metered(*arguments: Any, **options: Any) -> Any:
        with meter.phase(name):
            return call(*arguments, **options)

    return metered
