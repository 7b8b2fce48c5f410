"""The page of a coloured text in a real browser: bands, values, switches, and no token executed."""

import dataclasses
import os
import re
from pathlib import Path

import browser
import made_up_text
import numpy as np
import pytest
from made_up_text import NAMES, PROSE, TRAPS, document

from spectro.views.config import ColourScale
from spectro.views.text.colours import Colours
from spectro.views.text.page import render
from spectro.views.text.scales import values

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]


@pytest.fixture
def page(tmp_path, request):
    """Opens a text's page in a fresh browser; nothing may be complained of or asked for."""
    opened = []
    path = tmp_path / "text.html"

    def open_page(made, query="", size=None, **chosen):
        path.write_text(render(made, **chosen), encoding="utf-8")
        opened.append(browser.Browser(tmp_path / "profile", **(size or {})))
        opened[0].open(path, query)
        return opened[0]

    yield open_page
    for one in opened:
        if folder := os.environ.get("SPECTRO_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            one.screenshot(Path(folder) / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name)}.png")
        assert one.complaints() == []
        assert {re.split(r"[?#]", url)[0] for url in one.requests()} == {path.as_uri()}
        one.close()


def layers(one, token):
    """Colours of a token's bands, as the browser has them."""
    image = one.js(f"getComputedStyle(document.querySelectorAll('.t')[{token}]).backgroundImage")
    return [] if image == "none" else re.findall(r"linear-gradient\((.*?\)), ", image)


def oklab(colour):
    """L, a (green below zero, red above), b (blue below zero, yellow above)."""
    return [float(part) for part in re.fullmatch(r"oklab\((.*?)\)", colour)[1].split()]


def hover(one, token):
    left, top, width, height = one.box(f".t[data-token='{token}']")
    one.pointer("mouseMoved", left + width / 2, top + height / 4)


def test_bands_and_what_is_told_of_a_token(page):
    made = document(PROSE)
    one = page(made)
    assert one.count(".t") == len(PROSE) and one.count(".t.alone") == 1
    assert [len(layers(one, token)) for token in (1, 11)] == [3, 3]
    assert "green" in one.text("#help") and "standardised" in one.text("#scale")
    assert one.text("#text").count("⏎\n") == 2
    assert one.count(".cut") == 1  # a context of 8 of 12 tokens ends
    hover(one, 3)
    rows = one.js(
        "[...document.querySelectorAll('#tooltip tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows] == list(NAMES[:3])
    for column, (_, raw, error, _, _, reliability) in enumerate(rows):
        assert float(raw.replace("−", "-")) == pytest.approx(
            made.chi_NC[3, column], rel=0.01, abs=made.columns.deviation_C[column] / 1000
        )
        width = 3.182 * made.error_NC[3, column]  # Student's t of four chains
        assert float(error.removeprefix("± ")) == pytest.approx(width, rel=0.1)
        expected = made.columns.reliability_C[column]
        assert float(reliability) == pytest.approx(expected, abs=0.01)
    assert f"loss {made.loss_N[3]:.2f} nats" in one.text("#tooltip")
    assert "± 95 % interval, Student t, 4 chains" in one.text("#tooltip")
    hover(one, 0)
    assert "context alone" in one.text("#tooltip")


def test_a_bands_colour_follows_its_value(page):
    chi = np.array([[np.nan], [9.0], [-9.0], [0.0], [np.nan]])
    columns = made_up_text.columns(1, mean_C=np.zeros(1), deviation_C=np.ones(1))
    made = document([b"a", b"b", b"c", b"d", b"e"], names=("l0h0",), chi_NC=chi, columns=columns)
    one = page(made, "?theme=light", scale=ColourScale.RAW)
    shown = [layers(one, token)[0] for token in range(1, 5)]
    assert len(set(shown)) == 4
    assert shown[3].startswith("rgba(0, 0, 0, 0)")
    green, red = (oklab(colour)[1] for colour in shown[:2])
    assert green < -0.05 and red > 0.05  # χ above zero is green, as published
    one.set("#colours", "orange_blue", "change")
    orange, blue = (oklab(layers(one, token)[0])[2] for token in (1, 2))
    assert orange > 0.05 and blue < -0.05
    assert "orange" in one.text("#help")


def test_switches_change_what_is_shown_and_the_address_keeps_it(page):
    one = page(document(PROSE), colours=Colours.ORANGE_BLUE)
    before = layers(one, 4)
    one.set("#band-2", "-1", "change")
    one.set("#band-3", "4", "change")
    assert len(layers(one, 4)) == 2 and one.count("#key .band-key") == 2
    assert [one.text(f".band-key:nth-child({n}) b") for n in (1, 2)] == ["embed", "unembed"]
    one.set("#scale", "centred", "change")
    assert layers(one, 4)[0] != before[0]
    address = one.js("location.hash")
    assert address == "#bands=embed,unembed&scale=centred&colours=orange_blue"
    one.js("location.hash = '#bands=l0h0,nobody,constructor&scale=constructor&colours=toString'")
    one.wait("document.querySelectorAll('#key .band-key').length === 1")
    assert one.text(".band-key b") == "l0h0"
    for band in (1, 2, 3):
        one.set(f"#band-{band}", "-1", "change")
    assert layers(one, 4) == [] and one.count("#key .band-key") == 0


def test_keys_go_from_token_to_token(page):
    one = page(document(PROSE))
    focused = "document.activeElement.dataset.token"
    one.js("document.querySelector('.t').focus()")
    for key, expected in (("ArrowRight", "1"), ("ArrowRight", "2"), ("ArrowLeft", "1"),
                          ("End", "11"), ("ArrowRight", "11"), ("Home", "0")):  # fmt: skip
        one.press(key)
        assert one.js(focused) == expected
    one.press("ArrowRight")
    assert not one.js("document.querySelector('#tooltip').hidden")
    assert "token 1" in one.text("#tooltip")
    assert one.js("document.querySelectorAll('.t[tabindex=\"0\"]').length") == 1
    one.press("Escape")
    assert one.js("document.querySelector('#tooltip').hidden")


def test_tokens_are_shown_and_never_executed(page):
    made = dataclasses.replace(document(TRAPS), title="A <b>text</b>")
    one = page(made)
    assert one.js("document.title") == "A <b>text</b> · spectro"
    assert one.count("img, main script, svg") == 0
    text = one.text("#text")
    for shown in ("</script><script>", "onerror=", "F0", "9F", "␀␛␍", "שלום", "U+202E", "😀"):
        assert shown in text
    for token in range(len(TRAPS)):
        hover(one, token)
    isolated = "n => getComputedStyle(n).unicodeBidi === 'isolate'"
    assert one.js(f"[...document.querySelectorAll('.t')].every({isolated})")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_telephone(page, theme):
    one = page(document(PROSE * 8), size={"width": 420, "height": 900}, theme=theme)
    assert one.js("document.documentElement.scrollWidth") <= 420
    assert one.js("document.documentElement.dataset.theme") == theme
    one.js("document.querySelector('#theme').click()")
    assert one.js("document.documentElement.dataset.theme") != theme


DEGENERATE = {
    "one token": lambda: document([b"a"]),
    "one component": lambda: document(PROSE, names=("l0mlp",), error=False, centred=False),
    "nothing known": lambda: document(
        PROSE, chi_NC=np.full((12, 5), np.nan), loss_N=np.full(12, np.nan)
    ),
    "no reliability, no error": lambda: document(
        PROSE,
        error=False,
        columns=made_up_text.columns(
            5, reliability_C=np.full(5, np.nan), error_C=np.full(5, np.nan)
        ),
    ),
    "no vocabulary": lambda: document(PROSE, piece_N=None),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_text_draws_without_complaint(page, name):
    made = DEGENERATE[name]()
    one = page(made)
    assert one.count(".t") == len(made.token_N)
    hover(one, len(made.token_N) - 1)
    assert not one.js("document.querySelector('#tooltip').hidden")


def test_a_long_text_is_drawn(page):
    one = page(document([f" w{n % 977}".encode() for n in range(8192)], context=128))
    assert one.count(".t") == 8192 and one.count(".cut") == 63


def test_scales_are_what_python_has(page):
    """The page makes them of χ and its columns; the tip has all three of a token."""
    made = document(PROSE)
    one = page(made)
    for token in (1, 5, 11):
        hover(one, token)
        cells = one.js(
            "[...document.querySelectorAll('#tooltip tbody tr')]"
            ".map(row => [...row.children].map(cell => cell.textContent))"
        )
        for column, result in enumerate(cells):
            for place, scale in (
                (1, ColourScale.RAW),
                (3, ColourScale.STANDARDISED),
                (4, ColourScale.CENTRED),
            ):
                expected = values(made, scale)[token, column]
                found = float(result[place].replace("−", "-"))
                assert found == pytest.approx(expected, rel=0.01, abs=2e-3)


def test_a_context_ends_after_the_token_that_it_predicts_last(page):
    one = page(document(PROSE))
    before = one.js("document.querySelector('.cut').previousElementSibling.dataset.token")
    assert before == "8"
