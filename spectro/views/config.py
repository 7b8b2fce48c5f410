"""Choices that several views share: rows of a matrix, scales of colour, themes, kinds of file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

MAX_ROWS = 24
"""Clusters that are rows unless more are asked for: what a page has room for."""
THEMES = ("light", "dark")
"""Names of the themes, in the order of their blocks in the page's style."""
SUFFIXES = (".svg", ".pdf", ".png")
"""Endings of files that hold a figure."""


class MatrixRows(Enum):
    """What the rows of the matrix are."""

    SUBSETS = "subsets"
    """The subsets of the text."""
    CLUSTERS = "clusters"
    """The largest clusters."""
    PATTERNS = "patterns"
    """Pattern types of tokens (`analysis/patterns.py`)."""


class ColourScale(Enum):
    """What is coloured."""

    STANDARDISED = "standardised"
    """By the column's mean and deviation over the run."""
    CENTRED = "centred"
    """The same, less the mean of all components."""
    RAW = "raw"
    """As measured."""


class DataUnit(Enum):
    """What gets a weight."""

    SEQUENCES = "sequences"
    """Every sequence."""
    TOKENS = "tokens"
    """Every token in its context."""
    CLUSTERS = "clusters"
    """The tokens of a cluster (in several: the smallest), and those outside all."""
    SUBSETS = "subsets"
    """The subsets of the text."""
    PATTERNS = "patterns"
    """Tokens of the same pattern types: weights that any other text can be given too."""


MAX_SHIFT = 1e6
"""Limit on a wanted shift; weights reach shifts of the order of one."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A wanted shift of the responses; exactly one of the first four is given.

    Below zero a component expresses more, as in `spectro matrix`.
    """

    components: dict[str, float] = field(default_factory=dict)
    """Component, or a pattern such as `l1h*` → shift in standard deviations; the others are to
    stay."""
    axis: int | None = None
    """Principal axis of the responses of all tokens, from 1, in the direction of its loading."""
    pattern: str | None = None
    """Pattern type of tokens: the shift that more of its tokens would bring."""
    cluster: int | None = None
    """Cluster: the shift that more of its tokens would bring."""
    opposite: bool = False
    """Turn the target round: less of it."""
    size: float | None = None
    """Multiple of the target; null is as far as the bounds on the weights allow."""

    def require_one(self) -> None:
        """Raise ValueError, in one line, unless exactly one target is given."""
        given = [
            bool(self.components),
            *(x is not None for x in (self.axis, self.pattern, self.cluster)),
        ]
        if sum(given) != 1:
            raise ValueError(
                "target: expected one of target.components, target.axis, target.pattern and "
                f"target.cluster, found {sum(given)}"
            )

    def __post_init__(self) -> None:
        for name, shift in self.components.items():
            if not abs(shift) <= MAX_SHIFT:  # NaN too
                raise ValueError(
                    f"target.components.{name} must be a finite number of standard deviations, at "
                    f"most {MAX_SHIFT:g}, found {shift}"
                )
        if self.axis is not None and self.axis < 1:
            raise ValueError(f"target.axis must be at least 1, found {self.axis}")
        if self.size is not None and not 0 < self.size <= MAX_SHIFT:
            raise ValueError(
                f"target.size must be positive and at most {MAX_SHIFT:g}, found {self.size}; see "
                "target.opposite"
            )


def suffix_of(name: str) -> str:
    """The suffix of a file's name that says how a figure is written.

    Raises ValueError, in one line, for one that no figure can have.
    """
    found = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if found is None:
        raise ValueError(f"a figure's file must end in {', '.join(SUFFIXES)}; found {name!r}")
    return found
