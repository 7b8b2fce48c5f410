"""How many sets are recognisable by their names, against random sets.

A set is recognisable if its name predicts who is in it: F1 on held-out sequences of at least
RECOGNISABLE. A name is beyond chance if its AUC is larger than those of 95 % of random sets' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.naming.name_sets import SetName

RECOGNISABLE = 0.5
"""Least F1 of a name on held-out sequences."""
LEAST_HELD_OUT = 5
"""Least members in the held-out sequences, to judge a name."""
CHANCE_QUANTILE = 0.95
CURVE = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""Values of F1 at which shares are given."""
NO_CHANCE = 0.5
"""AUC of a name that says nothing, where there are no random sets."""


def judged_f1(names: Sequence[SetName]) -> NDArray[np.float64]:
    """F1 of those with enough held-out members."""
    return np.array([n.score.f1 for n in names if n.score.num_members >= LEAST_HELD_OUT])


def chance_auc(random: Sequence[SetName]) -> float:
    """The AUC that 95 % of the random sets' names do not exceed."""
    found = [n.score.auc for n in random if 0 < n.score.num_members < n.score.num_tokens]
    return float(np.quantile(found, CHANCE_QUANTILE)) if found else NO_CHANCE


def summary_of_names(
    names: Sequence[SetName], random: Sequence[SetName], same_y: Sequence[SetName]
) -> dict[str, Any]:
    """Plain JSON types: shares of recognisable sets, of all and of random ones; None: not known."""
    f1 = judged_f1(names)
    return {
        "threshold": RECOGNISABLE,
        "least_held_out": LEAST_HELD_OUT,
        "sets": len(names),
        "judged": int(f1.size),
        "recognisable": int((f1 >= RECOGNISABLE).sum()),
        "median_f1": _median(f1),
        "chance_auc": chance_auc(random),
        "random": _by_chance(judged_f1(random)),
        "same_y": _by_chance(judged_f1(same_y)),
        "curve": {
            "f1": list(CURVE),
            "sets": _shares(f1),
            "random": _shares(judged_f1(random)),
            "same_y": _shares(judged_f1(same_y)),
        },
    }


def _by_chance(f1: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "judged": int(f1.size),
        "recognisable": int((f1 >= RECOGNISABLE).sum()),
        "median_f1": _median(f1),
    }


def _shares(f1: NDArray[np.float64]) -> list[float] | None:
    """Share of the judged sets with at least this F1, along the curve."""
    return [float((f1 >= least).mean()) for least in CURVE] if f1.size else None


def _median(f1: NDArray[np.float64]) -> float | None:
    return float(np.median(f1)) if f1.size else None
