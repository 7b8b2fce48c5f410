"""Above and below zero are distinguishable in every kind of colour vision, and from the paper."""

import numpy as np
import pytest
from test_report_palette import VISION, linear, oklab, palettes

from spectro.views.drawing.theme import theme as named_theme
from spectro.views.text.colours import PAIRS, WORDS, Colours, style_rules


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colours", Colours)
def test_the_signs_are_far_apart(colours, theme, vision):
    pair = PAIRS[colours][theme]
    above, below = (
        oklab(np.array(VISION[vision]) @ linear(c)) for c in (pair.positive, pair.negative)
    )
    assert np.linalg.norm(above - below) > 0.13  # the page's eight subsets: 0.11


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colours", Colours)
def test_the_strongest_stand_out_from_the_paper(colours, theme):
    paper = linear(palettes()[theme]["raised"]) @ [0.2126, 0.7152, 0.0722]
    for colour in vars(PAIRS[colours][theme]).values():
        light = linear(colour) @ [0.2126, 0.7152, 0.0722]
        assert (max(light, paper) + 0.05) / (min(light, paper) + 0.05) > 2.5


@pytest.mark.parametrize("name", ["light", "dark"])
def test_orange_and_blue_are_the_houses(name):
    house, pair = named_theme(name), PAIRS[Colours.ORANGE_BLUE][name]
    assert (pair.positive, pair.negative) == (house.positive, house.negative)


def test_the_style_has_them_all():
    rules = style_rules()
    for colours in Colours:
        assert colours in WORDS
        for name, pair in PAIRS[colours].items():
            assert f'[data-theme="{name}"][data-colours="{colours.value}"]' in rules
            assert f"--above: {pair.positive}; --below: {pair.negative};" in rules
