"""One token in its context, followed through runs of other models or checkpoints.

Shapes: H components of one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectro.tokens.display.context_text import TokenInContext

Floats = NDArray[np.float64]
LEAST_SHARED = 3
"""Components that two runs must share for a correlation."""


@dataclass(frozen=True, kw_only=True)
class ClusterOfToken:
    """The smallest cluster that has the token."""

    cluster_id: int
    size: int
    stability: float
    """NaN if unknown."""
    shown: str
    """Its name, else its most common y, in the display alphabet."""


@dataclass(frozen=True, kw_only=True)
class TokenOfRun:
    """The token in one run."""

    name: str
    """Of the run."""
    step: int | None
    """Training step of its model; None where it is not known."""
    token_id: int
    """Of the token, in this run."""
    loss: float
    """Nats."""
    components: tuple[str, ...]
    """[H]."""
    x_H: Floats
    """χ in the units asked for; NaN for a column that does not vary."""
    half_width_H: Floats
    """Half width of its 95 % interval, the column's over all tokens; NaN if unknown."""
    has_clusters: bool
    cluster: ClusterOfToken | None
    """None where the token is in none."""
    jaccard_before: float
    """Of its cluster with that in the run before, among the tokens of both; NaN without either."""
    correlation_before: float
    """Of its χ with that in the run before, over components of both; NaN for too few."""


@dataclass(frozen=True, kw_only=True)
class FollowedToken:
    """A column for each run, in the order asked for."""

    token: TokenInContext
    """In the first run."""
    position: int
    """In its sequence."""
    unit: str
    """Of χ."""
    interval: str
    """What the half widths are, of the first run."""
    runs: tuple[TokenOfRun, ...]


def correlation(
    x_H: Floats, components: Sequence[str], x_before: Floats, before: Sequence[str]
) -> float:
    """Pearson correlation of two profiles over the components of both; NaN for fewer than
    `LEAST_SHARED` finite ones, or a constant profile."""
    own = dict(zip(components, x_H.tolist(), strict=True))
    pairs = np.array(
        [
            (own[name], value)
            for name, value in zip(before, x_before.tolist(), strict=True)
            if name in own and np.isfinite(value) and np.isfinite(own[name])
        ]
    )
    if len(pairs) < LEAST_SHARED or np.any(pairs.std(axis=0) == 0):
        return float("nan")
    return float(np.corrcoef(pairs.T)[0, 1])
