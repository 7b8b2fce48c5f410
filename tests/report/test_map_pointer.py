"""Pointer, keyboard and hostile text on the page of the cluster map, in a real browser."""

import browser
import made_map
import map_site
import numpy as np
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]


def displayed(token):
    """A token as the page's text has it: marks for white space, escapes without their ends."""
    text = made_map.vocabulary()[token]
    for mark, glyph in zip("\ue000\ue001\ue002\ue003\ue004", ("", "", "·", "⏎", "⇥"), strict=True):
        text = text.replace(mark, glyph)
    return text


def lonely_token(data):
    """A token that is far from all discs and has no other near it."""
    tokens, clusters = data.tokens, data.clusters
    xy = np.stack([tokens.x, tokens.y], 1).astype(float)
    centre = np.stack([clusters.x, clusters.y], 1).astype(float)
    to_disc = np.linalg.norm(xy[:, None] - centre, axis=2).min(1)
    for index in np.argsort(-to_disc):
        if np.sort(np.linalg.norm(xy - xy[index], axis=1))[1] > 600 and xy[index].min() > 9000:
            return index
    raise AssertionError("the made-up map has no lonely token")


def test_hover_shows_y_in_its_context(map_page, map_made, tmp_path):
    data, _ = map_made
    index = lonely_token(data)
    tokens = data.tokens
    place = map_page.on_screen(int(tokens.x[index]), int(tokens.y[index]))
    map_page.pointer("mouseMoved", *place)
    tip = "document.querySelector('#tooltip')"
    map_page.wait(f"!{tip}.hidden && {tip}.textContent.includes('loss')")
    assert map_page.text("#tooltip .lit") == displayed(tokens.token[index])
    said = map_page.text("#tooltip .tip-foot")
    cluster = tokens.cluster[index]
    expected = "in no cluster" if cluster < 0 else f"cluster #{cluster}"
    assert made_map.SUBSETS[tokens.subset[index]] in said and expected in said
    assert f"loss {tokens.loss[index]:.2f}"[:-1] in said
    ids = next(iter(data.sequences.blocks()))
    row, position = divmod(int(tokens.token_id[index]), made_map.CONTEXT)
    before = "".join(displayed(t) for t in ids[row, max(0, position - 11) : position + 1])
    assert map_page.text("#tooltip .tip-context").startswith(before)
    map_page.shot("hover", tmp_path)
    map_page.pointer("mouseMoved", 700, 5)
    map_page.wait(f"{tip}.hidden")


def open_by_click(page, data, cluster):
    page.pointer("mouseMoved", 700, 5)
    x, y = page.on_screen(int(data.clusters.x[cluster]), int(data.clusters.y[cluster]))
    page.pointer("mouseMoved", x, y)
    page.click(x, y)
    page.wait("spectroMap.state.open !== null")
    page.wait("document.querySelectorAll('#card .context').length > 0")


def test_click_opens_the_card(map_page, map_made, tmp_path):
    data, _ = map_made
    near = np.stack([data.clusters.x, data.clusters.y], 1).astype(float)
    apart = [np.sort(np.linalg.norm(near - xy, axis=1))[1] for xy in near]
    cluster = int(np.argmax(apart))  # so no other disc lies above it
    open_by_click(map_page, data, cluster)
    assert map_page.text("#card h2") == f"Cluster #{cluster}"
    stats = map_page.js("[...document.querySelectorAll('#card .stat b')].map(n => n.textContent)")
    assert stats[:2] == [
        f"{data.clusters.size[cluster]:,}",
        f"{data.clusters.conductance[cluster]:.3f}",
    ]
    tops = data.clusters.top_tokens[cluster]
    said = map_page.js("[...document.querySelectorAll('#card .top .token')].map(n => n.innerText)")
    assert [word.strip() for word in said] == [displayed(t).strip() for t in tops if t >= 0]
    ids = next(iter(data.sequences.blocks()))
    random = data.clusters.examples[cluster]
    central = data.clusters.central[cluster]
    shown = [int(t) for t in (*random, *central) if t >= 0]
    map_page.wait(f"document.querySelectorAll('#card .context').length === {len(shown)}")
    lit = map_page.js("[...document.querySelectorAll('#card .lit')].map(n => n.textContent)")
    assert lit == [displayed(ids[t // 64, t % 64 + 1]) for t in shown]
    map_page.wait("document.querySelectorAll('#card .profile g').length === 22")
    map_page.js("document.querySelector('#card .context').click()")
    assert map_page.count("#card .context.unfolded") == 1
    map_page.shot("card", tmp_path)
    neighbour = int(data.clusters.neighbours[cluster][0])
    map_page.js("document.querySelector('#card .row').click()")
    assert map_page.text("#card h2") == f"Cluster #{neighbour}"
    map_page.settle()
    left, top, width, height = map_page.box("#map")
    x, y = map_page.on_screen(int(data.clusters.x[neighbour]), int(data.clusters.y[neighbour]))
    assert left < x < left + width and top < y < top + height


def test_a_neighbourhood_is_selected_from_a_card(map_page, map_made, tmp_path):
    data, _ = map_made
    map_page.change(open=2, panel="card")
    map_page.js("document.querySelector('#card .action').click()")
    map_page.settle()
    chosen = [2, *(int(n) for n in data.clusters.neighbours[2] if n >= 0)]
    inside = np.isin(data.tokens.cluster, chosen)
    text = map_page.text("#selection .help")
    assert f"{len(chosen)} clusters, {inside.sum():,} of the tokens drawn" in text
    ids, counts = np.unique(data.tokens.token[inside], return_counts=True)
    assert map_page.text("#selection .top small") == f"{counts.max():,}"
    assert map_page.text("#selection .top .token") in [
        displayed(t) for t in ids[counts == counts.max()]
    ]
    assert map_page.count("#selection .row") == len(chosen)
    map_page.shot("neighbourhood", tmp_path)
    map_page.press("Escape")
    assert map_page.js("spectroMap.state.selection") is None


@pytest.mark.parametrize("how", ["box", "lasso"])
def test_a_shape_selects_what_it_holds(map_page, map_made, how):
    data, _ = map_made
    before = map_page.js("spectroMap.view.at")
    left, top, width, height = map_page.box("#map")
    corner, other = (left + 330, top + 60), (left + width - 90, top + height / 2)
    if how == "box":
        map_page.drag(corner, other, modifiers=8)
    else:
        map_page.press("s")
        map_page.pointer("mouseMoved", *corner)
        map_page.pointer("mousePressed", *corner, button="left", buttons=1, clickCount=1)
        for x, y in ((other[0], corner[1]), other, (corner[0], other[1])):
            map_page.pointer("mouseMoved", x, y, button="left", buttons=1)
        map_page.pointer("mouseReleased", corner[0], other[1], button="left", clickCount=1)
    map_page.wait("spectroMap.state.selection !== null")
    map_page.settle()
    shape = map_page.js("spectroMap.state.selection.shape")
    (low_x, high_x), (low_y, high_y) = ((min(v), max(v)) for v in zip(*shape, strict=True))
    x, y = data.tokens.x, data.tokens.y
    inside = (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)
    # tokens on the very edge may fall to either side
    assert abs(map_page.js("spectroMap.model.tally.selected") - inside.sum()) <= 2
    assert 0 < inside.sum() < map_site.NUM_TOKENS
    assert map_page.js("spectroMap.view.at") == before  # the map did not move below the shape
    assert map_page.count("#shape polygon") == 1


@pytest.mark.slow
def test_the_wheel_and_the_drag_move_the_map(map_page):
    left, top, width, height = map_page.box("#map")
    x, y = left + width * 0.6, top + height * 0.6
    before = map_page.js("spectroMap.view.at")
    map_page.drag((x, y), (x - 120, y - 80))
    map_page.wait(f"spectroMap.view.at.x > {before['x']} + 10")
    map_page.settle()
    moved = map_page.js("spectroMap.view.at")
    assert moved["y"] < before["y"]  # upwards on the screen is upwards on the grid
    map_page.pointer("mouseMoved", x, y)
    map_page.pointer("mouseWheel", x, y, deltaX=0, deltaY=-240)
    map_page.wait(f"spectroMap.view.at.zoom > {moved['zoom']} + 0.2")
    map_page.settle()
    assert "at=" in map_page.js("location.hash")
    map_page.js("document.querySelector('#zoom-all').click()")
    map_page.wait("spectroMap.state.place === null")


def test_the_keyboard_reaches_everything(map_page):
    map_page.press("/")
    assert map_page.js("document.activeElement.id") == "search"
    map_page.type_search("an")
    map_page.press("Enter")
    map_page.wait("document.activeElement.matches('#list .row')")
    first = map_page.js("document.activeElement.dataset.id")
    map_page.press("ArrowDown")
    assert map_page.js("document.activeElement.dataset.id") != first
    map_page.press("ArrowUp")
    map_page.press("Enter")
    map_page.wait(f"spectroMap.state.open === {first}")
    map_page.press("Escape")
    assert map_page.js("spectroMap.state.panel") == "list"
    map_page.press("Escape")
    map_page.settle()
    assert map_page.js("spectroMap.state.query") == ""
    map_page.press("?")
    assert map_page.js("document.querySelector('#help').open")
    map_page.js("document.querySelector('#help').close()")
    map_page.js("document.querySelector('#map').focus()")
    for key, moves in (("ArrowRight", "x > b.x"), ("ArrowUp", "y > b.y"), ("+", "zoom > b.zoom")):
        map_page.js("globalThis.b = {...spectroMap.view.at}")
        map_page.press(key)
        map_page.wait(f"(({{ at }}) => at.{moves})(spectroMap.view) && !spectroMap.view.isBusy()")
    map_page.press("Enter")
    map_page.wait("spectroMap.state.open !== null")
    map_page.press("Escape")
    map_page.js("document.activeElement.blur()")
    map_page.press("0")
    map_page.wait("spectroMap.state.place === null && !spectroMap.view.isBusy()")


def test_tab_reaches_search_map_controls_and_list(map_page):
    map_page.js("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        map_page.press("Tab")
        reached.append(map_page.js("document.activeElement.id || document.activeElement.className"))
    order = [reached.index(name) for name in ("search", "theme", "map", "colour", "lasso", "row")]
    assert order == sorted(order)


def test_hostile_tokens_are_shown_and_never_executed(map_page):
    map_page.js("globalThis.owned = false; globalThis.alert = () => { globalThis.owned = true; }")
    for cluster in range(0, 24, 3):
        map_page.change(open=cluster, panel="card")
        map_page.wait("document.querySelectorAll('#card .context .lit').length > 0")
    map_page.change(open=None, panel="list")
    text = map_page.text("#list")
    for said in (
        "<script>alert(1)</script>",
        "onerror=",
        "&lt;b&gt;",
        "F09F",
        "U+202E",
        "😀",
        "שלום",
    ):
        assert said in text
    assert map_page.count("main script, main img, aside b") == 0
    assert not map_page.js("owned")
    isolated = "n => getComputedStyle(n).unicodeBidi === 'isolate'"
    assert map_page.js(f"[...document.querySelectorAll('.tok, .label')].every({isolated})")
    for query in ("<script>", "__proto__", "\\", "(", "${x}"):
        map_page.type_search(query)
        assert map_page.text("#typed .token") == query


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1400, 900), (390, 800)])
def test_light_and_dark_wide_and_phone(map_page, theme, size, tmp_path):
    map_page.resize(*size)
    if map_page.js("document.documentElement.dataset.theme") != theme:
        map_page.js("document.querySelector('#theme').click()")
    map_page.js("document.querySelector('#zoom-all').click()")
    map_page.wait("spectroMap.view.isBusy()")
    map_page.settle()
    assert map_page.js("document.documentElement.scrollWidth") <= size[0]
    assert map_page.js("document.documentElement.dataset.theme") == theme
    map_page.shot(f"{theme}-{size[0]}", tmp_path)
    map_page.resize(1400, 900)
