"""The same draws, steps, tokens and arithmetic precision on both sides: time and flops by phase.

ratio of times = (flops of the peer / flops of the engine)         arithmetic saved
               × (flops per second of the engine / of the peer)    efficiency

The engine is measured three times: with the exact loss, with top-K lists as a user gets them, and
with these and gradients from a sample of the vocabulary, which the published sampler has not. Its
pilot is no part of the work, for the peer has none: its time is reported apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import columns, common, meter
from benchmarks.engine_side import Engine, Measured
from benchmarks.peer_side import Peer
from benchmarks.work import BASELINE, EVALUATING, PHASES, PILOT, SCORING, STEPPING, Work

Amounts = dict[str, float]
ENGINE, LISTED, PEER = "engine", "engine_lists", "devinterp"
SAMPLED = "engine_sampled"
"""As LISTED, with gradients from a sample of the vocabulary: not the same draws."""
TOGETHER, WHOLE, PUBLISHED = "together", "whole_call", "published_proportions"
PARTS = (*PHASES, TOGETHER, WHOLE, PUBLISHED)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one draw costs at Gordon et al. 2026 (Pythia-14M), in the units measured here."""

    steps_per_draw: int = 55
    sequences_per_step: int = 16
    sequences_scored: int = 13 * 59
    """785 K tokens of 1024 each; here counted in sequences of the context measured."""

    def of_draw(self, seconds: Mapping[str, float], work: Work) -> float:
        """Seconds of one draw of all components: every phase is linear in what it does.

        Evaluation keeps its measured size; the published one is not known.
        """
        num_steps = work.num_chains * (
            work.num_burnin_steps + (work.num_draws - 1) * (work.steps_between_draws or 1) + 1
        )
        step = seconds[STEPPING] / num_steps * self.sequences_per_step / work.batch_size
        score = seconds[SCORING] * self.sequences_scored / len(work.splits.probe)
        return step * self.steps_per_draw + (seconds[EVALUATING] + score) / work.all_draws


def find_micro_batch(
    peer: Peer, work: Work, device: str, kind: str = meter.WALL
) -> tuple[Peer, dict[str, float]]:
    """The peer's best batch size on one step, one draw and two components; seconds by size."""
    small = dataclasses.replace(
        work, num_chains=1, num_draws=1, components=[work.components[0], work.components[-1]]
    )
    whole = math.gcd(work.batch_size, len(work.splits.evaluation), len(work.splits.probe))
    sizes = [size for size in _divisors(whole) if size * 16 >= work.batch_size]
    sides = {
        str(size): lambda size=size: _whole_call(
            dataclasses.replace(peer, micro_batch=size), small, device, kind
        )
        for size in sizes
    }
    seconds = {size: min(found) for size, found in common.alternate(sides, 1).items()}
    best = min(seconds, key=lambda size: seconds[size])
    return dataclasses.replace(peer, micro_batch=int(best)), seconds


def measure(
    work: Work,
    peer: Peer,
    engines: Mapping[str, Engine],
    rounds: int,
    device: str,
    *,
    peer_draws: int,
    kind: str = meter.WALL,
) -> dict[str, Any]:
    """All sides alternating, after one pilot that all of ours share.

    Flops are counted first, which warms the sides up. The peer goes draw by draw, so that its
    phases are linear in draws: it is timed over fewer of them, counted over one.

    Args:
        work: what all are asked for.
        peer: devinterp.
        engines: our sides by name; `ENGINE` takes the exact loss.
        rounds: alternations.
        device: of the clock.
        peer_draws: over which the peer is timed, per chain.
        kind: of clock, see `meter.seconds_reader`.
    """
    last: dict[str, Measured] = {}

    def ours(name: str, clock: meter.Meter) -> None:
        last[name] = engines[name](work, clock, pilots=pilots)

    clock = meter.Meter(meter.seconds_reader(device, kind))
    pilots = list(engines.values())[-1].pilots(work, clock)
    pilot_seconds = clock.close()[PILOT]
    fewer = dataclasses.replace(work, num_draws=min(peer_draws, work.num_draws))
    one_draw = dataclasses.replace(work, num_chains=1, num_draws=1)
    runs: dict[str, Callable[[meter.Meter], Any]] = {PEER: lambda m: peer(fewer, m)}
    runs |= {name: (lambda m, name=name: ours(name, m)) for name in engines}
    flops = {name: meter.count_flops(runs[name]) for name in engines}
    flops[PEER] = _longer(meter.count_flops(lambda m: peer(one_draw, m)), one_draw, work)
    sides = {side: (lambda run=run: meter.timed(run, device, kind)) for side, run in runs.items()}
    seconds = common.alternate(sides, rounds)
    seconds[PEER] = [_longer(found, fewer, work) for found in seconds[PEER]]
    times = {side: [_with_sums(found, work) for found in seconds[side]] for side in sides}
    counted = {side: _with_sums(found, work) for side, found in flops.items()}
    return {
        "work": _described(work),
        "peer_draws_timed": fewer.num_draws,
        "peer_micro_batch": peer.micro_batch,
        "peer_loss": peer.loss,
        "engines": {
            name: {"settings": repr(engines[name]), "components": found.components}
            for name, found in last.items()
        },
        "error_of_chi_from_lists": _errors(work, last),
        "pilot_seconds": pilot_seconds,
        **_compared(list(engines), times, counted),
    }


def _compared(
    engines: Sequence[str], times: Mapping[str, list[Amounts]], counted: Mapping[str, Amounts]
) -> dict[str, Any]:
    """Ratios of every part, with the times and flops that they are made of."""
    return {
        "ratios": {
            name: {part: _ratios(name, part, times, counted) for part in PARTS} for name in engines
        },
        "seconds": times,
        "flops": counted,
        "flops_per_second": {
            side: {part: _rate(counted[side][part], times[side], part) for part in (*PHASES, WHOLE)}
            for side in times
        },
    }


def _longer(found: Amounts, short: Work, work: Work) -> Amounts:
    """The peer's amounts at more draws and chains; what it does once per chain grows with these."""
    draws, chains = work.all_draws / short.all_draws, work.num_chains / short.num_chains
    return {p: amount * (draws if p in PHASES else chains) for p, amount in found.items()}


def _errors(work: Work, found: Mapping[str, Measured]) -> dict[str, Any] | None:
    """Along the same draws: steps take the exact loss in any case."""
    if LISTED not in found:
        return None
    by_column = columns.errors(found[LISTED].chi, found[ENGINE].chi, work.components)
    used = [name for name, facts in found[LISTED].components.items() if facts["from_lists"]]
    return {
        "components_from_lists": used,
        "columns": by_column,
        "mind": "random weights have a flat softmax: most of the probability lies outside the "
        "lists and all tokens are alike, so this error says little about trained weights",
    }


def _ratios(
    name: str, part: str, times: Mapping[str, Sequence[Amounts]], counted: Mapping[str, Amounts]
) -> Any:
    """Ratio of times of a part, and what of it is arithmetic saved and what is efficiency."""
    found = common.ratio([t[part] for t in times[PEER]], [t[part] for t in times[name]])
    if found is None:
        return None
    theirs, ours = counted[PEER][part], counted[name][part]
    saved = theirs / ours if ours else None
    return {
        **found,
        "arithmetic_saved": saved,
        "efficiency": found["median"] / saved if saved else None,
    }


def _with_sums(found: Amounts, work: Work) -> Amounts:
    phases = {phase: found.get(phase, 0.0) for phase in (*PHASES, BASELINE, meter.OTHER)}
    return {
        **phases,
        TOGETHER: sum(phases[phase] for phase in PHASES),
        WHOLE: sum(phases.values()),
        PUBLISHED: Published().of_draw(phases, work),
    }


def _rate(flops: float, times: Sequence[Amounts], part: str) -> float | None:
    """At the least disturbed round."""
    seconds = min(found[part] for found in times)
    return flops / seconds if seconds else None


def _whole_call(peer: Peer, work: Work, device: str, kind: str) -> float:
    return sum(meter.timed(lambda m: peer(work, m), device, kind).values())


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _described(work: Work) -> dict[str, Any]:
    return {
        "components": [*work.components, "full"],
        "sampler": repr(work.sampler),
        "num_chains": work.num_chains,
        "num_draws": work.num_draws,
        "steps_between_draws": work.steps_between_draws,
        "batch_size": work.batch_size,
        "context": work.splits.probe.shape[1] - 1,
        "sequences": {
            name: len(getattr(work.splits, name)) for name in ("sampling", "evaluation", "probe")
        },
    }


def show(result: Mapping[str, Any]) -> str:
    """A few lines."""
    lines = [
        common.show(f"same work, {name}, {part}", found)
        for name, by_part in result["ratios"].items()
        for part, found in by_part.items()
    ]
    lines.append(f"pilot: {result['pilot_seconds']:.3g} s, not in these")
    if errors := result["error_of_chi_from_lists"]:
        found = [errors["columns"][name] for name in errors["columns"]]
        worst = {key: max(column[key] for column in found) for key in found[0]}
        worst_errors = ", ".join(
            f"{key.replace('_', ' ')} {value:.1e}" for key, value in worst.items()
        )
        lines.append(
            f"lists for {', '.join(errors['components_from_lists'])}; worst χ: {worst_errors}"
        )
        lines.append(f"mind: {errors['mind']}")
    return "\n".join(lines)
