"""The page as text: complete, self-contained, harmless, the same every time."""

import dataclasses
import json
import re

import made_up_run
import numpy as np
import pytest
from spectro.views.page.html import embed
from spectro.views.page.page import page_data, render

from spectro.views.page.config import ReportConfig

SMALL = {"num_sequences": 16, "context": 16, "num_clusters": 4}
CONFIG = ReportConfig(max_points=30)
HOSTILE = (
    b"</script><script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"<!--",
    b"]]>",
    b"\x00\x1b[31m",
    "\u2028\u2029\u202e".encode(),
    "😀 שלום".encode(),
    b"\xf0\x9f\x98",
    b"${title} $data &lt;",
    b"http://example.com/x.png",
)


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )


def contexts_of(card):
    return [*card["random"], *card["central"]]


@pytest.fixture(scope="module")
def small():
    return made_up_run.run(CONFIG, **SMALL)


def test_the_page_holds_the_run(small):
    data = data_of(render(small, CONFIG))
    clusters = small.real.clusters
    assert data["rows"]["size"] == clusters.size_K.tolist()
    assert data["rows"]["stability"][0] is None  # not known
    assert data["rows"]["stability"][1] == pytest.approx(clusters.stability_K[1], abs=1e-3)
    assert data["rows"]["subset"] == clusters.subset_counts_KP.argmax(axis=1).tolist()
    assert data["columns"]["components"] == list(small.real.columns.components)
    # half the interval of four chains is 3.18 standard errors, to three or four digits
    width = 3.18245 * small.real.columns.standard_error_H
    np.testing.assert_allclose(data["columns"]["halfWidth"], width, rtol=1e-3)
    assert data["columns"]["interval"] == "95 % interval, Student t, 4 chains"
    assert data["numTokens"] == 256 and len(data["points"]["x"]) == 30
    assert data["summary"]["clusters"] == 4 and data["summary"]["clustered"] == 80
    assert data["summary"]["size"] == np.median(clusters.size_K)
    assert data["control"]["summary"]["clusters"] == len(small.control.clusters)
    for card, shown in zip(data["cards"], clusters.examples_E, strict=True):
        assert [context[2] for context in card["random"]] == shown.random.tolist()
        assert [context[2] for context in card["central"]] == shown.central.tolist()
        assert len(card["random"]) == 10 and len(card["central"]) == 5


def test_contexts_have_the_loss_of_their_tokens(small):
    for card in data_of(render(small, CONFIG))["cards"]:
        for _, loss, token_id, position, *_ in contexts_of(card):
            assert loss == round(float(small.shown_loss_s[token_id]), 2)
            assert position == token_id % 16


def test_the_control_s_best_match_is_told(small):
    data = data_of(render(small, CONFIG))
    assert len(data["matches"]) == 4
    for k, match in enumerate(data["matches"]):
        if small.matches.match_C[k] < 0:
            assert match is None
        else:
            assert match == [
                small.matches.match_C[k],
                pytest.approx(small.matches.jaccard_C[k], abs=1e-3),
            ]


def test_every_token_shown_has_its_text(small):
    data = data_of(render(small, CONFIG))
    shown = set(data["points"]["token"])
    for side in (data, data["control"]):
        shown |= {token for tops in side["rows"]["tops"] for token in tops}
        for card in side["cards"]:
            shown |= {token for token, _ in card["top"]}
            for *_, before, y, after in contexts_of(card):
                shown |= {*before, y, *after}
    assert {str(token) for token in shown} == set(data["pieces"])


def test_the_same_run_gives_the_same_bytes(small):
    assert render(small, CONFIG) == render(made_up_run.run(CONFIG, **SMALL), CONFIG)


def test_nothing_is_fetched(small):
    page = render(small, CONFIG)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert set(re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>\s]+)""", markup)) <= {
        *("#top", "#found", "#clusters", "#columns", "#control", "#provenance", "data:,")
    }
    assert not re.search(r"https?://", page)
    for way in ("url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import(", "eval("):
        assert way not in page
    assert "default-src 'none'" in page


def test_shared_modules_become_one_script(small):
    page = render(small, CONFIG)
    script = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)[0]
    assert not re.search(r"^\s*(import|export)\b", script, flags=re.MULTILINE)
    names = re.findall(
        r"^(?:async )?(?:function|const|let|class) ([\w$]+)", script, flags=re.MULTILINE
    )
    assert len(names) > 100 and len(names) == len(set(names)), "names must differ"


def test_hostile_tokens_stay_data():
    run = made_up_run.run(CONFIG, **SMALL, vocabulary=list(HOSTILE))
    page = render(dataclasses.replace(run, title="<b>&"), CONFIG)
    clean = render(made_up_run.run(CONFIG, **SMALL), CONFIG)
    assert page.count("<script") == clean.count("<script") == 2
    assert page.count("</script") == 2 and "<img" not in page and "<!--" not in page
    assert "<title>&lt;b&gt;&amp; · spectro</title>" in page
    block = re.search(r'id="data">(.*?)</script>', page)[1]
    assert block.isascii() and not set("<>&\n") & set(block)
    assert data_of(page)["pieces"]["1"] == "<img\ue002src=x\ue002onerror=alert(1)>"


def test_hostile_names_stay_data(small):
    probe = dataclasses.replace(small.probe, subset_names=("</script>", *made_up_run.SUBSETS[1:]))
    facts = (("<i>", "</script><script>x"),)
    ledger = dataclasses.replace(small.ledger, facts=facts, missing=("<!-- $data",))
    changed = dataclasses.replace(small, probe=probe, facts=facts, ledger=ledger, provenance="<!--")
    page = render(changed, CONFIG)
    assert page.count("</script") == 2 and data_of(page)["facts"] == [["<i>", "</script><script>x"]]
    assert data_of(page)["ledger"]["missing"] == ["<!-- $data"]


def test_a_number_that_is_not_finite_never_reaches_the_page():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed({"x": float("nan")})


def nan_columns(run):
    columns = run.real.columns
    broken = dataclasses.replace(columns, reliability_H=np.full(len(columns.components), np.nan))
    return dataclasses.replace(run, real=dataclasses.replace(run.real, columns=broken))


def small_run(**changes):
    return made_up_run.run(CONFIG, **SMALL | changes)


DEGENERATE = {
    "no clusters": lambda: small_run(num_clusters=0),
    "one cluster": lambda: small_run(num_clusters=1),
    "one token": lambda: small_run(num_sequences=1, context=1, num_clusters=0),
    "no control": lambda: small_run(control=False),
    "one component": lambda: small_run(names=("l0mlp",)),
    "unknown names": lambda: small_run(names=("something", "else")),
    "many components": lambda: small_run(names=made_up_run.components(12, 8)),
    "unknown reliability": lambda: nan_columns(small_run()),
    "unknown stability": lambda: small_run(stable=False),
    "few words": lambda: small_run(vocabulary=made_up_run.words()[:3]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_run_has_a_page(name):
    data = data_of(render(DEGENERATE[name](), CONFIG))
    assert (data["control"] is None) == (name == "no control")
    assert (data["matches"] is None) == (name == "no control")


def test_cards_are_bounded_but_clusters_are_all_listed():
    config = ReportConfig(max_points=30, max_cards=1, max_control_cards=0)
    data = data_of(render(made_up_run.run(config, **SMALL), config))
    assert len(data["cards"]) == len(data["points"]["at"]) == len(data["matches"]) == 1
    assert len(data["rows"]["size"]) == 4
    assert data["control"]["cards"] == [] and len(data["control"]["rows"]["size"]) == 1


def test_rows_are_bounded_and_what_is_told_of_all_is_of_all(small):
    data = page_data(small, dataclasses.replace(CONFIG, max_rows=2))
    assert {len(column) for column in data["rows"].values()} == {2}
    assert data["summary"]["clusters"] == 4


def test_a_page_of_published_size_is_small():
    num, config = 57_236, ReportConfig(max_points=30)
    small = made_up_run.run(config, **SMALL)
    clusters = small.real.clusters
    many = {
        name: np.resize(values, (num, *values.shape[1:]))
        for name, values in vars(clusters).items()
        if "_K" in name
    }
    real = dataclasses.replace(small.real, clusters=dataclasses.replace(clusters, **many))
    page = render(dataclasses.replace(small, real=real, matches=None), config)
    assert len(data_of(page)["rows"]["size"]) == num
    assert len(page) < 6_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_cards": 0}, "report.max_cards must be at least 1, found 0"),
        ({"max_rows": 0}, "report.max_rows must be at least 1, found 0"),
        ({"num_neighbours": 1}, "report.num_neighbours must be at least 2, found 1"),
        ({"seed": -1}, "report.seed must be at least 0, found -1"),
    ],
)
def test_settings_that_make_no_page_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReportConfig(**change)


def test_parts_of_different_runs_are_refused(small):
    clusters = small.real.clusters
    with pytest.raises(ValueError, match="equally long"):
        dataclasses.replace(clusters, size_K=clusters.size_K[1:])
    other = small_run(names=("l0h0", "l0mlp"))
    with pytest.raises(ValueError, match="has 2 components, its clusters have 22"):
        mixed = dataclasses.replace(small.real, columns=other.real.columns)
        dataclasses.replace(small, real=mixed)
    with pytest.raises(ValueError, match="has 8 subsets, its clusters have 2"):
        fewer = dataclasses.replace(clusters, subset_counts_KP=clusters.subset_counts_KP[:, :2])
        dataclasses.replace(small, real=dataclasses.replace(small.real, clusters=fewer))
    with pytest.raises(ValueError, match="4 clusters, 1 were matched"):
        matches = made_up_run.matches(made_up_run.made(**SMALL | {"num_clusters": 1}))
        dataclasses.replace(small, matches=matches)
