"""Tokens and strings on a terminal or in a table of text: one line, nothing hidden.

The display alphabet of `vocabulary.py` with printable marks for its private-use characters: a
space is ␣, a line end ⏎, a tab ⇥, and what does not print stands in ⟨⟩ (⟨1B⟩ a byte that is no
character, ⟨␛⟩ a control character, ⟨U+202E⟩ one that changes what stands around it). Figures,
whose font has fewer letters, write more of them so (`figures/text.py`).
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
    """What someone typed with marks for white space (· ␣ ⏎ ⇥), with the white space itself."""
    return text.translate(_TYPED)


def plain(shown: str) -> str:
    """Tokens of the display alphabet, or a name."""
    return shown.translate(_MARKS)


def plain_token(piece: bytes | None) -> str:
    """One token; never empty."""
    return plain(display(piece))


def plain_string(text: str) -> str:
    """Any string; spaces stay spaces, and an empty string stays empty."""
    return plain(display_name(text))
