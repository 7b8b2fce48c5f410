"""Is it faster to step all chains of a group at once? Whole chains of few draws, alternating.

    python -m benchmarks.together --shape shipped [--device cuda] [--out benchmarks/results]

For every kind of group, and for small and large minibatches: time of all chains one after the
other over their time together, so that more than 1 means that together is faster. Draws have no
part in it: one per chain, evaluated on one sequence.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import common, shapes
from spectro.models.components import FULL_GROUP, Group
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.sampling.chain import GroupChains
from spectro.sampling.config import ChainConfig
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.samplers import Exponential


def groups_of(model: GPTNeoX) -> list[Group]:
    """Embedding, a middle and the top layer, unembedding, all weights."""
    shape = model.shape
    layers = [f"l{layer}*" for layer in sorted({shape.num_layers // 2, shape.num_layers - 1})]
    return [*shape.groups(["embed", *layers, "unembed"], with_full=False), FULL_GROUP]


def steps_of(
    model: GPTNeoX,
    group: Group,
    ids: shapes.Splits,
    batch: int,
    *,
    chain_batches: list[list[int]],
    options: Any,
) -> Callable[[], float]:
    """Seconds that all batches of chains take, one after the other."""
    part, device = group_model(model, group), model.device
    config = ChainConfig(
        num_chains=options.chains,
        num_draws=1,
        num_burnin_steps=options.steps - 1,
        steps_between_draws=1,
        batch_size=batch,
    )

    def run() -> float:
        start = time.perf_counter()
        for chains in chain_batches:
            GroupChains(
                part=part,
                sampler=Exponential(gamma=30.0, nbeta=10.0, step_size=3e-3),
                config=config,
                sampling_ids=ids.sampling.to(device),
                evaluation_ids=ids.evaluation.to(device),
                randomness=KeyedRandomness(seed=0),
            ).run(chains)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return run


def main() -> None:
    """Measure, print, and write the dated result."""
    parser = common.parser(__doc__, shapes.NAMES)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    options = common.parse(parser)
    if options.toy:
        options.steps, options.batches, options.context = 2, [1], 16
    hf_model = shapes.model_of(options.shape, options.device)
    model = GPTNeoX.from_pretrained_model(hf_model)
    ids = shapes.ids_of(
        hf_model,
        options.shape,
        sampling=max(16, *options.batches),
        evaluation=1,
        probe=1,
        context=options.context,
    )
    found: dict[str, Any] = {}
    every = list(range(options.chains))
    for batch in options.batches:
        for group in groups_of(model):
            make = functools.partial(steps_of, model, group, ids, batch, options=options)
            sides = {
                "apart": make(chain_batches=[[c] for c in every]),
                "together": make(chain_batches=[every]),
            }
            common.alternate(sides, 1)  # the first of everything is slow
            seconds = common.alternate(sides, options.rounds)
            ratio = common.ratio(seconds["apart"], seconds["together"])
            name = f"{group.name}, minibatches of {batch}"
            found[name] = {"seconds": seconds, "apart_over_together": ratio}
            print(common.show(name, ratio), flush=True)
    question = "time of all chains one after the other over their time together"
    common.write(f"together-{options.shape}", options, {"question": question, "cases": found})


if __name__ == "__main__":
    main()
