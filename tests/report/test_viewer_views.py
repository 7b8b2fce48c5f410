"""The viewer as one file and as a folder in a real browser: cards, sections, degenerate runs."""

import dataclasses

import browser
import made_map
import numpy as np
import pytest

from spectro.views.page.write import reduced

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser.find() is None,
        reason=f"no browser: none of {', '.join(browser.NAMES)} is installed",
    ),
]
OPEN = "document.querySelector('#card h2')?.textContent ?? null"
LINES = "document.querySelectorAll('#card .context .lit').length"
LOSSES = (
    "[...document.querySelectorAll('#card [aria-label=\"Random members\"] .loss')]"
    ".map(node => node.textContent)"
)
TEXT = "[...document.querySelectorAll({!r})].map(row => [...row.children].map(c => c.textContent))"


def cells(page, selector):
    """Texts of the cells of some rows."""
    return page.js(TEXT.format(selector))


def with_matches(num_tokens=1200, num_clusters=8):
    clusters = made_map.made_map(num_tokens, num_clusters).clusters
    match = np.arange(num_clusters, dtype=np.int32) % 3 - 1
    jaccard = (match >= 0) * np.float32(0.25)
    return dataclasses.replace(clusters, control_match=match, control_jaccard=jaccard)


@pytest.mark.parametrize("packaging", ["folder", "one file"])
def test_both_packagings_draw_search_and_open(packaging, opened, one_file, map_window):
    clusters, sizes = with_matches(), {"clusters": 2, "sizes": [30, 20], "tokens": 50}
    fields = {"clusters": clusters, "control": sizes | {"conductances": [0.5, 0.5]}}
    if packaging == "folder":
        page = opened(1200, 8, **fields)
    else:
        page = one_file(made_map.made_map(1200, 8, **fields), window=map_window)
    assert page.summary() == "8 of 8 clusters, 1,200 of 1,200 tokens drawn"
    assert page.js("spectroMap.view.scene.blocks.length") == 1
    page.type_search("#2")
    page.press("Escape")
    page.change(open=2, panel="card")
    assert page.js(OPEN) == "Cluster #2"
    page.wait(f"{LINES} === 25")
    text = page.text("#card")
    for said in ("Random members", "Most central members", "drawn at random", "Neighbours",
                 "Most alike: its cluster #1, 20 tokens, Jaccard 0.25"):  # fmt: skip
        assert said in text
    shown = clusters.examples_loss[2]
    assert page.js(LOSSES) == [f"{loss:.2f}" for loss in shown]
    page.wait("document.querySelectorAll('#card .profile').length === 1")
    page.change(open=3)
    assert "No cluster of the control shares a token" in page.text("#card")
    page.js("document.querySelector('#card .close').click()")
    assert page.js(OPEN) is None


def test_a_file_of_a_large_run_says_what_it_left_out(one_file, monkeypatch):
    monkeypatch.setattr("spectro.views.page.write.ALL_SEQUENCES_BYTES", 1000)
    page = one_file(reduced(made_map.made_map(2400, 12), 8, 3), "#cluster=2")
    page.wait(f"{LINES} === 25")
    page.change(open=5)
    assert "Contexts are kept for the largest clusters" in page.text("#card")
    assert "has the 8 largest of 12 clusters (report.max_rows)" in page.text("#left-out")


def test_the_control_is_in_the_same_file(one_file):
    control = made_map.made_map(300, 2, is_control=True, control=None, title="made / control")
    data = made_map.made_map(600, 4)
    data = dataclasses.replace(data, control={**data.control, "map": "control"})
    page = one_file(data, "", control)
    assert page.text("#maps") == "runnβ = 0 control"
    other = page.js("document.querySelectorAll('#maps a')[1].href")
    page.visit(page.address, other.removeprefix(page.address))
    assert page.text("#title") == "made / control" and "of 2 clusters" in page.summary()


def test_the_control_is_beside_the_run(one_file):
    page = one_file(made_map.made_map(600, 10), "#show=control")
    rows = cells(page, "#control-body tbody tr")
    assert [row[0] for row in rows] == ["run", "control, nβ = 0"]
    assert [row[1] for row in rows] == ["10", "2"]
    assert page.count("#control-body .line-run") == page.count("#control-body .line-control") == 1


def test_reliability_is_sorted_and_what_is_below_the_threshold_named(one_file):
    data = made_map.made_map(300, 3)
    values = np.random.default_rng(0).permutation(np.linspace(0.9, 0.2, 22))
    columns = made_map.columns_of(data, 1.0) | {
        "centred": values.tolist(), "threshold": 0.4, "leftOut": ["embed"],
        "vectors": ["Vectors: 21 dimensions.", "Two halves agree at r = 0.32."],
    }  # fmt: skip
    report = made_map.made_report(data, columns=columns)
    page = one_file(dataclasses.replace(data, report=report), "#show=columns")
    bars = "document.querySelectorAll('#reliability .bar-real, #reliability .bar-below')"
    heights = page.js(f"[...{bars}].map(bar => Number(bar.getAttribute('height')))")
    assert len(heights) == 22 and heights == sorted(heights, reverse=True)
    order = np.argsort(-values)
    below = np.array(data.components)[order][values[order] < 0.4]
    assert len(below) == page.count("#reliability .bar-below") > 3
    assert page.count("#reliability .threshold") == 1
    text = page.text("#reliability .said")
    assert f"Below 0.4: {', '.join(below)}." in text and "found without embed" in text
    assert text.startswith("Vectors: 21 dimensions. Two halves agree at r = 0.32. ")
    page.js("document.querySelector('#reliability details').open = true")
    page.wait("document.querySelectorAll('#reliability tbody tr').length === 22")
    assert "± of χ (95 % interval, Student t, 4 chains)" in page.text("#reliability thead")


def test_records_and_bill(one_file):
    page = one_file(made_map.made_map(300, 3), "#show=run")
    line = page.text("#bill-line")
    assert line == "3.0 min of devices' time, recorded by 1 of 2 stages; 2.1 Tflop in all."
    rows = cells(page, "#stages tbody tr")
    assert rows[0] == ["posterior", "tiles", "3", "1 T", "1.1 T", "1.10", "3.0 min"]
    assert rows[1][-1] == "not recorded"
    assert "python 3.11.7" in page.text("#ledger") and "seed: 0" in page.text("#config")


def test_what_the_records_lack_is_said(one_file):
    data = made_map.made_map(300, 3)
    ledger = {"facts": [], "stages": [], "missing": ["Not known."]}
    report = made_map.made_report(data, ledger=ledger)
    page = one_file(dataclasses.replace(data, report=report))
    assert page.text("#bill-line") == "Not known."
    for part in ("bill", "records"):
        assert page.js(f"document.querySelector('#{part}').hidden")


def test_what_was_found_says_over_how_many_clusters(one_file):
    data = made_map.made_map(300, 3)
    kinds = [
        {"name": name, "meaning": "", "tokens": 9, "auc": auc, "aucOfLoss": 0.5,
         "components": [["l0h0", 0.7]], "clusters": [[1, 0.8]] * number, "numClusters": number,
         "held": held}
        for name, auc, number, held in (
            ("digits", 0.8, 1, 0.5), ("white space", None, 0, 0.0), ("brackets", None, 0, None)
        )
    ]  # fmt: skip
    shares = [0.9, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1, 0.0, 0.0]
    names = {
        "threshold": 0.5,
        "least_held_out": 5,
        "sets": 3,
        "judged": 3,
        "recognisable": 1,
        "median_f1": 0.21,
        "chance_auc": 0.52,
        "random": {"judged": 3, "recognisable": 0, "median_f1": 0.0},
        "same_y": {"judged": 0, "recognisable": 0, "median_f1": None},
        "curve": {
            "f1": [k / 10 for k in range(1, 10)],
            "sets": shares,
            "random": shares[::-1],
            "same_y": None,
        },
    }
    report = made_map.made_report(data, found=kinds, names=names)
    page = one_file(dataclasses.replace(data, report=report), "#show=found")
    assert [row[4] for row in cells(page, "#found-table tbody tr")] == ["#1", "none", "not known"]
    assert "1 of 3 clusters (33 %) are recognisable" in page.text("#names")
    rows = cells(page, "#names tbody tr")
    assert rows[0][:3] == ["clusters (3)", "90 %", "50 %"] and rows[-1][1:] == ["–"] * 9
    page.js("document.querySelector('#found-table .near').click()")
    assert page.js(OPEN) == "Cluster #1" and page.js("spectroMap.state.view") == "found"


def test_tokens_are_shown_and_never_executed(one_file):
    data = made_map.made_map(2000, 24, title="A <b>run</b>")
    page = one_file(data, "#show=clusters&cluster=0")
    assert page.js("document.title") == "A <b>run</b> · spectro"
    text = page.text("#table")
    for shown in ("<script>alert(1)</script>", "onerror=", "F09F", "שלום", "U+202E", "😀"):
        assert shown in text
    assert page.count("img, main script, svg[onload]") == 0
    isolated = "n => getComputedStyle(n).unicodeBidi === 'isolate'"
    assert page.js(f"[...document.querySelectorAll('.tok')].every({isolated})")
    page.type_search("<img")
    assert page.js("document.title") == "A <b>run</b> · spectro" and page.count("img") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_telephone(one_file, theme):
    data = made_map.made_map(600, 6)
    page = one_file(data, f"?theme={theme}#cluster=1", width=420, height=900)
    for view in ("map", "found", "clusters", "columns", "control", "run"):
        page.change(view=view)
        assert page.js("document.documentElement.scrollWidth") <= 420, view
    assert page.js("document.documentElement.dataset.theme") == theme
    page.js("document.querySelector('#theme').click()")
    assert page.js("document.documentElement.dataset.theme") != theme
    page.js("localStorage.clear()")


DEGENERATE = {
    "no clusters": {"num_clusters": 0},
    "one token": {"num_tokens": 1},
    "no control": {"control": None},
    "old sections": {"report": {}},
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_run_draws_without_complaint(one_file, name):
    settings = {"num_tokens": 300, "num_clusters": 1} | DEGENERATE[name]
    page = one_file(made_map.made_map(**settings), "#show=clusters")
    assert page.count("#reliability svg") == 1
    num = settings["num_clusters"]
    assert page.text("#count") == f"{num} of {num} cluster{'s' if num != 1 else ''}"
    assert ("was not run" in page.text("#control-body")) == (name == "no control")
    if not num:
        assert page.text("#none") == "No cluster was found in this run."
        return
    page.change(open=0, panel="card")
    assert page.js(OPEN) == "Cluster #0"
