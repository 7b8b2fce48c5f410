"""Cards, map, control, reliability and bill of the page, and degenerate runs, in a real browser."""

import dataclasses
import itertools

import browser
import made_up_run
import numpy as np
import pytest
from made_up_text import TRAPS
from report_site import CONFIG, NUM_CLUSTERS, OPEN

from spectro.analysis.known_kinds import KnownKinds

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]


def test_a_click_opens_the_card_with_all_it_has(report_page, report_made):
    report_page.open_row(2)
    assert report_page.js(OPEN) == "Cluster #2"
    assert report_page.attribute('tr[data-id="2"]', "aria-selected") == "true"
    text = report_page.text("#card")
    for said in ("Random members", "Most central members", "drawn at random", "Neighbours",
                 "In the control", "Mean χ by component", "expression"):  # fmt: skip
        assert said in text
    assert report_page.count("#card .context") == 15 == report_page.count("#card .context .lit")
    assert report_page.count("#card .profile") == 1
    match, jaccard = report_made.matches.match_C[2], report_made.matches.jaccard_C[2]
    expected = f"cluster #{match}, " if match >= 0 else "No cluster of the control shares a token"
    assert expected in text and (match < 0 or f"Jaccard {jaccard:.2f}" in text)
    ids = report_made.real.clusters.examples_E[2].random
    losses = report_page.texts("#card ol[aria-label='Random members'] .loss")
    assert losses == [f"{report_made.shown_loss_s[i]:.2f}" for i in ids]
    report_page.press_on("#card .near")
    assert report_page.js(OPEN) == "Cluster #3"
    report_page.shot("card")
    report_page.press_on("#card .close")
    assert report_page.js(OPEN) is None
    assert report_page.js("document.activeElement.id") == "table"


def test_some_cluster_matches_one_of_the_control(report_page, report_made):
    found = np.flatnonzero(report_made.matches.match_C[:20] >= 0)
    assert found.size, "or the test before tests little"
    cluster = int(found[0])
    report_page.js(f"location.hash = '#cluster={cluster}'")
    report_page.wait(f"({OPEN}) === 'Cluster #{cluster}'")
    match = report_made.matches.match_C[cluster]
    size = report_made.control.clusters.size_K[match]
    assert f"Most alike: its cluster #{match}, {size} tokens" in report_page.text("#card .match")


def test_clusters_beyond_the_cards_say_so(report_page):
    report_page.js("location.hash = '#cluster=22'")
    report_page.wait(f"({OPEN}) === 'Cluster #22'")
    assert "kept for the 20 largest clusters" in report_page.text("#card")
    left_out = report_page.text("#left-out")
    assert "The 20 largest clusters have a ring and a card" in left_out
    assert "The map has 400 of 2,048 tokens" in left_out


def test_the_map_answers_pointer_and_keys(report_page):
    report_page.js("document.querySelector('.explorer').scrollIntoView()")
    left, top, width, height = report_page.box("#canvas")
    pixels = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    report_page.wait(f"(c => new Set({pixels}).size)(document.querySelector('#canvas')) > 20")
    is_over = "document.querySelector('#canvas').style.cursor === 'pointer'"
    for across, down in itertools.product(range(2, 38), range(2, 38)):  # a walk meets a cluster
        x, y = left + width * across / 40, top + height * down / 40
        report_page.pointer("mouseMoved", x, y)
        if report_page.js(is_over):
            break
    named = report_page.text("#tooltip strong")
    report_page.click(x, y)
    report_page.wait(f"({OPEN}) === 'Cluster {named}'")
    assert report_page.js("location.hash") == named.replace("#", "#cluster=")
    report_page.js("document.querySelector('#canvas').focus()")
    for key in ("+", "ArrowLeft", "ArrowUp", "-", "0"):
        report_page.press(key)
    report_page.press("/")
    assert report_page.js("document.activeElement.id") == "search"


def test_the_control_stands_beside(report_page, report_made):
    rows = report_page.cells("#strip tbody tr")
    assert [row[0] for row in rows] == ["run", "control, nβ = 0"]
    num = len(report_made.control.clusters)
    assert [row[1] for row in rows] == [str(NUM_CLUSTERS), str(num)]
    assert rows[0][5] == f"{np.median(report_made.real.clusters.conductance_K):.3f}"
    report_page.press_on("#control-body .more")
    assert report_page.count("#control-body .card") == num
    assert report_page.count("#control-body .line-run") == 1
    assert report_page.count("#control-body .line-control") == 1


def test_names_at_the_ends_of_like_curves_are_apart(open_report, report_made):
    page = open_report(dataclasses.replace(report_made, control=report_made.real))
    box = "document.querySelector('#control-body .name-{}').getBoundingClientRect().toJSON()"
    run, control = (page.js(box.format(name)) for name in ("run", "control"))
    # Boxes are taller than letters: two pixels of them may meet.
    assert max(run["top"], control["top"]) >= min(run["bottom"], control["bottom"]) - 2


def test_reliability_is_sorted_and_what_is_below_the_threshold_named(open_report, report_made):
    values = np.random.default_rng(0).permutation(np.linspace(0.9, 0.2, 22))
    columns = dataclasses.replace(
        report_made.real.columns, centred_reliability_H=values, threshold=0.4, left_out=("embed",),
        vectors=("Vectors: 21 dimensions.", "Two halves agree at r = 0.32."),
    )  # fmt: skip
    real = dataclasses.replace(report_made.real, columns=columns)
    page = open_report(dataclasses.replace(report_made, real=real))
    bars = "document.querySelectorAll('#reliability .bar-real, #reliability .bar-below')"
    heights = page.js(f"[...{bars}].map(bar => Number(bar.getAttribute('height')))")
    assert len(heights) == 22 and heights == sorted(heights, reverse=True)
    order = np.argsort(-values)
    below = np.array(columns.components)[order][values[order] < 0.4]
    assert len(below) == page.count("#reliability .bar-below") > 3
    assert page.count("#reliability .threshold") == 1
    text = page.text("#reliability .said")
    assert f"Below 0.4: {', '.join(below)}." in text and "found without embed" in text
    assert text.startswith("Vectors: 21 dimensions. Two halves agree at r = 0.32. ")
    page.js("document.querySelector('#reliability details').open = true")
    page.wait("document.querySelectorAll('#reliability tbody tr').length === 22")
    assert "± of χ (95 % interval, Student t, 4 chains)" in page.text("#reliability thead")


def test_the_bill_is_told(report_page):
    line = report_page.text("#bill-line")
    assert line == "3.0 min of devices' time, told by 1 of 2 stages; 2.1 Tflop in all."
    rows = report_page.cells("#stages tbody tr")
    assert rows[0] == ["posterior", "tiles", "3", "1 T", "1.1 T", "1.10", "3.0 min"]
    assert rows[1][-1] == "not recorded"
    assert "python 3.11.7" in report_page.text("#ledger")
    assert "seed: 0" in report_page.text("#config")


def test_what_the_records_lack_is_said(open_report, report_made):
    ledger = dataclasses.replace(report_made.ledger, stages=(), facts=(), missing=("Not known.",))
    page = open_report(dataclasses.replace(report_made, ledger=ledger))
    assert page.text("#bill-line") == "Not known."
    for part in ("bill", "records"):
        assert page.js(f"document.querySelector('#{part}').hidden")


def test_tokens_are_shown_and_never_executed(open_report):
    run = made_up_run.run(
        CONFIG, num_sequences=16, context=16, num_clusters=4, vocabulary=list(TRAPS)
    )
    page = open_report(dataclasses.replace(run, title="A <b>run</b>"), query="#cluster=0")
    assert page.js("document.title") == "A <b>run</b> · spectro"
    assert page.count("img, main script, svg[onload]") == 0
    text = page.text("#card") + page.text("#table")
    for shown in ("</script><script>", "onerror=", "F09F", "␀␛␍", "שלום", "U+202E", "😀"):
        assert shown in text
    isolated = "n => getComputedStyle(n).unicodeBidi === 'isolate'"
    assert page.js(f"[...document.querySelectorAll('.tok')].every({isolated})")
    page.search("<img")
    assert page.js("document.title") == "A <b>run</b> · spectro" and page.count("img") == 0


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_telephone(open_report, report_made, theme):
    query = f"?theme={theme}#cluster=1"
    page = open_report(report_made, query=query, width=420, height=900)
    assert page.js("document.documentElement.scrollWidth") <= 420
    assert page.js("document.documentElement.dataset.theme") == theme
    page.shot(f"telephone-{theme}")
    page.press_on("#theme")
    assert page.js("document.documentElement.dataset.theme") != theme
    page.js("localStorage.clear()")


SMALL = {"num_sequences": 16, "context": 16, "num_clusters": 4}
DEGENERATE = {
    "no clusters": {"num_clusters": 0},
    "one token": {"num_sequences": 1, "context": 1, "num_clusters": 0},
    "no control": {"control": False},
    "one component": {"names": ("l0mlp",)},
    "many components": {"names": made_up_run.components(24, 16)},
    "no stability": {"stable": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_run_draws_without_complaint(open_report, name):
    settings = SMALL | DEGENERATE[name]
    page = open_report(made_up_run.run(CONFIG, **settings))
    assert page.count("#reliability svg") == 1
    assert page.js("document.documentElement.scrollWidth") <= 1400
    num, without_control = settings["num_clusters"], name == "no control"
    assert page.count_said() == f"{num} of {num} clusters"
    assert ("No control was run" in page.text("#control-body")) == without_control
    if not num:
        assert page.text("#none") == "No cluster was found in this run."
        return
    page.open_row(0)
    assert page.js(OPEN) == "Cluster #0"
    assert ("No control was run" in page.text("#card")) == without_control
    if name == "no stability":
        assert page.text("#body td:nth-child(5)") == "–"
        page.sort("stability")
        assert page.ids() == [0, 1, 2, 3]


def test_what_was_found_says_over_how_many_clusters(open_report, report_made):
    kinds = tuple(
        KnownKinds(
            name=name, meaning="", num_tokens=9, auc=np.nan, auc_of_loss=np.nan, components=(),
            clusters=(), num_clusters=0, held=held,
        )
        for name, held in (("digits", 0.0), ("brackets", np.nan))
    )  # fmt: skip
    shares = np.full(len(report_made.real.clusters), np.nan)
    shares[:3] = 1.0
    page = open_report(dataclasses.replace(report_made, found=kinds, kind_K=shares))
    assert [row[4] for row in page.cells("#found-table tbody tr")] == ["none", "not known"]
    text = page.text("#found-table")
    assert "In half of the 3 clusters that have 10 members or more in the sample of" in text
    page = open_report(dataclasses.replace(report_made, found=kinds, kind_K=shares * np.nan))
    assert "In half of" not in page.text("#found-table")
