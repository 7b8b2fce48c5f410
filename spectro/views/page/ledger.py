"""What a run did and what it took, as its own records say it: plain values for the page."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage of one part of a run."""

    part: str
    """`posterior` or `control`."""
    stage: str
    """As progress shows it."""
    num_units: int
    """Units of work, as counted from what was done."""
    planned_flops: int
    """By the plan, before anything was spent."""
    done_flops: int
    """Of the draws that were really made."""
    seconds: float | None
    """Of all devices together, as the units recorded it; None where they record none."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The records of a run."""

    facts: tuple[tuple[str, str], ...] = ()
    """(label, value) in order: versions, seeds, draws, hours."""
    stages: tuple[StageCost, ...] = ()
    """In the order of their work, the posterior's first; empty where the records are not there."""
    missing: tuple[str, ...] = ()
    """What the records do not have, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "facts": [list(fact) for fact in self.facts],
            "stages": [
                [s.part, s.stage, s.num_units, s.planned_flops, s.done_flops]
                + [None if s.seconds is None else float(f"{s.seconds:.4g}")]
                for s in self.stages
            ],
            "missing": list(self.missing),
        }
