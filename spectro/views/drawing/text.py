"""Tokens in figures: letters of one width, from left to right, that any viewer has (ADR 036).

Figures have no styled marks as the page has: white space is written · ⏎ ⇥, what is no printable
character or has no glyph of one width as ⟨U+05D0⟩, and bytes as ⟨FF⟩. Nothing is ever a formula.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from spectro.tokens.display.vocabulary import CLOSE, NEWLINE, OPEN, SPACE, TAB
from spectro.views.drawing.theme import MONO

ADVANCE = 1233 / 2048
"""Width of every letter of the font, in its size."""
GLYPHS = {SPACE: "·", NEWLINE: "⏎", TAB: "⇥", OPEN: "⟨", CLOSE: "⟩"}
_CONTROL = re.compile(f"{OPEN}([\u2400-\u241f\u2421]){CLOSE}")
"""A control character in the display alphabet: its picture in marks, as no text has it."""
_DELETE, _FIRST_PICTURE = "\u2421", 0x2400
_CIRCLE = "\u25cc"
"""What `vocabulary.display` puts before a token that begins with a combining mark."""
_LEFT_TO_RIGHT = {"L", "EN", "ES", "ET", "CS", "B", "S", "WS", "ON"}
ELLIPSIS = "…"


@cache
def known_glyphs() -> frozenset[str]:
    """Characters that figures write as they are."""
    font = get_font(findfont(FontProperties(family=MONO)))
    return frozenset(char for char in map(chr, font.get_charmap()) if _is_plain(char))


def printed(shown: str) -> str:
    """One token of the display alphabet (`vocabulary.display`) as figures write it."""
    if shown.startswith(_CIRCLE) and unicodedata.category(shown[1:2] or " ")[0] == "M":
        shown = shown[1:]
    return "".join(map(_printed, _CONTROL.sub(_code, shown)))


def joined(tokens: Iterable[str]) -> str:
    """Several, one after the other."""
    return "".join(printed(token) for token in tokens)


def shortened(text: str, most: int) -> str:
    """The beginning of a text, with an ellipsis where something was left out."""
    return text if len(text) <= most else text[: max(0, most - 1)] + ELLIPSIS


def shortened_before(text: str, most: int) -> str:
    """The end of a text, with an ellipsis where something was left out."""
    return text if len(text) <= most else ELLIPSIS + text[len(text) - max(0, most - 1) :]


def width_points(text: str, size: float) -> float:
    """How wide a text of the one-width font is, in points."""
    return len(text) * ADVANCE * size


def _code(found: re.Match[str]) -> str:
    code = 0x7F if found[1] == _DELETE else ord(found[1]) - _FIRST_PICTURE
    return f"{OPEN}{code:02X}{CLOSE}"


def _printed(char: str) -> str:
    if char in GLYPHS:
        return GLYPHS[char]
    return char if char in known_glyphs() else f"⟨U+{ord(char):04X}⟩"


def _is_plain(char: str) -> bool:
    return (
        char.isprintable()
        and unicodedata.category(char)[0] != "M"
        and unicodedata.bidirectional(char) in _LEFT_TO_RIGHT
    )
