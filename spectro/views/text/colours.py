"""Colours of χ: two ways to tell above zero from below, light and dark.

`green_red` is as Baker et al. 2025 print it, green positive and red negative, in a bluish green and
a crimson that differ in lightness too, to be distinguishable in every kind of colour vision
(held to by a test, as the page's palette is, ADR 032). `orange_blue` is the house's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Colours(Enum):
    """Which pair of colours."""

    GREEN_RED = "green_red"
    """Green above zero, red below, as published."""
    ORANGE_BLUE = "orange_blue"
    """Orange above zero, blue below, as in the rest of the page."""


@dataclass(frozen=True, kw_only=True)
class ColourPair:
    """Strongest colours of one theme."""

    positive: str
    """Of χ above zero: suppression."""
    negative: str
    """Of χ below zero: expression."""


PAIRS: Mapping[Colours, Mapping[str, ColourPair]] = {
    Colours.GREEN_RED: {
        "light": ColourPair(positive="#1fa37c", negative="#b5123f"),
        "dark": ColourPair(positive="#45d6a4", negative="#e0335f"),
    },
    Colours.ORANGE_BLUE: {
        "light": ColourPair(positive="#d9730d", negative="#1668c7"),
        "dark": ColourPair(positive="#f29c4b", negative="#5aa5f5"),
    },
}
"""By choice, then by the name of the theme."""
WORDS: Mapping[Colours, tuple[str, str]] = {
    Colours.GREEN_RED: ("green", "red"),
    Colours.ORANGE_BLUE: ("orange", "blue"),
}
"""What the colours are called: above zero, below."""


def style_rules() -> str:
    """The pairs as variables of the page's style, `--above` and `--below`."""
    return "\n".join(
        f':root[data-theme="{theme}"][data-colours="{colours.value}"] '
        f"{{ --above: {pair.positive}; --below: {pair.negative}; }}"
        for colours, themes in PAIRS.items()
        for theme, pair in themes.items()
    )
