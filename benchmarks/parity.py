"""Do both sides compute the same χ? Asked at a toy size before any time is believed.

devinterp's noise and data order are replayed into the engine's chains (replayed.py), as in
`tests/peers`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import spectro
from benchmarks.engine_side import EXACT, Engine
from benchmarks.peer_side import PEER_SEED, Peer
from benchmarks.replayed import Replayed
from benchmarks.shapes import Splits
from benchmarks.work import Work

COMPONENTS = ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed", "unembed"]
TOLERANCE = 1e-4
"""Of a column's standard deviation; float32 sums in another order differ by less."""
VOCAB, CONTEXT, BATCH = 53, 12, 4


class ParityError(RuntimeError):
    """The sides disagree: their times say nothing."""


def check_parity() -> float:
    """Largest difference of χ over components, in standard deviations of their columns.

    Raises ParityError where it is above TOLERANCE.
    """
    work = _toy_work()
    theirs = Peer(micro_batch=BATCH // 2)(work)
    error = _difference(replayed_chi(work), theirs)
    _require(error, "devinterp and the engine")
    timed = Engine(scoring=EXACT)(work).chi
    _require(_difference(timed, _public(work)), "the engine and what is timed of it")
    return error


def replayed_chi(work: Work) -> npt.NDArray[np.floating]:
    """χ as a user gets it with devinterp's noise, data order and baseline, and the exact loss."""
    randomness = Replayed.of(
        work.model,
        work.components,
        num_sequences=len(work.splits.sampling),
        batch_size=work.batch_size,
        seed=PEER_SEED,
    )
    unpaired = spectro.EstimatorConfig(
        baseline=spectro.Baseline.UNPAIRED, num_baseline_batches=work.num_baseline_batches
    )
    return _public(work, randomness=randomness, estimator=unpaired, scoring=EXACT)


def _public(work: Work, **options: Any) -> npt.NDArray[np.floating]:
    """χ as a user gets it, [tokens, components in the order of the work]."""
    found = spectro.susceptibilities(
        work.model,
        work.splits.sampling,
        work.splits.probe,
        evaluation_ids=work.splits.evaluation,
        sampler=work.sampler,
        components=work.components,
        num_chains=work.num_chains,
        num_draws=work.num_draws,
        steps_between_draws=work.steps_between_draws,
        num_burnin_steps=work.num_burnin_steps,
        batch_size=work.batch_size,
        seed=work.seed,
        **options,
    )
    return found.chi.reshape(-1, len(work.components))


def _difference(ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]) -> float:
    return float((np.abs(ours - theirs).max(axis=0) / theirs.std(axis=0)).max())


def _require(error: float, sides: str) -> None:
    if not error < TOLERANCE:
        raise ParityError(
            f"χ of {sides} differs by {error:.2g} of a column's standard deviation "
            f"(at most {TOLERANCE} expected): time says nothing where results differ"
        )


def toy_model() -> GPTNeoXForCausalLM:
    """A random model of two layers; weights large enough that components differ."""
    torch.manual_seed(1)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(config).eval()


def toy_ids(**num_sequences: int) -> dict[str, torch.Tensor]:
    """Random sequences of each split, [S, T + 1]."""
    stream = torch.Generator().manual_seed(7)
    return {
        name: torch.randint(VOCAB, (number, CONTEXT + 1), generator=stream)
        for name, number in num_sequences.items()
    }


def _toy_work() -> Work:
    return Work(
        model=toy_model(),
        splits=Splits(**toy_ids(sampling=24, evaluation=8, probe=12)),
        components=COMPONENTS,
        sampler=spectro.Psgld(gamma=30.0, nbeta=10.0, step_size=1e-4, damping=0.01, alpha=0.9),
        num_chains=2,
        num_draws=5,
        num_burnin_steps=2,
        batch_size=BATCH,
        num_baseline_batches=5,
    )
