"""This engine and devinterp 2.0.1 on the same model, alternating in one run.

    python -m benchmarks.peer --shape 14m --out benchmarks/results
    python -m benchmarks.peer --shape shipped --out benchmarks/results

Same work: the same components, draws, gradient steps, tokens and precision, with the exact loss
and with top-K lists (same_work.py). Same result, for the shipped model: the cost of an equal
reliability (same_result.py). Before any of it both must give the same χ at a toy size (parity.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
from collections.abc import Sequence
from typing import Any
from unittest import mock

from benchmarks import common, meter, same_result, same_work, shapes
from benchmarks.engine_side import EXACT, Engine
from benchmarks.parity import check_parity
from benchmarks.peer_side import LOSSES
from benchmarks.peer_side import Peer as PeerSide
from benchmarks.work import Work
from spectro.models.config import Precision, ScoringConfig
from spectro.sampling.pilot import pilot_sizes

PRECISIONS = (Precision.FLOAT32.value, Precision.BFLOAT16.value)


def options_of(arguments: Sequence[str] | None = None) -> Any:
    """Sizes are those that both sides do in minutes; ratios by phase do not depend on them."""
    found = common.parser(__doc__, shapes.NAMES)
    _add_work_options(found)
    _add_side_options(found)
    _add_result_options(found)
    options = common.parse(found, arguments)
    options.gamma = options.gamma or _usual_gamma(options)
    if options.toy:
        options.context, options.batch, options.probe, options.evaluation = 16, 2, 4, 2
        options.draws, options.timed_peer_draws, options.rounds = 4, 2, 1
        options.vocabulary_sample = min(options.vocabulary_sample, 8)
        options.replicates, options.peer_draws, options.our_draws = 2, 2, 4
        options.result_probe, options.result_context = 8, 16
    return options


def _add_work_options(found: argparse.ArgumentParser) -> None:
    found.add_argument("--context", type=int, default=128)
    found.add_argument("--chains", type=int, default=1)
    found.add_argument("--draws", type=int, default=16, help="lists are amortised over them")
    found.add_argument(
        "--timed-peer-draws",
        type=int,
        default=4,
        help="of them, over which devinterp is timed: it goes draw by draw, its time is linear",
    )
    found.add_argument("--batch", type=int, default=2, help="sequences of a minibatch")
    found.add_argument("--probe", type=int, default=4, help="sequences measured")
    found.add_argument("--evaluation", type=int, default=2, help="sequences of the evaluation set")
    found.add_argument(
        "--components",
        nargs="+",
        help="names or patterns; by default the middle layer's, embed and unembed, for the shipped "
        "model a head and the MLP of three layers, embed and unembed",
    )
    found.add_argument(
        "--gamma", type=float, help="by default as published, 300; shipped: 30, see ADR 004"
    )
    found.add_argument("--nbeta", type=float, default=3.0)


def _add_side_options(found: argparse.ArgumentParser) -> None:
    found.add_argument(
        "--profile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="profile one draw of each side too",
    )
    found.add_argument(
        "--peer-loss",
        choices=list(LOSSES),
        default="own",
        help="devinterp's own loss, or torch's cross-entropy given as its loss_fn: without its "
        "check of all logits",
    )
    found.add_argument(
        "--lists",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure a third side too, with top-K lists as a user gets them",
    )
    found.add_argument(
        "--vocabulary-sample",
        type=int,
        default=1024,
        help="S of a fourth side: lists, and gradients from a sample of the vocabulary; 0: none",
    )
    found.add_argument(
        "--pilot-draws",
        type=int,
        default=pilot_sizes.NUM_PILOT_DRAWS,
        help="of the pilot, which is not in the times; a run of the published sampler takes 128",
    )
    found.add_argument(
        "--clock",
        choices=meter.CLOCKS,
        default=meter.WALL,
        help="processor: seconds that the system gave to this process, where others load it",
    )
    found.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of our products in the same work; the peer's are float32",
    )


def _add_result_options(found: argparse.ArgumentParser) -> None:
    result = found.add_argument_group("same result (shape shipped)")
    result.add_argument("--sampler", choices=["reweighted", "exponential"], default="reweighted")
    result.add_argument("--step-size", type=float, default=1e-2, help="where it steps")
    result.add_argument("--burnin", type=int, default=3, help="steps, where it steps")
    result.add_argument(
        "--result-precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS)
    )
    result.add_argument("--replicates", type=int, default=2)
    result.add_argument("--peer-draws", type=int, default=4, help="per replicate")
    result.add_argument("--our-chains", type=int, default=2)
    result.add_argument("--our-draws", type=int, default=16, help="per chain and replicate")
    result.add_argument("--result-probe", type=int, default=64, help="sequences measured")
    result.add_argument("--result-context", type=int, default=32)
    result.add_argument(
        "--peer-itself",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="devinterp makes its own draws for the reliability too, not the engine for it",
    )


def _usual_gamma(options: Any) -> float:
    return 30.0 if options.shape == shapes.SHIPPED else 300.0


def work_of(options: Any, *, for_result: bool = False) -> Work:
    """What both sides are asked for."""
    model = shapes.model_of(options.shape, options.device)
    batch = 16 if for_result and not options.toy else options.batch
    splits = shapes.ids_of(
        model,
        options.shape,
        sampling=8 * batch,
        evaluation=options.evaluation,
        probe=options.result_probe if for_result else options.probe,
        context=options.result_context if for_result else options.context,
    )
    return Work(
        model=model,
        splits=splits,
        components=shapes.components_of(model, options.shape, options.components),
        sampler=same_result.published_sampler(options.gamma, options.nbeta),
        num_chains=options.chains,
        num_draws=options.draws,
        batch_size=batch,
        num_baseline_batches=max(1, len(splits.evaluation) // batch),
    )


def measure_same_work(work: Work, options: Any) -> dict[str, Any]:
    """Search, then measure."""
    start = PeerSide(loss=options.peer_loss)
    peer, search = same_work.find_micro_batch(start, work, options.device, options.clock)
    engines = engines_of(work, options)
    with mock.patch.object(pilot_sizes, "NUM_JUDGING_DRAWS", options.pilot_draws):
        found = same_work.measure(
            work,
            peer,
            engines,
            options.rounds,
            options.device,
            peer_draws=options.timed_peer_draws,
            kind=options.clock,
        )
    return {
        **found,
        "lists": _lists(options, engines),
        "peer_search_seconds": search,
        "profiles": profiles_of(work, peer, engines, options.device) if options.profile else None,
    }


def engines_of(work: Work, options: Any) -> dict[str, Engine]:
    """Our sides: the exact loss, and top-K lists where a user would get them."""
    precision = Precision(options.precision)
    found = {same_work.ENGINE: Engine(scoring=EXACT, precision=precision)}
    if options.lists:
        # at the vocabulary of the self-test no list would be short
        scoring = ScoringConfig(shortlist_size=4) if options.toy else ScoringConfig()
        if scoring.uses_top_k(work.model.config.vocab_size):
            found[same_work.LISTED] = Engine(scoring=scoring, precision=precision)
            if options.vocabulary_sample:
                found[same_work.SAMPLED] = dataclasses.replace(
                    found[same_work.LISTED], vocabulary_sample=options.vocabulary_sample
                )
    return found


def _lists(options: Any, engines: dict[str, Engine]) -> str:
    if same_work.LISTED in engines:
        return "measured beside the exact loss"
    return "the vocabulary is too small for them" if options.lists else "not asked for"


def profiles_of(
    work: Work, peer: PeerSide, engines: dict[str, Engine], device: str
) -> dict[str, Any]:
    """Where the time of each side goes, over one draw."""
    short = dataclasses.replace(work, num_chains=1, num_draws=1)
    pilots = list(engines.values())[-1].pilots(short)
    runs = {name: (lambda e=engine: e(short, pilots=pilots)) for name, engine in engines.items()}
    runs[same_work.PEER] = lambda: peer(short)
    return {name: meter.top_operations(run, device) for name, run in runs.items()}


def measure_same_result(options: Any) -> dict[str, Any]:
    """The peer's batch size at the sizes of the result, then both sides."""
    work = work_of(options, for_result=True)
    start = PeerSide(loss=options.peer_loss)
    peer, search = same_work.find_micro_batch(start, work, options.device, options.clock)
    ours = same_result.our_sampler(options.sampler, options.gamma, options.nbeta, options.step_size)
    found = same_result.measure(
        dataclasses.replace(
            work,
            sampler=ours,
            num_chains=options.our_chains,
            num_draws=options.our_draws,
            steps_between_draws=None,
            num_burnin_steps=options.burnin,
        ),
        peer,
        {
            f"{options.sampler} {precision}": Engine(precision=Precision(precision))
            for precision in options.result_precision
        },
        replicates=options.replicates,
        peer_draws=options.peer_draws,
        peer_steps=3 if options.toy else same_work.Published().steps_per_draw,
        peer_itself=options.peer_itself,
        device=options.device,
    )
    return {
        **found,
        "sampler": repr(ours),
        "peer_sampler": repr(work.sampler),
        "peer_micro_batch": peer.micro_batch,
        "peer_search_seconds": search,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, measure, print, and write if asked."""
    options = options_of(arguments)
    gc.freeze()  # and again with what only the peer imports
    parity = check_parity()
    gc.freeze()  # the peer collects garbage around every chain: not all of this process' modules
    print(f"parity: χ agrees to {parity:.1e} of a column's standard deviation")
    result: dict[str, Any] = {
        "question": "time of devinterp over time of this engine, alternating in one run",
        "parity_error": parity,
        "same_work": measure_same_work(work_of(options), options),
    }
    print(same_work.show(result["same_work"]))
    if options.shape in (shapes.SHIPPED, "toy"):
        result["same_result"] = measure_same_result(options)
        print(same_result.show(result["same_result"]))
    common.write(_name(options), options, result)


def _name(options: Any) -> str:
    """Of the result: what is not as usual is in it."""
    parts = [f"peer-{options.shape}"]
    parts += [] if options.precision == "float32" else [options.precision]
    parts += [] if options.lists else ["exact"]
    parts += [] if options.gamma == _usual_gamma(options) else [f"gamma{options.gamma:g}"]
    parts += [] if options.peer_loss == "own" else [options.peer_loss.replace("_", "-")]
    return "-".join(parts)


if __name__ == "__main__":
    main()
