"""The page in a real browser: it draws, answers, asks for nothing and executes no token."""

import dataclasses
import itertools

import browser
import made_up_run
import pytest

from spectro.report import ReportConfig, render
from spectro.report.layout import principal_axes

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
TRAPS = (
    b"</script><script>document.title='owned'</script>",
    b"<img src=x onerror=\"document.title='owned'\">",
    b"<svg onload=\"document.title='owned'\">",
    b"javascript:document.title='owned'",
    b"\x00\x1b\r",
    b"\xf0\x9f",
    "שלום".encode(),
    "\u202e\u2028".encode(),
    "😀".encode(),
    b"'\"`${1}",
)


@pytest.fixture
def page(tmp_path):
    """Opens a run's page in a fresh browser."""
    opened = []

    def open_page(run, config, query="", **size):
        path = tmp_path / "index.html"
        path.write_text(render(run, config), encoding="utf-8")
        opened.append(browser.Browser(tmp_path / "profile", **size))
        opened[0].open(path, query)
        return opened[0]

    yield open_page
    for one in opened:
        assert one.complaints() == []
        assert {url.split("?")[0] for url in one.requests()} == {(tmp_path / "index.html").as_uri()}
        one.close()


def small(**changes):
    return made_up_run.run(**{"num_sequences": 16, "context": 16, "num_clusters": 4} | changes)


FEW = ReportConfig(max_points=30)  # so few are placed without UMAP
ALL_CHIPS = "for (const chip of document.querySelectorAll('#legend button')) chip.click()"


def test_search_filter_sort_and_cards(page):
    one = page(small(num_sequences=32, num_clusters=6), FEW)
    assert one.count("#cards .card") == 6 == one.count("#list button")
    assert one.count("#cards .context .lit") == 60
    one.set("#search", "#3", "input")
    assert one.count("#cards .card") == 1 and one.text(".card .card-id") == "#3"
    assert one.text("#matches") == "1 of 6"
    one.set("#search", "no such token", "input")
    assert one.count("#cards .card") == 0
    one.set("#search", "", "input")
    one.js(ALL_CHIPS)
    assert one.count("#cards .card") == 0
    one.js(ALL_CHIPS)
    assert one.count("#cards .card") == 6
    one.set("#sort", "conductance", "change")
    second = "s => Number(s.children[1].firstChild.textContent)"
    shown = one.js(f"[...document.querySelectorAll('#cards .stats')].map({second})")
    assert shown == sorted(shown)
    one.js("document.querySelector('#control-body .more').click()")
    assert one.count("#control-body .card") == 2


def test_the_map_answers_pointer_and_keys(page):
    one = page(small(), FEW)
    one.js("document.querySelector('#explore').scrollIntoView()")
    left, top, width, height = one.box("#canvas")
    pixels = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    one.wait(f"(c => new Set({pixels}).size)(document.querySelector('#canvas')) > 20")
    is_over = "document.querySelector('#canvas').style.cursor === 'pointer'"
    for across, down in itertools.product(range(2, 38), range(2, 38)):  # a walk meets a cluster
        x, y = left + width * across / 40, top + height * down / 40
        one.pointer("mouseMoved", x, y)
        if one.js(is_over):
            break
    named = one.text("#tooltip strong")
    one.click(x, y)
    one.wait("document.querySelector('.card.chosen') !== null")
    assert one.text(".card.chosen .card-id") == named
    assert one.js("location.hash") == named.replace("#", "#c")
    one.js("document.querySelector('#canvas').focus()")
    for key in ("+", "ArrowLeft", "ArrowUp", "-", "0"):
        one.press(key)
    one.press("/")
    assert one.js("document.activeElement.id") == "search"


def test_tokens_are_shown_and_never_executed(page):
    run = dataclasses.replace(small(vocabulary=list(TRAPS)), title="A <b>run</b>")
    one = page(run, FEW)
    assert one.js("document.title") == "A <b>run</b> · spectro"
    assert one.count("img, main script, svg[onload]") == 0
    text = one.text("#cards")
    for shown in ("</script><script>", "onerror=", "F09F", "␀␛␍", "שלום", "U+202E", "😀"):
        assert shown in text
    isolated = "n => getComputedStyle(n).unicodeBidi === 'isolate'"
    assert one.js(f"[...document.querySelectorAll('.tok')].every({isolated})")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_telephone(page, theme):
    one = page(small(), FEW, f"?theme={theme}", width=420, height=900)
    assert one.js("document.documentElement.scrollWidth") <= 420
    assert one.js("document.documentElement.dataset.theme") == theme
    one.js("document.querySelector('#theme').click()")
    assert one.js("document.documentElement.dataset.theme") != theme


DEGENERATE = {
    "no clusters": lambda: small(num_clusters=0),
    "no control": lambda: small(control=False),
    "one component": lambda: small(names=("l0mlp",)),
    "many components": lambda: small(names=made_up_run.components(12, 8)),
    "no subset": lambda: small(num_sequences=1, context=1, num_clusters=0),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_run_draws_without_complaint(page, name):
    one = page(DEGENERATE[name](), FEW)
    assert one.count("#reliability svg") == 1
    assert one.js("document.documentElement.scrollWidth") <= 1400


def test_the_size_of_the_embedded_run_makes_a_small_page(page, monkeypatch, tmp_path):
    monkeypatch.setattr("spectro.report.page.layout", principal_axes)  # seconds instead of a minute
    one = page(made_up_run.run(), ReportConfig())
    assert (tmp_path / "index.html").stat().st_size < 5_000_000
    assert one.count("#list button") == 40
    assert one.count("#cards .card") == 24
    one.js("location.hash = '#c39'")
    one.wait("document.querySelector('.card.chosen') !== null")
    assert one.text(".card.chosen .card-id") == "#39"
