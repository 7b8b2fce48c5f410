"""Do both sides compute the same χ? Asked at a toy size before any time is believed.

devinterp's noise (torch's global generator, one normal tensor per whole parameter and step) and
its data order (a seeded DataLoader) are replayed into the engine's chains, so that what is left
to differ is arithmetic; as in `tests/peers`, on the CPU, for its generator is not that of CUDA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

import spectro
from benchmarks.engine_side import EXACT, Engine
from benchmarks.peer_side import PEER_SEED, Peer
from benchmarks.shapes import Splits
from benchmarks.work import Work

COMPONENTS = ["l0h1", "l1h0", "l0mlp", "l1mlp", "embed", "unembed"]
TOLERANCE = 1e-4
"""Of a column's standard deviation; float32 sums in another order differ by less."""
VOCAB, CONTEXT, BATCH = 53, 12, 4


class ParityError(RuntimeError):
    """The sides disagree: their times say nothing."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """devinterp's noise and data order, as a `Randomness`."""

    model: GPTNeoXForCausalLM
    epoch: list[Tensor]
    streams: dict[tuple[str, int], torch.Generator]

    def minibatch(self, chain: int, step: int, num_sequences: int, batch_size: int) -> Tensor:
        """The same for every chain."""
        return self.epoch[step % len(self.epoch)]

    def noise(
        self, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Drawn for whole parameters, then cut down to the component's blocks."""
        stream = self.streams.setdefault(
            (component, chain), torch.Generator().manual_seed(PEER_SEED + chain)
        )
        noise = {
            name: torch.normal(0.0, 1.0, size=parameter.shape, generator=stream)
            for name, parameter in self.model.named_parameters()
            if _is_drawn(component, name)
        }
        return _blocks(component, noise, self.model.config.num_attention_heads)


def _is_drawn(component: str, parameter: str) -> bool:
    """Whether devinterp draws noise of a parameter for a component."""
    if component == "full":
        return True
    if component == "embed":
        return parameter == "gpt_neox.embed_in.weight"
    if component == "unembed":
        return parameter == "lm_head.weight"
    if parameter.endswith("attention.dense.bias"):
        return False
    part = "mlp" if component.endswith("mlp") else "attention"
    return parameter.startswith(f"gpt_neox.layers.{component[1]}.{part}.")


def _blocks(component: str, noise: dict[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    if component == "full":
        return noise
    values = list(noise.values())
    if component in ("embed", "unembed"):
        return {"weight": values[0]}
    if component.endswith("mlp"):
        return dict(zip(("up_weight", "up_bias", "down_weight", "down_bias"), values, strict=True))
    head, size = int(component.split("h")[1]), len(values[2]) // num_heads
    rows = slice(3 * size * head, 3 * size * (head + 1))
    return {
        "qkv_weight": values[0][rows],
        "qkv_bias": values[1][rows],
        "dense_weight": values[2][:, size * head : size * (head + 1)],
    }


def check_parity() -> float:
    """Largest difference of χ over components, in standard deviations of their columns.

    Raises ParityError where it is above TOLERANCE.
    """
    work = _toy_work()
    order: DataLoader[Tensor] = DataLoader(
        range(len(work.splits.sampling)),  # type: ignore[arg-type]
        batch_size=BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(PEER_SEED),
        drop_last=True,
    )
    replayed = Replayed(model=work.model, epoch=list(order), streams={})
    theirs = Peer(micro_batch=BATCH // 2)(work)
    unpaired = spectro.EstimatorConfig(
        baseline=spectro.Baseline.UNPAIRED, num_baseline_batches=work.num_baseline_batches
    )
    error = _difference(_public(work, randomness=replayed, estimator=unpaired), theirs)
    _require(error, "devinterp and the engine")
    timed = Engine(scoring=EXACT)(work).chi
    _require(_difference(timed, _public(work)), "the engine and what is timed of it")
    return error


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


def _toy_work() -> Work:
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
    stream = torch.Generator().manual_seed(7)
    counts = {"sampling": 24, "evaluation": 8, "probe": 12}
    ids = {n: torch.randint(VOCAB, (c, CONTEXT + 1), generator=stream) for n, c in counts.items()}
    return Work(
        model=GPTNeoXForCausalLM(config).eval(),
        splits=Splits(**ids),
        components=COMPONENTS,
        sampler=spectro.Psgld(gamma=30.0, nbeta=10.0, step_size=1e-4, damping=0.01, alpha=0.9),
        num_chains=2,
        num_draws=5,
        num_burnin_steps=2,
        batch_size=BATCH,
        num_baseline_batches=5,
    )
