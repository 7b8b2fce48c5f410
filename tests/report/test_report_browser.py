"""The page's table in a real browser: sorting, filters, keys, addresses, very many rows."""

import dataclasses
import itertools

import browser
import made_up_run
import numpy as np
import pytest
from report_site import ACTIVE, CONFIG, NUM_CLUSTERS, OPEN

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
ALL = f"{NUM_CLUSTERS} of {NUM_CLUSTERS} clusters"


def values_of(run, key):
    """What a column shows, by cluster."""
    clusters, subsets = run.real.clusters, run.probe.subset_names
    return {
        "id": np.arange(len(clusters)),
        "size": clusters.size_K,
        "conductance": clusters.conductance_K.round(4),
        "stability": clusters.stability_K.round(3),
        "purity": clusters.purity_K.round(3),
        "tokenPurity": clusters.token_purity_K.round(3),
        "subset": np.array([subsets[i] for i in clusters.subset_counts_KP.argmax(axis=1)]),
    }[key]


@pytest.mark.parametrize(
    "key", ["id", "size", "conductance", "stability", "purity", "tokenPurity", "subset"]
)
def test_every_column_sorts_both_ways(report_page, report_made, key):
    values = values_of(report_made, key)
    directions = set()
    for _ in range(2):
        report_page.sort(key)
        heads = "[...document.querySelectorAll('#heads th')].map(n => [n.dataset.key, n.ariaSort])"
        sorts = dict(report_page.js(heads))
        direction = sorts.pop(key)
        assert set(sorts.values()) == {"none"}
        directions.add(direction)
        ids = report_page.ids()
        shown = values[ids]
        known = shown[shown == shown]
        assert known.tolist() == sorted(known.tolist(), reverse=direction == "descending")
        assert not np.any(shown[len(known) :] == shown[len(known) :]), "what is not known is last"
        for a, b in itertools.pairwise(ids):
            assert values[a] != values[b] or a < b, "equals by size"
    assert directions == {"ascending", "descending"}


def test_sorting_by_tokens_is_by_their_text(report_page):
    report_page.sort("tops")
    texts = [text.lower() for text in report_page.texts("#body tr[data-id] td:nth-child(3)")]
    assert len(texts) > 10 and len(set(texts)) > 10
    firsts = [text[0] for text in texts]
    assert firsts == sorted(firsts)


def test_ranges_count_right_and_are_undone(report_page, report_made):
    clusters = report_made.real.clusters
    assert report_page.count_said() == ALL
    report_page.set("#size-least", "30", "input")
    report_page.set("#conductance-most", "0.25", "input")
    passes = (clusters.size_K >= 30) & (clusters.conductance_K.round(4) <= 0.25)
    assert 0 < passes.sum() < NUM_CLUSTERS
    assert report_page.count_said() == f"{passes.sum()} of {NUM_CLUSTERS} clusters"
    assert set(report_page.ids()) == set(np.flatnonzero(passes))
    report_page.press_on("#reset button")
    assert report_page.count_said() == ALL
    assert report_page.js("document.querySelector('#size-least').value") == ""
    report_page.set("#stability-least", "0", "input")
    known = np.isfinite(clusters.stability_K).sum()
    assert 0 < known < NUM_CLUSTERS
    assert report_page.count_said() == f"{known} of {NUM_CLUSTERS} clusters"


def test_subsets_are_switched_off_and_on(report_page, report_made):
    subset = report_made.real.clusters.subset_counts_KP.argmax(axis=1)
    chip = f"#legend button:nth-child({subset[0] + 1})"
    report_page.press_on(chip)
    assert report_page.attribute(chip, "aria-pressed") == "false"
    assert set(report_page.ids()) == set(np.flatnonzero(subset != subset[0]))
    report_page.press_on(chip)
    assert report_page.count_said() == ALL


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("th", "th"), ("·", " "), (" ", " "), ("⏎", "\n"), ("zz", "zz"), ("λ", "λ")],
)
def test_search_is_by_the_most_common_tokens(report_page, report_made, typed, meant):
    pieces = report_made.vocabulary.pieces
    has = [
        any(t >= 0 and meant in pieces[t].decode("utf-8", "replace").lower() for t in tops)
        for tops in report_made.real.clusters.top_tokens_KT[:, :6]
    ]
    report_page.search(typed)
    assert report_page.count_said() == f"{sum(has)} of {NUM_CLUSTERS} clusters"
    assert report_page.js("document.querySelector('#none').hidden") == any(has)
    report_page.search("")
    assert report_page.count_said() == ALL


def test_search_by_number_opens_on_enter(report_page):
    report_page.search("#7")
    assert report_page.ids() == [7]
    report_page.js("document.querySelector('#search').focus()")
    report_page.press("Enter")
    assert report_page.js(OPEN) == "Cluster #7"


def test_the_keyboard_does_all(report_page):
    report_page.js("document.querySelector('th[data-key=conductance] button').focus()")
    report_page.press("Enter")
    assert report_page.attribute("th[data-key=conductance]", "aria-sort") == "ascending"
    first, second, *_ = report_page.ids()
    report_page.js("document.querySelector('#table').focus()")
    report_page.press("ArrowDown")
    report_page.press("ArrowDown")
    assert report_page.js(ACTIVE) == f"row-{second}"
    report_page.press("ArrowUp")
    report_page.press("Enter")
    assert report_page.js(OPEN) == f"Cluster #{first}"
    assert report_page.js("document.activeElement.id") == "table", "the arrows go on"
    report_page.press("End")
    last = report_page.js(ACTIVE)
    _, row_top, _, row_height = report_page.box(f"#{last}")
    _, box_top, _, box_height = report_page.box("#rows")
    assert box_top <= row_top and row_top + row_height <= box_top + box_height + 1
    report_page.press("Home")
    assert report_page.js(ACTIVE) == f"row-{first}"
    report_page.press("Escape")
    assert report_page.js(OPEN) is None
    report_page.press("/")
    assert report_page.js("document.activeElement.id") == "search"


STATE = "JSON.stringify([location.hash, document.querySelector('#summary').textContent])"


def test_the_address_holds_what_is_seen(report_page, report_made):
    report_page.search("e")
    report_page.sort("stability")
    report_page.sort("stability")
    report_page.press_on("#legend button:nth-child(2)")
    report_page.set("#size-least", "21", "input")
    cluster = report_page.ids()[0]
    report_page.open_row(cluster)
    address, seen = report_page.js("location.hash"), report_page.js(STATE)
    for part in ("search=e", "sort=stability.rising", "hide=1", "size=21..", f"cluster={cluster}"):
        assert part in address
    ids = report_page.ids()
    report_page.check()
    report_page.show(report_made, query=address)
    assert report_page.js(STATE) == seen and report_page.ids() == ids
    assert report_page.js(OPEN) == f"Cluster #{cluster}"
    assert report_page.js("document.querySelector('#search').value") == "e"
    report_page.press_on(".bar a[href='#columns']")
    assert report_page.js(STATE) == seen, "going to a section keeps the address"


def test_back_and_wrong_addresses(report_page):
    report_page.open_row(1)
    report_page.open_row(2)
    report_page.js("history.back()")
    report_page.wait(f"({OPEN}) === 'Cluster #1'")
    wrong = "#cluster=999999&sort=__proto__.x&hide=77,x&size=..&conductance=a..b"
    report_page.js(f"location.hash = '{wrong}'")
    report_page.wait(f"({OPEN}) === null")
    assert report_page.count_said() == ALL
    report_page.js("location.hash = '#c3'")
    report_page.wait(f"({OPEN}) === 'Cluster #3'")


def test_tens_of_thousands_of_clusters_draw_only_what_is_in_sight(open_report):
    num = 57_236
    small = made_up_run.run(CONFIG, num_sequences=16, context=16, num_clusters=4)
    clusters = small.real.clusters
    many = {
        name: np.resize(values, (num, *values.shape[1:]))
        for name, values in vars(clusters).items()
        if "_K" in name
    }
    many["size_K"] = np.arange(num, 0, -1) + 20
    real = dataclasses.replace(small.real, clusters=dataclasses.replace(clusters, **many))
    page = open_report(dataclasses.replace(small, real=real, control=None, matches=None))
    assert 10 < page.count("#body tr") < 60
    assert page.attribute("#table", "aria-rowcount") == str(num + 1)
    page.js("document.querySelector('#table').focus()")
    page.press("End")
    assert page.js(ACTIVE) == f"row-{num - 1}"
    assert page.count("#body tr") < 60 and page.count(f"#row-{num - 1}") == 1
    page.sort("conductance")
    page.set("#size-least", "30000", "input")
    assert page.count_said() == f"{num - 29_979:,} of {num:,} clusters"
    assert page.count("#body tr") < 60
