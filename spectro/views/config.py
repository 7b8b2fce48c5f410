"""Choices that several views share: rows of a matrix, scales of colour, themes, kinds of file."""

from __future__ import annotations

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


def suffix_of(name: str) -> str:
    """The suffix of a file's name that says how a figure is written.

    Raises ValueError, in one line, for one that no figure can have.
    """
    found = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if found is None:
        raise ValueError(f"a figure's file must end in {', '.join(SUFFIXES)}; found {name!r}")
    return found
