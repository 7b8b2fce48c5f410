"""Sentences about columns whose numbers should not be trusted as they are.

They are part of the product's summary, and so of the log, the terminal and the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectro.sampling.pilot.damage import DAMAGED

MOST_NAMED = 6
"""Components that a sentence names; the rest are counted."""

ChainSummaries = Mapping[str, Mapping[str, Any]]
"""Component, `full` among them → `summary.chain_summary`."""


def chain_warnings(chains: ChainSummaries, gamma: float) -> list[str]:
    """Warnings about the chains of a run.

    Args:
        chains: statistics of each component's chains.
        gamma: γ of the run.
    """
    return [*damage_warnings(chains, gamma), *_bias_warnings(chains)]


def damage_warnings(chains: ChainSummaries, gamma: float) -> list[str]:
    """A sentence for every component whose posterior loses half of what the model has learnt."""
    return [
        damage_sentence(name, own["damage"], own["gamma_needed"], gamma)
        for name, own in chains.items()
        if own["damage"] is not None and own["damage"] >= DAMAGED
    ]


def damage_sentence(component: str, damage: float, gamma_needed: float | None, gamma: float) -> str:
    """How far a posterior destroys the model, and the γ that would not."""
    worse = ", above ln V: its responses are those of a destroyed model" if damage >= 1 else ""
    to = "" if gamma_needed is None else f", to about {gamma_needed:.0f}"
    return (
        f"{component}: the mean loss under its posterior is {damage:.0%} of the way from L(w*) to "
        f"a uniform guess{worse}; raise sampler.gamma ({gamma:g}{to})"
    )


def _bias_warnings(chains: ChainSummaries) -> list[str]:
    stepped = {name: own["sampler_bias"] for name, own in chains.items() if _may_be_biased(own)}
    wrong = [
        f"{name} (mean {bias['deviations']:+.1f} posterior deviations, spread {bias['spread']:.1f})"
        for name, bias in stepped.items()
        if bias is not None and bias["matters"]
    ]
    unknown = [
        name
        for name, bias in stepped.items()
        if bias is None or not (bias["matters"] or bias["resolved"])
    ]
    found = []
    if wrong:
        found.append(
            f"sampler bias: chains miss the posterior's ΔL in {_named(wrong)}; take "
            "sampler=mala or reweighted, or lower sampler.step_size"
        )
    if unknown:
        found.append(
            f"sampler bias unknown, or not seen for lack of draws, in {_named(unknown)}; "
            "`spectro diagnose` says why"
        )
    return found


def _may_be_biased(own: Mapping[str, Any]) -> bool:
    return bool(own["sampling"] == "chain")


def _named(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
