"""Fast engines, the universal engine and devinterp 2.0.1 on small models of several families.

    python -m benchmarks.engines --clock processor --out benchmarks/results

For a head, an MLP and the embedding of each model: seconds of stepping, of ΔL and of scoring, all
sides alternating in one run, with the flops that each takes. Same weights, tokens, draws, steps and
update rule (`psgld`), exact losses, float32; the unrestricted chain, which χ needs once for all
components, is left out on all sides. Models are random: time asks no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import spectro.models.attention_only  # noqa: F401 - registers the type
from benchmarks import common, meter
from benchmarks.engine_side import EXACT, Engine
from benchmarks.peer_side import Peer
from benchmarks.shapes import ids_of
from benchmarks.work import EVALUATING, PHASES, SCORING, STEPPING, Work
from spectro.models.engine import engine_of
from spectro.sampling.pilot import pilot_sizes
from spectro.sampling.samplers import Psgld
from spectro.susceptibility.estimator import EstimatorKind

FAST, UNIVERSAL, PEER = "fast", "universal", "devinterp"
FAMILIES = ("gpt_neox", "gpt2", "llama", "attention_only")
SIZES = {"small": (4, 128, 4, 2048), "toy": (2, 32, 2, 61)}
"""Layers, width, heads and vocabulary."""
TOGETHER = "together"


def model_of(family: str, shape: str) -> PreTrainedModel:
    """A random model; keys and values are not shared, so that a head is the same on all sides."""
    num_layers, width, num_heads, vocab_size = SIZES[shape]
    fields: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
    }
    if family not in ("gpt2", "attention_only"):
        fields["intermediate_size"] = 4 * width
    torch.manual_seed(0)
    return (
        AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **fields))
        .eval()
        .requires_grad_(False)
    )


def masks_of(model: PreTrainedModel, name: str) -> dict[str, torch.Tensor | None]:
    """Parameter → which of its entries a component moves, as devinterp takes it."""
    engine = engine_of(model)
    found: dict[str, torch.Tensor | None] = {}
    for part in engine.blocks(engine.shape.select([name])[0]).values():
        if not part.index:
            found[part.parameter] = None
            continue
        empty = torch.zeros(engine.params[part.parameter].shape, dtype=torch.bool)
        mask = found.get(part.parameter)
        mask = empty if mask is None else mask
        mask[part.index] = True
        found[part.parameter] = mask
    return found


def work_of(model: PreTrainedModel, name: str, options: Any) -> Work:
    """What all sides are asked for, of one component."""
    splits = ids_of(
        model,
        options.shape,
        sampling=8 * options.batch,
        evaluation=options.batch,
        probe=options.probe,
        context=options.context,
    )
    return Work(
        model=model,
        splits=splits,
        components=[name],
        sampler=Psgld(gamma=300.0, nbeta=3.0, step_size=1e-3),
        num_chains=1,
        num_draws=options.draws,
        steps_between_draws=options.steps,
        batch_size=options.batch,
    )


def measure(model: PreTrainedModel, name: str, options: Any) -> dict[str, Any]:
    """Ratios of seconds to the fast engine's, with seconds and flops by phase."""
    work, masks = work_of(model, name, options), masks_of(model, name)
    engines = {
        side: Engine(scoring=EXACT, kind=EstimatorKind.RESTRICTED, universal=side == UNIVERSAL)
        for side in (FAST, UNIVERSAL)
    }
    with mock.patch.object(pilot_sizes, "NUM_JUDGING_DRAWS", 4):
        pilots = engines[FAST].pilots(work)
    runs: dict[str, Any] = {
        side: (lambda clock, own=engine: own(work, clock, pilots=pilots))
        for side, engine in engines.items()
    }
    runs[PEER] = lambda clock: Peer().one_component(work, masks, clock)
    flops = {side: _phases(meter.count_flops(run)) for side, run in runs.items()}
    seconds = common.alternate(
        {
            side: lambda run=run: _phases(meter.timed(run, options.device, options.clock))
            for side, run in runs.items()
        },
        options.rounds,
    )
    return {
        "ratios": {
            side: {
                phase: common.ratio(
                    [found[phase] for found in seconds[side]],
                    [found[phase] for found in seconds[FAST]],
                )
                for phase in (*PHASES, TOGETHER)
            }
            for side in (UNIVERSAL, PEER)
        },
        "seconds": seconds,
        "flops": flops,
    }


def _phases(found: dict[str, float]) -> dict[str, float]:
    """The phases that all sides have, and their sum."""
    own = {phase: found.get(phase, 0.0) for phase in (STEPPING, EVALUATING, SCORING)}
    return {**own, TOGETHER: sum(own.values())}


def components_of(model: PreTrainedModel) -> list[str]:
    """A head and the MLP of a layer in the middle, and the embedding."""
    layer = model.config.num_hidden_layers // 2
    mlp = [] if model.config.model_type == "attention_only" else [f"l{layer}mlp"]
    return [f"l{layer}h1", *mlp, "embed"]


def options_of(arguments: Sequence[str] | None = None) -> Any:
    """Sizes of which all sides do a component in seconds."""
    found = common.parser(__doc__, [name for name in SIZES if name != "toy"])
    found.set_defaults(shape="small")
    found.add_argument("--context", type=int, default=64)
    found.add_argument("--batch", type=int, default=4, help="sequences of a minibatch")
    found.add_argument("--probe", type=int, default=8, help="sequences measured")
    found.add_argument("--draws", type=int, default=8)
    found.add_argument("--steps", type=int, default=2, help="from draw to draw")
    found.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    found.add_argument(
        "--clock",
        choices=meter.CLOCKS,
        default=meter.WALL,
        help="processor: seconds that the system gave to this process, where others load it",
    )
    options = common.parse(found, arguments)
    if options.toy:
        options.context, options.batch, options.probe = 8, 2, 4
        options.draws, options.steps = 2, 1
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    options = options_of(arguments)
    models = {}
    for family in options.families:
        model = model_of(family, options.shape)
        models[family] = {name: measure(model, name, options) for name in components_of(model)}
        for name, found in models[family].items():
            for side, ratios in found["ratios"].items():
                for phase, ratio in ratios.items():
                    print(common.show(f"{family} {name}, {phase}: {side} over fast", ratio))
    result = {
        "question": "time of the universal engine and of devinterp over that of the fast engine, "
        "alternating in one run",
        "models": models,
    }
    common.write("engines", options, result)


if __name__ == "__main__":
    main()
