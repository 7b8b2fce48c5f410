"""Verdicts on a component's chains, and findings with evidence and remedy."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Verdict on a component's chains, worst first."""

    NOT_FINITE = "is not a number"
    DESTROYED = "destroys the model"
    STUCK = "does not move"
    SPIKES = "spikes"
    DISAGREE = "chains disagree"
    DRIFTS = "drifts"
    FALLS = "falls below the trained loss"
    BIASED = "misses the exact posterior"
    COLLAPSED = "weights collapse"
    DAMAGED = "loses half of what the model knows"
    REMEMBERS = "draws repeat each other"
    BIAS_UNKNOWN = "sampler bias unknown"
    TOO_SHORT = "too few draws to say"
    LITTLE_SIGNAL = "too little signal"
    LEVELS = "rises and levels"
    INDEPENDENT = "independent draws: nothing to converge"

    @property
    def is_good(self) -> bool:
        return self in (Verdict.LEVELS, Verdict.INDEPENDENT)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule that applies."""

    verdict: Verdict
    evidence: str
    change: str
    """Remedy, naming the setting."""
