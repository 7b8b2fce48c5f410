"""What an equally reliable result costs on each side (shipped model only).

The reliability r of a column is the correlation over tokens between two independent
measurements (other seeds throughout, the unrestricted chain included), after standardising
columns and taking off each row's mean, as clusters see them. Over n draws it grows as
Spearman–Brown says, r(n) = n q / (1 + n q) with q = r / (n (1 − r)) of the n draws measured:
q is reliability per draw, and the draws that a reliability r* needs are n* = r* / ((1 − r*) q).

    seconds for r* = n* × seconds per draw + the pilot's        ratio = the peer's / the engine's

Seconds per draw are those of the phases measured in the same run, the peer alternating with the
engine, put together linearly in two proportions of stepping and scoring:
    published    as many sequences scored as Pythia-14M was measured on (`same_work.Published`)
    own          the sequences scored here
In both the peer takes 55 steps of 16 sequences for a draw, as published, and the engine what its
chains took.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

import spectro
from benchmarks import meter
from benchmarks.columns import centred
from benchmarks.engine_side import EXACT, Engine, Measured
from benchmarks.peer_side import Peer
from benchmarks.same_work import Published
from benchmarks.work import EVALUATING, PHASES, PILOT, SCORING, STEPPING, Work
from spectro.sampling.reweighted import Sampler

FloatArray = npt.NDArray[np.float64]
Chi = npt.NDArray[np.floating]
PEER = "devinterp"
COMMON_RELIABILITY = 0.9
TIMED_DRAWS = 2
"""Of the peer, one step each, in every round."""
EXTRAPOLATED = (
    "draws for the common reliability, by Spearman–Brown from the draws measured",
    "seconds of steps and of scoring, linearly from the sizes measured to those asked for",
    "the peer's burn-in is left out of its cost, ours is in it: both favour the peer",
    "evaluation keeps its measured number of sequences on both sides",
)


def our_sampler(name: str, gamma: float, nbeta: float, step_size: float) -> Sampler:
    """The engine's sampler by name: `reweighted`, or `exponential` with a step."""
    if name == "reweighted":
        return spectro.Reweighted(gamma=gamma, nbeta=nbeta)
    return spectro.Exponential(gamma=gamma, nbeta=nbeta, step_size=step_size)


def published_sampler(gamma: float, nbeta: float) -> Sampler:
    """Gordon et al. 2026 for Pythia-14M (γ 300, nβ 3, α 0.99, ε 1e-5), and devinterp's own a = 0.1.

    Under another γ, ε·γ stays as published: steps between draws then forget as much of w*. The
    sources give 1e-5 as ε in one place and as a in another (design.md §2); as a, the step
    diverges at γ = 300.
    """
    return spectro.Psgld(
        gamma=gamma, nbeta=nbeta, step_size=1e-5 * 300.0 / gamma, alpha=0.99, damping=0.1
    )


def measure(
    our_work: Work,
    peer: Peer,
    engines: Mapping[str, Engine],
    *,
    replicates: int,
    peer_draws: int,
    peer_steps: int,
    peer_itself: bool,
    device: str,
) -> dict[str, Any]:
    """Reliability and cost per draw of both sides.

    Args:
        our_work, peer: sizes, with the engine's sampler, draws and chains; devinterp.
        engines: the engine's choices by name.
        replicates: independent measurements of each side, and rounds of timing.
        peer_draws: draws of each of the peer's measurements, one chain each.
        peer_steps: from one of these draws to the next; twice as many are its burn-in.
        peer_itself: whether devinterp makes its draws for the reliability; else the engine runs
            devinterp's sampler (the same computation, see parity). Costs are always devinterp's.
        device: of the clock.
    """
    theirs = _peer_work(our_work, peer_draws, peer_steps)
    timed = dataclasses.replace(
        theirs, num_draws=TIMED_DRAWS, steps_between_draws=1, num_burnin_steps=0
    )
    chi: dict[str, list[Chi]] = {side: [] for side in (PEER, *engines)}
    seconds: dict[str, list[dict[str, float]]] = {side: [] for side in chi}
    facts: dict[str, Measured] = {}
    for seed in range(replicates):
        seeded = dataclasses.replace(theirs, seed=seed)
        chi[PEER].append(peer(seeded) if peer_itself else Engine(scoring=EXACT)(seeded).chi)
        seconds[PEER].append(meter.timed(lambda m: peer(timed, m), device))
        for name, engine in engines.items():
            clock = meter.Meter(meter.seconds_reader(device))
            facts[name] = engine(dataclasses.replace(our_work, seed=seed), clock)
            seconds[name].append(clock.close())
            chi[name].append(facts[name].chi)
    reliability = {
        side: _side(found, theirs.all_draws if side == PEER else our_work.all_draws)
        for side, found in chi.items()
    }
    return {
        "formula": "seconds = r / ((1 - r) q) * seconds per draw + pilot; q = r / (n (1 - r))",
        "common_reliability": COMMON_RELIABILITY,
        **_compared(our_work, timed, list(engines), reliability, seconds),
        "phases": seconds,
        "engines": {
            name: {"settings": repr(engine), "components": facts[name].components}
            for name, engine in engines.items()
        },
        "peer_draws_made_by": PEER if peer_itself else "engine, devinterp's sampler",
        "published": dataclasses.asdict(Published()),
        "extrapolated": EXTRAPOLATED,
        "agreement_corrected_for_reliability": {
            name: dict(zip(our_work.components, _agreement(chi[PEER], chi[name]), strict=True))
            for name in engines
        },
    }


def _peer_work(our_work: Work, num_draws: int, num_steps: int) -> Work:
    """Draws of one chain of the published sampler, so many steps apart, after twice as many."""
    return dataclasses.replace(
        our_work,
        sampler=published_sampler(our_work.sampler.gamma, our_work.sampler.nbeta),
        num_chains=1,
        num_draws=num_draws,
        steps_between_draws=num_steps,
        num_burnin_steps=2 * num_steps,
    )


def _compared(
    our_work: Work,
    timed: Work,
    engines: Sequence[str],
    reliability: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, Sequence[Mapping[str, float]]],
) -> dict[str, Any]:
    """Ratios of the sides' seconds for the common reliability, and what they are made of."""
    costs = {
        proportions: {
            side: [
                _peer_cost(s, timed, scored) if side == PEER else _our_cost(s, our_work, scored)
                for s in seconds[side]
            ]
            for side in seconds
        }
        for proportions, scored in (
            ("published", Published().sequences_scored),
            ("own", len(our_work.splits.probe)),
        )
    }
    pilots = {side: [found.get(PILOT, 0.0) for found in s] for side, s in seconds.items()}
    return {
        "ratios": {
            name: {
                proportions: _ratios(name, reliability, cost, pilots, our_work.components)
                for proportions, cost in costs.items()
            }
            for name in engines
        },
        "reliability": reliability,
        "draws_for_it": {side: _draws(_of_mean(found)) for side, found in reliability.items()},
        "seconds_per_draw": costs,
        "pilot_seconds": pilots,
    }


def _peer_cost(seconds: Mapping[str, float], timed: Work, scored: int) -> float:
    return dataclasses.replace(Published(), sequences_scored=scored).of_draw(seconds, timed)


def _our_cost(seconds: Mapping[str, float], work: Work, scored: int) -> float:
    """Seconds per draw, with the steps that were taken; all phases but scoring as measured."""
    found = {phase: seconds.get(phase, 0.0) for phase in PHASES}
    score = found[SCORING] * scored / len(work.splits.probe)
    return (found[STEPPING] + found[EVALUATING] + score) / work.all_draws


def _ratios(
    name: str,
    reliability: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, Sequence[float]],
    pilots: Mapping[str, Sequence[float]],
    components: Sequence[str],
) -> dict[str, Any]:
    """Of the mean reliability, round by round; and of each column."""

    def seconds(side: str, per_draw: FloatArray | float, round_: int | None = None) -> Any:
        cost, pilot = (
            np.median(found) if round_ is None else found[round_]
            for found in (costs[side], pilots[side])
        )
        return _draws(per_draw) * cost + pilot

    mean = {side: _of_mean(reliability[side]) for side in (PEER, name)}
    rounds = [
        float(seconds(PEER, mean[PEER], i) / seconds(name, mean[name], i))
        for i in range(len(costs[name]))
    ]
    columns = {side: np.array(reliability[side]["per_draw"]) for side in (PEER, name)}
    by_column = seconds(PEER, columns[PEER]) / seconds(name, columns[name])
    return {
        "median": float(np.median(rounds)),
        "min": min(rounds),
        "max": max(rounds),
        "rounds": rounds,
        "seconds": {side: float(seconds(side, q)) for side, q in mean.items()},
        "by_column": dict(zip(components, by_column.tolist(), strict=True)),
    }


def _draws(per_draw: Any) -> Any:
    """That the common reliability needs."""
    return COMMON_RELIABILITY / (1 - COMMON_RELIABILITY) / per_draw


def _of_mean(found: Mapping[str, Any]) -> float:
    return _per_draw(found["mean"], found["draws"])


def _side(chis: Sequence[Chi], draws: int) -> dict[str, Any]:
    """Reliability of each column over pairs of replicates, with the standard error of the mean."""
    views = [centred(chi) for chi in chis]
    by_pair = np.array([(a * b).mean(axis=0) for a, b in combinations(views, 2)])
    columns = by_pair.mean(axis=0)
    return {
        "draws": draws,
        "columns": columns.tolist(),
        "mean": float(columns.mean()),
        "mean_by_pair": by_pair.mean(axis=1).tolist(),
        "per_draw": [_per_draw(r, draws) for r in columns],
    }


def _per_draw(reliability: float, draws: int) -> float:
    """q of Spearman–Brown; NaN where nothing reliable was found."""
    if not 0 < reliability < 1:
        return float("nan")
    return reliability / (draws * (1 - reliability))


def _agreement(first: Sequence[Chi], second: Sequence[Chi]) -> list[float]:
    """Correlation of the sides' columns over √(r r'): 1 where they measure the same thing."""
    a, b = [centred(chi) for chi in first], [centred(chi) for chi in second]
    across = np.mean([(x * y).mean(axis=0) for x in a for y in b], axis=0)
    within = [
        np.mean([(x * y).mean(axis=0) for x, y in combinations(views, 2)], axis=0)
        for views in (a, b)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: list[float] = (across / np.sqrt(within[0] * within[1])).tolist()
    return found


def show(result: dict[str, Any]) -> str:
    """A few lines."""
    lines = []
    for name, by_proportions in result["ratios"].items():
        for proportions, found in by_proportions.items():
            label = f"same result, {name}, {proportions} proportions"
            lines.append(
                f"{label:58} {found['median']:8.1f}   ({found['min']:.1f} – {found['max']:.1f})"
            )
    for side, found in result["reliability"].items():
        seconds = {p: np.median(cost[side]) for p, cost in result["seconds_per_draw"].items()}
        lines.append(
            f"  {side:22} reliability {found['mean']:.3f} with {found['draws']} draws, "
            f"{result['draws_for_it'][side]:.0f} for {COMMON_RELIABILITY}; s per draw: "
            + ", ".join(f"{p} {value:.3g}" for p, value in seconds.items())
        )
    return "\n".join(lines)
