"""The page of the cluster map where something lacks: WebGL2, a server, a file, clusters, tokens;
and where there is very much of it."""

import os

import browser
import made_map
import map_site
import pytest

from spectro.views.map.data_files import FORMAT
from spectro.views.map.serve import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]


def test_without_webgl_list_search_and_cards_work(opened):
    page = opened(2000, 12, graphics=browser.NO_WEBGL)
    assert "WebGL2" in page.text("#no-map")
    assert page.count("#list .row") == 12
    page.type_search("#3")
    assert page.count("#list .row") == 1
    page.js("document.querySelector('#list .row').click()")
    page.wait("document.querySelectorAll('#card .context .lit').length > 10")
    page.js("document.querySelector('#card .action').click()")
    page.settle()
    assert page.count("#selection .row") == 6
    for key in ("Escape", "+", "0", "s", "/"):
        page.press(key)
    assert page.js("document.activeElement.id") == "search"


def test_from_a_disk_it_says_how_to_serve_it(tmp_path):
    folder = tmp_path / "map"
    made_map.write_made_map(folder, 100, 2)
    page = map_site.MapPage(tmp_path / "profile")
    page("Page.navigate", url=(folder / "index.html").as_uri())
    page.wait("document.readyState === 'complete'")
    assert "http.server" in page.js("document.body.innerText")
    page.close()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("vocabulary.json", "vocabulary.json: expected a file of the map, found HTTP 404"),
        ("tokens/x-0000.bin", "tokens/x-0000.bin: expected 100 numbers, found 50"),
        ("map.json", f"map.json: expected format {FORMAT}, found {FORMAT + 1}"),
    ],
)
def test_a_broken_folder_is_told_in_a_line(tmp_path, broken, said):
    folder = tmp_path / "map"
    made_map.write_made_map(folder, 100, 2)
    path = folder / broken
    if broken.startswith("vocabulary"):
        path.unlink()
    elif broken.startswith("tokens"):
        path.write_bytes(path.read_bytes()[:100])
    else:
        map_site.edit(folder, f'"format":{FORMAT}', f'"format":{FORMAT + 1}')
    page = map_site.MapPage(tmp_path / "profile", graphics=browser.WEBGL)
    with served(folder) as address:
        page("Page.navigate", url=address)
        page.wait("document.querySelector('#problem')?.hidden === false")
        assert said in page.text("#problem")
    page.close()


DEGENERATE = {
    "no clusters": (500, 0, {}),
    "one cluster": (500, 1, {}),
    "one token": (1, 1, {}),
    "no control": (500, 3, {"control": None}),
    "small files": (500, 3, {"rows_per_file": 7}),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_maps_open_without_complaint(opened, name):
    num_tokens, num_clusters, fields = DEGENERATE[name]
    page = opened(num_tokens, num_clusters, **fields)
    clusters = "cluster" if num_clusters == 1 else "clusters"
    tokens = "token" if num_tokens == 1 else "tokens"
    said = f"{num_clusters} of {num_clusters} {clusters}, {num_tokens} of {num_tokens} {tokens}"
    assert page.summary() == f"{said} drawn"
    for mode in ("conductance", "stability", "cluster"):
        page.set("#colour", mode, "change")
    page.settle()
    assert ("was not run" in page.text("#control-body")) == (name == "no control")
    if num_clusters:
        page.change(open=0, panel="card")
        page.wait("document.querySelectorAll('#card .context .lit').length > 0")


def test_tokens_beyond_those_drawn_are_told(opened):
    page = opened(400, 3, total=9_000)
    assert page.summary() == "3 of 3 clusters, 400 of 400 tokens drawn (of 9,000 in the run)"


FRAMES = "spectroMap.view.frames"
DRAWN = """spectroMap.view.deck.layerManager.getLayers().filter(layer =>
  layer.id.startsWith('tokens-') && spectroMap.view.isShown(layer, false)).length"""


@pytest.mark.skipif(
    "SPECTRO_LARGE" not in os.environ, reason="SPECTRO_LARGE=1: minutes without a GPU"
)
def test_a_million_tokens_open_and_pan(opened, tmp_path):
    page = opened(1_000_000, 1500)
    assert page.summary().startswith("1,500 of 1,500 clusters, 1,000,000 of 1,000,000 tokens")
    assert page.js("spectroMap.view.scene.blocks.length") == 16
    page.wait(f"{DRAWN} === 16", seconds=120)
    page.shot("million", tmp_path)
    left, top, width, height = page.box("#map")
    start = (left + width * 0.6, top + height * 0.5)
    before, frames = page.js("({...spectroMap.view.at})"), page.js(FRAMES)
    page.pointer("mouseMoved", *start)
    page.pointer("mousePressed", *start, button="left", buttons=1, clickCount=1)
    seen = []
    for step in range(1, 6):
        moved = (start[0] - 12 * step, start[1] + 5 * step)
        page.pointer("mouseMoved", *moved, button="left", buttons=1)
        page.wait(f"{FRAMES} > {frames}")
        seen.append(page.js(f"[{FRAMES}, {DRAWN}]"))
        frames = seen[-1][0]
    page.pointer("mouseReleased", *moved, button="left", clickCount=1)
    assert min(drawn for _, drawn in seen) < 16  # a sample while it moves
    page.settle()
    after = page.js("spectroMap.view.at")
    assert after["x"] > before["x"] and after["y"] > before["y"]
    page.wait(f"{DRAWN} === 16")  # all of them at rest
    page.type_search("an")
    assert page.js("spectroMap.model.tally.lit.length") > 1000
    page.shot("million-found", tmp_path)
