"""The coloured text as a figure: where tokens stand, degenerate data, the same bytes."""

import dataclasses

import made_up_text
import numpy as np
import pytest
from made_up_text import PROSE, TRAPS, document
from matplotlib.collections import PolyCollection

from spectro.tokens.display.vocabulary import display
from spectro.views.config import SUFFIXES, ColourScale
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import theme
from spectro.views.text.colours import Colours
from spectro.views.text.figure import MAX_LINES, figure
from spectro.views.text.lines import lay_out


def placed(tokens, width):
    pieces = lay_out([display(t.encode()) for t in tokens], width)
    return [(p.token, p.line, p.cell, p.text) for p in pieces]


def test_tokens_stand_side_by_side_and_lines_end_where_the_text_has_an_end():
    assert placed(["ab", " c", "\n  ", "d", "\n\n", "e"], 10) == [
        (0, 0, 0, "ab"), (1, 0, 2, "·c"), (2, 0, 4, "⏎"), (2, 1, 0, "··"), (3, 1, 2, "d"),
        (4, 1, 3, "⏎"), (4, 2, 0, "⏎"), (5, 3, 0, "e"),
    ]  # fmt: skip


def test_a_token_that_does_not_fit_goes_to_the_next_line_and_a_long_one_is_cut():
    assert placed(["abc", "de", "fghijklmn", "o"], 4) == [
        (0, 0, 0, "abc"), (1, 1, 0, "de"), (2, 1, 2, "fg"), (2, 2, 0, "hijk"), (2, 3, 0, "lmn"),
        (3, 3, 3, "o"),
    ]  # fmt: skip
    assert [line for _, line, _, _ in placed(["abcd"], 1)] == [0, 1, 2, 3]


def test_what_the_font_has_no_letter_of_one_width_for_is_written_by_its_code() -> None:
    """As in every figure; nothing that is drawn is wider than its cells."""
    assert placed(["a漢", "e\u0301\t"], 20) == [(0, 0, 0, "a⟨U+6F22⟩"), (1, 0, 9, "e⟨U+0301⟩⇥")]
    (byte,) = lay_out([display(b"\xff")], 20)
    assert (byte.text, byte.width) == ("⟨FF⟩", 4)


def test_a_stroke_stands_after_the_last_token_that_a_context_predicts() -> None:
    """Token 8 of a context of 8 is predicted from those before it; the next from it alone."""
    made = figure(document([b"ab"] * 12), theme("light"))
    (stroke,) = made.axes[0].lines
    places = [text.get_position()[0] for text in made.axes[0].texts if text.get_text() == "ab"]
    assert places[8] < stroke.get_xdata()[0] <= places[9]


def bands_of(made):
    return [c for c in made.axes[0].collections if isinstance(c, PolyCollection)]


def test_a_band_has_a_box_for_every_token_but_the_first():
    made = document([b"a", b"b", b"c", b"d"], names=("l0h0", "l0h1"))
    ramps_and_bands = bands_of(figure(made, theme("light")))
    assert [len(c.get_paths()) for c in ramps_and_bands[2:]] == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("colours", Colours)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_signs_have_their_colours_and_zero_has_that_of_the_paper(name, colours):
    chi = np.array([[np.nan], [9.0], [-9.0], [0.0]])
    made = document([b"a", b"b", b"c", b"d"], names=("l0h0",), chi_NC=chi)
    columns = made_up_text.columns(1, mean_C=np.zeros(1), deviation_C=np.ones(1))
    made = dataclasses.replace(made, columns=columns)
    above, below, zero = bands_of(
        figure(made, theme(name), scale=ColourScale.RAW, colours=colours)
    )[1].get_facecolors()
    hue = {Colours.GREEN_RED: (1, 0), Colours.ORANGE_BLUE: (0, 2)}[colours]
    assert int(np.argmax(above[:3])) == hue[0] and int(np.argmax(below[:3])) == hue[1]
    assert np.ptp(zero[:3]) < 0.05


DEGENERATE = {
    "one token": lambda: document([b"a"]),
    "two tokens": lambda: document([b"a", b"b"]),
    "one component": lambda: document(PROSE, names=("l0mlp",)),
    "no bands": lambda: document(PROSE, shown=()),
    "nothing known": lambda: document(
        PROSE, chi_NC=np.full((12, 5), np.nan), loss_N=np.full(12, np.nan)
    ),
    "constant column": lambda: document(
        PROSE, columns=made_up_text.columns(5, deviation_C=np.zeros(5), mean_C=np.zeros(5))
    ),
    "no reliability": lambda: document(
        PROSE, columns=made_up_text.columns(5, reliability_C=np.full(5, np.nan))
    ),
    "hostile": lambda: document(TRAPS, title="$x$ <b> \\frac"),
    "no vocabulary": lambda: document(PROSE, piece_N=None),
    "one long token": lambda: document([b"a", b"x" * 4000]),
    "longer than a page": lambda: document([b"a\n"] * (MAX_LINES + 40)),
}


@pytest.mark.slow
@pytest.mark.parametrize("scale", ColourScale)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_texts_are_drawn(name, scale, recwarn):
    made = figure(DEGENERATE[name](), theme("light"), scale=scale)
    assert to_bytes(made, ".svg", theme("light")).rstrip().endswith(b"</svg>")
    assert [str(warning.message) for warning in recwarn] == []


def test_what_is_left_out_is_said():
    made = figure(DEGENERATE["longer than a page"](), theme("light"))
    assert any("40 more are left out" in text.get_text() for text in made.axes[0].texts)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_text_gives_the_same_bytes(suffix):
    both = [to_bytes(figure(document(PROSE), theme("dark")), suffix, theme("dark")) for _ in "ab"]
    assert both[0] == both[1]


def test_a_scale_that_the_text_does_not_have_is_refused():
    with pytest.raises(ValueError, match="scale=centred"):
        figure(document(PROSE, centred=False), theme("light"), scale=ColourScale.CENTRED)
