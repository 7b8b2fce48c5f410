"""What the page of the map does where things are unlike the first example: clusters that overlap,
more subsets than colours, no WebGL2 after all, addresses by hand, many regions."""

import browser
import made_map
import numpy as np
import pytest

from spectro.views.map.regions import Region

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
MANY = tuple(f"subset {index}" for index in range(13))
VISIBLE = "[...document.querySelectorAll('.overlap')].map(node => !node.hidden)"


def control(page):
    page.change(view="control")
    return page.text("#control-body")


def first_row(page):
    page.change(view="control")
    return page.js("document.querySelector('#control-body tbody tr').innerText").split("\t")


def test_overlapping_clusters_are_counted_once_and_told(opened):
    page = opened(500, 3, num_clustered_tokens=125)
    assert first_row(page)[2] == "125 (25 %)"
    assert page.js(VISIBLE) == [True] * 3
    page.change(view="map")
    assert "counted in the smallest" in page.js("document.body.innerText")


def test_clusters_that_do_not_overlap_say_nothing_of_it(map_page, map_made):
    inside = int((map_made[0].tokens.cluster >= 0).sum())
    assert first_row(map_page)[2] == f"{inside:,} (50 %)"
    assert map_page.js(VISIBLE) == [False] * 3


@pytest.mark.parametrize(
    ("fields", "said", "short"),
    [
        ({}, "The nβ = 0 control was not run", "no nβ = 0 control"),
        ({"control_measured": True}, "was measured, but has no clusters of this name",
         "nβ = 0 not clustered"),
        ({"is_control": True}, "This is the nβ = 0 control itself", "this is a control, nβ = 0"),
    ],
)  # fmt: skip
def test_a_control_is_not_run_not_clustered_or_this(opened, fields, said, short):
    page = opened(300, 3, control=None, **fields)
    assert page.text("#maps") == short and said in control(page)


SHAPES = """spectroMap.view.scene.blocks.flatMap(({ data }) => [...data.rows].map((row, n) =>
  [spectroMap.world.tokens.subset[row], data.attributes.getFillColor.value[4 * n + 3] & 1]))"""
WIDTHS = """(({ data }) => [...data.rows].map((row, n) =>
  [spectroMap.world.clusters.subset.values[row], data.attributes.getLineWidth.value[n]]))(
  spectroMap.view.scene.clusterLayers.layer.props)"""


@pytest.mark.slow
def test_the_ninth_subset_and_later_have_another_shape(opened, tmp_path):
    page = opened(4000, 30, subsets=MANY)
    pairs = page.js(SHAPES)
    assert len(pairs) == 4000 and {subset for subset, _ in pairs} == set(range(13))
    assert all(bit == (subset >= 8) for subset, bit in pairs)
    widths = page.js(WIDTHS)
    heavy = {width for subset, width in widths if subset >= 8}
    plain = {width for subset, width in widths if subset < 8}
    assert len(heavy) == len(plain) == 1 and min(heavy) > max(plain)
    assert "From the ninth subset on colours repeat" in page.text("#meaning")
    assert page.count("#subsets .swatch.diamond") == 5
    page.shot("thirteen", tmp_path)
    page.change(colour="cluster")
    assert {bit for _, bit in page.js(SHAPES)} == {0}


# Mean distance from the paper of four pixels on the axes and of four on the diagonals.
PAINTED = """(() => {
  const from = document.querySelector('#map canvas'), to = document.createElement('canvas');
  [to.width, to.height] = [from.width, from.height];
  const pen = to.getContext('2d', { willReadFrequently: true });
  pen.drawImage(from, 0, 0);
  const left = Math.round(from.width / 2), top = Math.round(from.height / 2);
  const at = (x, y) => [...pen.getImageData(left + x, top + y, 1, 1).data];
  const paper = at(20, 3), from_paper = (sum, value, i) => sum + Math.abs(value - paper[i]);
  const far = ([x, y]) => at(x, y).reduce(from_paper, 0);
  const mean = (places) => places.map(far).reduce((a, b) => a + b) / places.length;
  return [mean([[8, 0], [-8, 0], [0, 8], [0, -8]]), mean([[5, 5], [-5, 5], [5, -5], [-5, -5]])];
})()"""


def lonely(data, wanted):
    """A token of such a subset, far from all others and from all rings."""
    tokens, clusters = data.tokens, data.clusters
    xy = np.stack([tokens.x, tokens.y], 1).astype(float)
    others = np.concatenate([xy, np.stack([clusters.x, clusters.y], 1).astype(float)])
    for index in np.flatnonzero(wanted(tokens.subset)):
        far = np.abs(others - xy[index]).max(axis=1)
        if np.sort(far)[1] > 90:
            return int(tokens.x[index]), int(tokens.y[index])
    raise AssertionError("the made-up map has no such token")


@pytest.mark.slow
def test_diamonds_look_like_diamonds(opened, tmp_path):
    page = opened(1500, 4, subsets=MANY)
    data = made_map.made_map(1500, 4, subsets=MANY)
    for name, wanted in (("disc", lambda s: s < 8), ("diamond", lambda s: s >= 8)):
        x, y = lonely(data, wanted)
        page.js(f"spectroMap.change({{ place: {{ x: {x}, y: {y}, zoom: 6 }} }})")
        page.js("spectroMap.view.follow()")
        page.wait(f"Math.abs(spectroMap.view.at.x - {x / 64}) < 0.01")
        page.settle()
        on_axes, on_diagonals = page.js(PAINTED)
        page.shot(name, tmp_path)
        assert (on_axes > 2 * on_diagonals) == (name == "diamond"), (on_axes, on_diagonals)
        assert (on_diagonals > 2 * on_axes) == (name == "disc"), (on_axes, on_diagonals)


NO_SECOND_CONTEXT = """
  const real = HTMLCanvasElement.prototype.getContext;
  let asked = 0;
  HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind === 'webgl2' && asked++ > 0 ? null : real.call(this, kind, ...more);
  };
"""


@pytest.mark.slow
def test_where_deck_gl_cannot_start_all_else_works(opened):
    page = opened(2000, 12, script=NO_SECOND_CONTEXT)
    assert "The map cannot be drawn" in page.text("#no-map")
    assert page.js("spectroMap.view") is None
    assert page.count("#list .row") == 12
    page.type_search("#3")
    assert page.count("#list .row") == 1 and "search=%233" in page.js("location.hash")
    page.js("document.querySelector('#list .row').click()")
    page.wait("document.querySelectorAll('#card .context .lit').length > 10")
    page.press("Escape")
    page.wait("spectroMap.state.open === null")
    page.js("location.hash = '#cluster=5'")
    page.wait("spectroMap.state.open === 5")
    page.resize(900, 700)  # what watches the size of the map must ask nothing of it
    for key in ("Escape", "+", "0", "s", "Enter", "/"):
        page.press(key)
    assert page.js("document.activeElement.id") == "search"
    page.pointer("mouseMoved", 300, 300)
    page.click(300, 300)
    for one in page.complaints():  # the library logs its own error once more
        assert one["exceptionDetails"]["url"].endswith("deck.js"), one
    page.events.clear()


NO_LIBRARY = "HTMLHeadElement.prototype.append = () => {};"


@pytest.mark.slow
def test_while_the_map_does_not_start_all_else_is_there(opened, tmp_path):
    page = opened(100, 2)
    page("Page.addScriptToEvaluateOnNewDocument", source=NO_LIBRARY)
    (tmp_path / "map" / "tokens" / "x-0000.bin").unlink()
    page("Page.reload")
    page.wait("document.querySelector('#problem')?.hidden === false")
    assert "x-0000.bin" in page.text("#problem"), "what cannot be read is reported"
    assert page.count("#list .row") == 2
    page.press("/")
    assert page.js("document.activeElement.id") == "search"
    page.js("location.hash = '#cluster=1'")
    page.wait("document.querySelector('#card h2')?.textContent === 'Cluster #1'")
    page.events.clear()  # the browser complains of the file, too


QUICK_ENTER = """(() => {
  const box = document.querySelector('#search');
  box.focus();
  box.value = 'an';
  box.dispatchEvent(new Event('input'));
  const said = { key: 'Enter', bubbles: true, cancelable: true };
  box.dispatchEvent(new KeyboardEvent('keydown', said));
})()"""


def test_enter_at_once_is_the_same_search(map_page):
    map_page.change(open=3, panel="card")
    map_page.js(QUICK_ENTER)
    map_page.settle()
    said = "(({ query, sort, open, panel }) => [query, sort, open, panel])(spectroMap.state)"
    assert map_page.js(said) == ["an", "matches", None, "list"]
    assert map_page.js("document.activeElement.matches('#list .row')")
    map_page.change(sort="id")
    map_page.js("document.querySelector('#search').focus()")
    map_page.press("Enter")
    assert map_page.js(said) == ["an", "id", None, "list"], "nothing new was typed"


def test_enter_on_the_map_opens_what_the_filters_leave(map_page, map_made):
    clusters = map_made[0].clusters
    at = map_page.js("spectroMap.view.at")
    far = np.hypot(clusters.x - at["x"] * 64, clusters.y - at["y"] * 64)
    nearest = int(far.argmin())
    least = int(clusters.size[nearest]) + 1
    map_page.set("#size-least", str(least), "input")
    map_page.settle()
    map_page.js("document.querySelector('#map').focus()")
    map_page.press("Enter")
    map_page.wait("spectroMap.state.open !== null")
    expected = np.where(clusters.size >= least, far, np.inf).argmin()
    assert map_page.js("spectroMap.state.open") == expected != nearest


def test_back_leaves_an_address_that_was_typed(map_page):
    map_page.js("spectroMap.change({ open: 3, panel: 'card' })")
    map_page.settle()
    map_page.js("location.hash = '#cluster=6&select=1,2&at=30000,30000,1.5'")
    map_page.wait("spectroMap.state.open === 6")
    map_page.settle()
    assert "%2C" in map_page.js("location.hash"), "in the page's own spelling"
    map_page.js("history.back()")
    map_page.wait("spectroMap.state.open === 3")
    map_page.settle()
    assert map_page.js("spectroMap.state.open") == 3
    assert "cluster=3" in map_page.js("location.hash")


@pytest.mark.parametrize(("typed", "zoom"), [("1e9,-1e9,99", 9), ("30000,30000,-50", -3)])
def test_a_place_far_from_the_map_is_brought_near(map_page, map_made, typed, zoom):
    map_page.visit(map_made[1], f"#at={typed}")
    at = map_page.js("spectroMap.view.at")
    assert at["zoom"] == zoom
    assert -1024 <= at["x"] <= 2048 and -1024 <= at["y"] <= 2048
    map_page.visit(map_made[1])


@pytest.mark.slow
def test_names_are_seventy_at_most(opened):
    places = [(5000 + 5200 * (n % 11), 3000 + 5000 * (n // 11)) for n in range(132)]
    regions = [
        Region(
            id=number, name="a b", clusters=1, tokens=9,
            outline=((x - 50, y - 50), (x + 50, y - 50), (x, y + 50)), at=(x, y),
        )
        for number, (x, y) in enumerate(places)
    ]  # fmt: skip
    page = opened(300, 3, regions=regions)
    page.change(open=1, panel="card")
    page.wait("document.querySelectorAll('#labels .label:not([hidden])').length > 60")
    assert page.count("#labels .label:not([hidden])") == page.count("#labels > span") == 70
    assert page.count("#labels .focus:not([hidden])") == 1
