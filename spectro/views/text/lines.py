"""A text in lines of a fixed number of letters, for a figure in a font of one width.

Token text comes in the display alphabet (tokens/display/vocabulary.py) and is written as all
figures write it (views/drawing/text.py): white space as · ⏎ ⇥, what the font has no letter of one
width for as ⟨U+6F22⟩.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.tokens.display.vocabulary import NEWLINE
from spectro.views.drawing.text import printed

_SEGMENTS = re.compile(f"[^{NEWLINE}]*{NEWLINE}|[^{NEWLINE}]+")


@dataclass(frozen=True, kw_only=True)
class TextPiece:
    """A token, or the part of one that fits on a line."""

    token: int
    """Its place in the text."""
    line: int
    """From 0."""
    cell: int
    """Letters before it."""
    text: str
    """As it is written, a letter to a cell."""

    @property
    def width(self) -> int:
        """Cells that it takes."""
        return len(self.text)


def lay_out(tokens: Sequence[str], width: int) -> list[TextPiece]:
    """Tokens of the display alphabet from left to right, each on the line where it fits.

    Args:
        tokens: in their order.
        width: letters of a line, ≥ 1; a token that is longer is cut.

    A line ends where the text has a line end, also within a token.
    """
    found: list[TextPiece] = []
    line = cell = 0
    for token, display in enumerate(tokens):
        for part in _SEGMENTS.findall(display):
            text = printed(part)
            if cell > 0 and len(text) <= width < cell + len(text):
                line, cell = line + 1, 0
            found += _cut(token, text, line, cell, width)
            line, cell = found[-1].line, found[-1].cell + found[-1].width
            if part.endswith(NEWLINE):
                line, cell = line + 1, 0
    return found


def _cut(token: int, text: str, line: int, cell: int, width: int) -> list[TextPiece]:
    """A text from a place on a line on, cut where lines are full; at least one piece."""
    room = width - cell
    if room <= 0:
        return _cut(token, text, line + 1, 0, width)
    starts = [0, *range(room, len(text), width)]
    return [
        TextPiece(
            token=token,
            line=line + index,
            cell=0 if index else cell,
            text=text[start : start + (width if index else room)],
        )
        for index, start in enumerate(starts)
    ]
