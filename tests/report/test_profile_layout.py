"""The page's small pictures of components of every kind, drawn by its own code in a browser."""

import json
import re
from pathlib import Path

import browser
import pytest
from test_grid import MIXED

import spectro.views
from spectro.analysis.component_grid import blocks

COMMON = Path(spectro.views.__file__).parent / "viewer" / "common"
INSIDE = ("h0", "h1", "h1.q", "h1.k", "h1.v", "h1.o", "mlp", "mlp.up", "attn", "layer")
MANY = [f"l{layer}{own}" for layer in range(8) for own in INSIDE]
MANY += ["embed", "final_norm", "unembed", "norms", "full"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.find() is None, reason="no browser is installed"),
]


@pytest.fixture
def page(tmp_path):
    scripts = [(COMMON / name).read_text() for name in ("dom.js", "profile.js")]
    code = "\n".join(re.sub(r"^(import .*$|export )", "", text, flags=re.M) for text in scripts)
    place = tmp_path / "profile.html"
    place.write_text(
        "<!doctype html><html data-ready=true><meta charset=utf-8>"
        f"<style>{(COMMON / 'base.css').read_text()}</style><body><script>{code}</script></body>"
    )
    window = browser.Browser(width=900, height=500)
    window.open(place)
    yield window
    window.close()


@pytest.mark.parametrize("names", [MIXED, MANY[::-1]], ids=["bars", "tiles"])
def test_the_page_lays_out_as_figures_do(page, names) -> None:
    given = json.dumps(names)
    assert page.js(f"blocks({given})") == [[b.name, list(b.columns)] for b in blocks(names)]


def test_tiles_of_one_name_are_in_one_column_and_none_on_another(page) -> None:
    values = json.dumps([(-1) ** n * (n % 7 + 1) for n in range(len(MANY))])
    page.js(
        f"document.body.append(profile({values}, {json.dumps(MANY)}, {{ name: 'x' }}),"
        f" profile({values}.slice(0, {len(MIXED)}), {json.dumps(MIXED)}, {{ name: 'y' }})), 0"
    )
    rects = page.js(
        "[...document.querySelectorAll('svg:first-of-type rect')].map(r => [+r.getAttribute('x'),"
        " +r.getAttribute('y'), +r.getAttribute('width')])"
    )
    assert len(rects) == len(MANY) == len({(x, y) for x, y, _ in rects})
    assert len({x for x, _, _ in rects}) == len(INSIDE)
    width = page.js("+document.querySelector('svg').getAttribute('width')")
    assert max(x + own for x, _, own in rects) <= width
    assert page.complaints() == []
