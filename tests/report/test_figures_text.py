"""Tokens in figures: letters of one width that the font has, everything else by code point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties, findfont, get_font

from spectro.tokens.display.vocabulary import display
from spectro.views.drawing.text import (
    ADVANCE,
    GLYPHS,
    joined,
    known_glyphs,
    printed,
    shortened,
    shortened_before,
)
from spectro.views.drawing.theme import MONO


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (b" the", "·the"),
        (b"\n\t", "⏎⇥"),
        (b"\x00\x7f", "⟨00⟩⟨7F⟩"),
        (b"\xff", "⟨FF⟩"),
        (b"$x^2$ \\frac{", "$x^2$·\\frac{"),
        (b"<b>&amp;", "<b>&amp;"),
        ("é λ ж".encode(), "é·λ·ж"),
        ("ש".encode(), "⟨U+05E9⟩"),
        ("中".encode(), "⟨U+4E2D⟩"),
        ("😀".encode(), "⟨U+1F600⟩"),
        ("\u202e".encode(), "⟨U+202E⟩"),
        ("\u0301".encode(), "⟨U+0301⟩"),
        (None, "⟨no·such·token⟩".replace("·", " ")),
    ],
)
def test_shown(piece: bytes | None, shown: str) -> None:
    assert printed(display(piece)) == shown


@pytest.mark.parametrize("char", ["\u241b", "\u2421", "\u25cc"])
def test_what_stands_for_others_may_be_meant_itself(char: str) -> None:
    """Pictures of control characters, the circle below a combining mark."""
    itself = char if char in known_glyphs() else f"⟨U+{ord(char):04X}⟩"
    assert printed(display(char.encode())) == itself
    assert printed(display(f"a{char}".encode())) == f"a{itself}"


@given(st.binary(max_size=8))
def test_whatever_the_bytes_the_font_has_it(piece: bytes) -> None:
    assert set(printed(display(piece))) <= known_glyphs()


def test_every_letter_is_as_wide_as_the_others() -> None:
    """The lit token's place is counted in letters."""
    assert set(GLYPHS.values()) | set("…0123456789ABCDEFU+") <= known_glyphs()
    font = get_font(findfont(FontProperties(family=MONO)))
    font.set_size(100, 72)
    widths = {font.load_char(ord(char)).linearHoriAdvance / 65536 for char in known_glyphs()}
    assert len(known_glyphs()) > 1000
    assert [min(widths), max(widths)] == pytest.approx([100 * ADVANCE] * 2, abs=0.05)


def test_shortened() -> None:
    assert (shortened("abcdef", 6), shortened("abcdef", 4), shortened("abc", 0)) == (
        "abcdef", "abc…", "…",
    )  # fmt: skip
    assert (shortened_before("abcdef", 6), shortened_before("abcdef", 4)) == ("abcdef", "…def")
    assert shortened_before("abc", 1) == "…" and joined([]) == ""
