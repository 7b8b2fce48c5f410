"""The table of clusters in a real browser: sorting, filters, keys, addresses, very many rows."""

import dataclasses
import itertools
import json

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
NUM_CLUSTERS = map_site.NUM_CLUSTERS
ALL = f"{NUM_CLUSTERS} of {NUM_CLUSTERS} clusters"
OPEN = "document.querySelector('#card h2')?.textContent ?? null"
ACTIVE = "document.querySelector('#table').getAttribute('aria-activedescendant')"


@pytest.fixture
def page(table_page):
    return table_page


def ids(page):
    """Clusters of the rows that are drawn."""
    rows = "document.querySelectorAll('#body tr[data-id]')"
    return page.js(f"[...{rows}].map(row => Number(row.dataset.id))")


def sort(page, key):
    page.js(f"document.querySelector('th[data-key={key}] button').click()")
    page.settle()


def press_on(page, selector):
    page.js(f"document.querySelector({json.dumps(selector)}).click()")
    page.settle()


@pytest.mark.parametrize(
    "key", ["id", "size", "conductance", "stability", "q_value", "purity", "subset"]
)
def test_every_column_sorts_both_ways(page, map_made, key):
    data, directions = map_made[0], set()
    columns = data.clusters.columns()
    named = {
        "id": np.arange(NUM_CLUSTERS),
        "subset": np.array(data.subsets)[data.clusters.subset],
    }
    values = named.get(key, columns.get(key))
    for _ in range(2):
        sort(page, key)
        heads = "[...document.querySelectorAll('#heads th')].map(n => [n.dataset.key, n.ariaSort])"
        sorts = dict(page.js(heads))
        direction = sorts.pop(key)
        assert set(sorts.values()) == {"none"}
        directions.add(direction)
        found = ids(page)
        shown = values[found]
        known = shown[shown == shown]
        assert known.tolist() == sorted(known.tolist(), reverse=direction == "descending")
        assert not np.any(shown[len(known) :] == shown[len(known) :]), "what is not known is last"
        size = data.clusters.size
        for a, b in itertools.pairwise(found):
            assert values[a] != values[b] or (size[b], a) <= (size[a], b), "equals by size"
    assert directions == {"ascending", "descending"}


def test_sorting_by_tokens_is_by_their_text(page):
    sort(page, "tops")
    texts = page.js(
        "[...document.querySelectorAll('#body tr[data-id] td:nth-child(5)')]"
        ".map(cell => [...cell.querySelectorAll('.token')].map(n => n.textContent).join(' '))"
    )
    firsts = [text[0].lower() for text in texts]
    assert len(set(texts)) > 10 and firsts == sorted(firsts)


def test_filters_count_right_and_are_undone(page, map_made):
    clusters = map_made[0].clusters
    assert page.text("#count") == ALL
    page.set("#table-size-least", "100", "input")
    page.set("#table-conductance-most", "0.3", "input")
    page.settle()
    passes = (clusters.size >= 100) & (clusters.conductance <= 0.3)
    assert 0 < passes.sum() < NUM_CLUSTERS
    assert page.text("#count") == f"{passes.sum()} of {NUM_CLUSTERS} clusters"
    assert set(ids(page)) == set(np.flatnonzero(passes))
    assert page.js("document.querySelector('#size-least').value") == "100", "the map's as well"
    press_on(page, "#reset button")
    assert page.text("#count") == ALL
    assert page.js("document.querySelector('#table-size-least').value") == ""
    chip = f"#legend button:nth-child({clusters.subset[0] + 1})"
    press_on(page, chip)
    assert set(ids(page)) == set(np.flatnonzero(clusters.subset != clusters.subset[0]))
    press_on(page, chip)
    assert page.text("#count") == ALL


def test_the_keyboard_does_all(page):
    page.js("document.querySelector('th[data-key=conductance] button').focus()")
    page.press("Enter")
    head = "document.querySelector('th[data-key=conductance]').ariaSort"
    assert page.js(head) == "ascending"
    first, second, *_ = ids(page)
    page.js("document.querySelector('#table').focus()")
    page.press("ArrowDown")
    page.press("ArrowDown")
    assert page.js(ACTIVE) == f"row-{second}"
    page.press("ArrowUp")
    page.press("Enter")
    assert page.js(OPEN) == f"Cluster #{first}"
    assert page.js("document.activeElement.id") == "table", "the arrows go on"
    page.press("End")
    last = page.js(ACTIVE)
    _, row_top, _, row_height = page.box(f"#{last}")
    _, box_top, _, box_height = page.box("#rows")
    assert box_top <= row_top and row_top + row_height <= box_top + box_height + 1
    page.press("Home")
    assert page.js(ACTIVE) == f"row-{first}"
    page.press("Escape")
    assert page.js(OPEN) is None
    page.press("/")
    assert page.js("document.activeElement.id") == "search"


def test_the_address_holds_what_is_seen(page):
    page.type_search("a")
    sort(page, "stability")
    sort(page, "stability")
    page.set("#table-size-least", "21", "input")
    page.settle()
    cluster = ids(page)[0]
    press_on(page, f'tr[data-id="{cluster}"] td')
    address, found = page.js("location.hash"), ids(page)
    for part in ("show=clusters", "search=a", "sort=stability.rising", "size=21..",
                 f"cluster={cluster}"):  # fmt: skip
        assert part in address
    page.visit(page.address, address)
    assert ids(page) == found and page.js("location.hash") == address
    assert page.js(OPEN) == f"Cluster #{cluster}"
    assert page.js("document.querySelector('#clusters-view').hidden") is False


def test_back_and_wrong_addresses(page):
    press_on(page, 'tr[data-id="1"] td')
    press_on(page, 'tr[data-id="2"] td')
    page.js("history.back()")
    page.wait(f"({OPEN}) === 'Cluster #1'")
    wrong = "#show=clusters&cluster=999999&sort=__proto__.x&hide=77,x&size=..&conductance=a..b"
    page.js(f"location.hash = '{wrong}'")
    page.wait(f"({OPEN}) === null")
    page.settle()
    assert page.text("#count") == ALL
    page.js("location.hash = '#c3'")
    page.wait(f"({OPEN}) === 'Cluster #3'")


def test_tens_of_thousands_of_clusters_draw_only_what_is_in_sight(opened):
    num, small = 57_236, made_map.made_map(300, 4)
    columns = {
        name: np.resize(values, (num, *values.shape[1:]))
        for name, values in small.clusters.columns().items()
    }
    columns["size"] = np.arange(num, 0, -1).astype(np.uint32) + 20
    clusters = dataclasses.replace(small.clusters, **columns)
    profile_KH = np.resize(small.profile_KH, (num, 22))
    page = opened(
        300,
        4,
        "#show=clusters",
        graphics=browser.NO_WEBGL,
        clusters=clusters,
        profile_KH=profile_KH,
    )
    assert 10 < page.count("#body tr") < 60
    rows = "document.querySelector('#table').getAttribute('aria-rowcount')"
    assert page.js(rows) == str(num + 1)
    page.js("document.querySelector('#table').focus()")
    page.press("End")
    assert page.js(ACTIVE) == f"row-{num - 1}"
    assert page.count("#body tr") < 60 and page.count(f"#row-{num - 1}") == 1
    page.set("#table-size-least", "30000", "input")
    page.settle()
    assert page.text("#count") == f"{num - 29_979:,} of {num:,} clusters"
    assert page.count("#body tr") < 60
