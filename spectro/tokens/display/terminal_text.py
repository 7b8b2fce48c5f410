"""Tokens and strings as one line of printable text.

The display alphabet of `vocabulary.py` with printable marks: space ␣, line end ⏎, tab ⇥, and
unprintable characters in ⟨⟩ (⟨1B⟩ a byte that is not a character, ⟨␛⟩ a control character,
⟨U+202E⟩ one that changes its surroundings). Figures, whose font has fewer letters, use more of them
(`figures/text.py`).
"""

from spectro.tokens.display.vocabulary import (
    CLOSE,
    NEWLINE,
    OPEN,
    SPACE,
    TAB,
    display,
    display_name,
)

_MARKS = str.maketrans({OPEN: "⟨", CLOSE: "⟩", SPACE: "␣", NEWLINE: "⏎", TAB: "⇥"})


_TYPED = str.maketrans({"·": " ", "␣": " ", "⏎": "\n", "⇥": "\t"})


def typed(text: str) -> str:
    """Typed text with marks for white space (· ␣ ⏎ ⇥) replaced by white space."""
    return text.translate(_TYPED)


def plain(shown: str) -> str:
    """Display text with printable marks."""
    return shown.translate(_MARKS)


def plain_token(piece: bytes | None) -> str:
    """One token; never empty."""
    return plain(display(piece))


def plain_string(text: str) -> str:
    """Any string; spaces stay spaces, and an empty string stays empty."""
    return plain(display_name(text))
