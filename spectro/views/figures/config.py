"""What a figure shows of a run: its kind, its settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spectro.analysis.scaling import Scaling
from spectro.views.config import MatrixRows


class Kind(Enum):
    """What a figure shows; each has one sentence of help in it."""

    MAP = "map"
    """The cluster map: tokens in χ-space, clusters as rings above them, regions."""
    CARD = "card"
    """One cluster: profile, tokens, subsets, random members."""
    CLUSTERS = "clusters"
    """Sizes, conductances and stabilities of all clusters, the control's beside them."""
    SAE = "sae"
    """Clusters against features of an autoencoder: shares over thresholds, null, best matches."""
    MATRIX = "matrix"
    """The response matrix as a heat map."""
    AXES = "axes"
    """Principal axes: explained variance, loadings, tokens at both ends."""
    SHIFT = "shift"
    """Data shift: the response of every component to more of each subset, with errors."""
    SCATTER = "scatter"
    """χ of two components, token by token."""
    SPREAD = "spread"
    """Quantiles of χ over each set of tokens, component by component."""
    CONTROL = "control"
    """Every column against that of the nβ = 0 control: reliability and deviation."""
    MOVED = "moved"
    """What the posterior moves: χ less that of the nβ = 0 control, with errors; which tokens."""
    TRACES = "traces"
    """ΔL along the draws of every chain, with a verdict."""
    RHAT = "rhat"
    """R̂ and effective draws of every component."""
    RELIABILITY = "reliability"
    """Reliability of the columns against the number of draws."""
    TEXT = "text"
    """A sequence of the run, each token in the colours of its χ."""
    ACROSS = "across"
    """One token in several runs: its clusters in each."""


class ThemeName(Enum):
    """Light or dark."""

    LIGHT = "light"
    """On white."""
    DARK = "dark"
    """On black."""


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """What a figure shows of a run. Nothing here changes a number.

    Raises ValueError if a number is below its least useful value.
    """

    kind: Kind = Kind.MAP
    """`map`, `card`, `clusters`, `sae`, `matrix`, `axes`, `shift`, `scatter`, `spread`, `control`,
    `moved`, `traces`, `rhat`, `reliability`, `text` or `across`."""
    theme: ThemeName = ThemeName.LIGHT
    """`light` or `dark`."""
    cluster_id: int = 0
    """Which cluster (card); 0 is the largest."""
    sequence_id: int = 0
    """Which sequence (text)."""
    token: str = ""
    """Text of the token (across); white space around it is ignored unless · ⏎ ⇥ stand for it."""
    others: tuple[str, ...] = ()
    """Runs beside this one (across)."""
    autoencoder: str = ""
    """Which match (sae), by a part of its hook or its model's name; empty: the best."""
    components: tuple[str, ...] = ()
    """Two names (scatter) or some (spread; none: those of highest reliability × deviation); names
    or patterns (traces, rhat, reliability, text; none: all)."""
    rows: MatrixRows = MatrixRows.SUBSETS
    """Sets of tokens (matrix, shift, spread): `subsets`, `clusters` or `patterns`."""
    scaling: Scaling = Scaling.STANDARDISED
    """Units (matrix, axes, shift, scatter, spread): `raw` (nats²), `standardised`, or `centred`:
    standardised, less the mean of each row, which takes the uniform mode away."""
    max_rows: int = 24
    """Clusters that are rows, largest first; components whose traces are drawn, worst first."""
    num_axes: int = 3
    """Principal axes that are drawn."""
    num_tokens: int = 5
    """Tokens at either end of an axis (axes), and half as many as are named (moved)."""
    num_contexts: int = 14
    """Random members on a card."""
    max_points: int = 12000
    """Tokens drawn on the map (of clusters first, the rest is background) and as a scatter."""
    seed: int = 0
    """Key of what is drawn by chance: members, points, the layout."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no figure."""
        may_be_zero = ("cluster_id", "sequence_id", "num_contexts", "seed")
        at_least_one = ("max_rows", "num_axes", "num_tokens", "max_points")
        for low, names in enumerate((may_be_zero, at_least_one)):
            for name in names:
                if (value := getattr(self, name)) < low:
                    raise ValueError(f"{name} must be at least {low}, found {value}")
