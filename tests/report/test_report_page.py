"""The page as text: complete, self-contained, harmless, the same every time."""

import dataclasses
import json
import re

import made_up_run
import numpy as np
import pytest

from spectro.report import ReportConfig, render
from spectro.report.html import embed
from spectro.report.page import page_data

SMALL = {"num_sequences": 16, "context": 16, "num_clusters": 4}
FEW = ReportConfig(max_points=30)  # so few are placed without UMAP
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


@pytest.fixture(scope="module")
def small():
    return made_up_run.run(**SMALL)


def test_the_page_holds_the_run(small):
    data = data_of(render(small, FEW))
    assert [card["size"] for card in data["clusters"]] == sorted(
        small.real.clusters.size_K.tolist(), reverse=True
    )
    assert data["columns"]["components"] == list(small.real.columns.components)
    assert len(data["control"]["sizes"]) == len(small.control.clusters.cluster_id_K)
    assert data["numTokens"] == 256 and len(data["points"]["x"]) == 30
    for card in data["clusters"]:
        assert len(card["contexts"]) == min(10, card["size"])


def test_every_token_shown_has_its_text(small):
    data = data_of(render(small, FEW))
    shown = set(data["points"]["token"])
    for card in data["clusters"] + data["control"]["clusters"]:
        shown |= {token for token, _ in card["top"]}
        for *_, before, y, after in card["contexts"]:
            shown |= {*before, y, *after}
    assert {str(token) for token in shown} == set(data["pieces"])


def test_points_refer_to_the_cards_they_belong_to(small):
    data = page_data(small, dataclasses.replace(FEW, max_points=31))
    label = dict(
        zip(
            small.real.clusters.member_token_id_M,
            small.real.clusters.member_cluster_id_M,
            strict=True,
        )
    )
    counts = np.bincount([c for c in data["points"]["cluster"] if c >= 0])
    assert counts.sum() <= len(label) and len(counts) <= len(data["clusters"])


def test_the_same_run_gives_the_same_bytes(small):
    assert render(small, FEW) == render(made_up_run.run(**SMALL), FEW)


def test_nothing_is_fetched(small):
    page = render(small, FEW)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert set(re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>\s]+)""", markup)) <= {
        *("#top", "#explore", "#clusters", "#columns", "#control", "#provenance", "data:,")
    }
    assert not re.search(r"https?://", page)
    for way in ("url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import(", "eval("):
        assert way not in page
    assert "default-src 'none'" in page


def test_hostile_tokens_stay_data():
    run = made_up_run.run(**SMALL, vocabulary=list(HOSTILE))
    page = render(dataclasses.replace(run, title="<b>&"), FEW)
    clean = render(made_up_run.run(**SMALL), FEW)
    assert page.count("<script") == clean.count("<script") == 2
    assert page.count("</script") == 2 and "<img" not in page and "<!--" not in page
    assert "<title>&lt;b&gt;&amp; · spectro</title>" in page
    block = re.search(r'id="data">(.*?)</script>', page)[1]
    assert block.isascii() and not set("<>&\n") & set(block)
    assert data_of(page)["pieces"]["1"] == "<img\ue002src=x\ue002onerror=alert(1)>"


def test_hostile_names_stay_data(small):
    probe = dataclasses.replace(small.probe, subset_names=("</script>", *made_up_run.SUBSETS[1:]))
    facts = (("<i>", "</script><script>x"),)
    page = render(dataclasses.replace(small, probe=probe, facts=facts, provenance="<!--"), FEW)
    assert page.count("</script") == 2 and data_of(page)["facts"] == [["<i>", "</script><script>x"]]


def test_a_number_that_is_not_finite_never_reaches_the_page():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed({"x": float("nan")})


def nan_columns(run):
    columns = run.real.columns
    broken = dataclasses.replace(columns, reliability_H=np.full(len(columns.components), np.nan))
    return dataclasses.replace(run, real=dataclasses.replace(run.real, columns=broken))


DEGENERATE = {
    "no clusters": lambda: made_up_run.run(**SMALL | {"num_clusters": 0}),
    "one cluster": lambda: made_up_run.run(**SMALL | {"num_clusters": 1}),
    "no control": lambda: made_up_run.run(**SMALL, control=False),
    "one component": lambda: made_up_run.run(**SMALL, names=("l0mlp",)),
    "unknown names": lambda: made_up_run.run(**SMALL, names=("something", "else")),
    "many components": lambda: made_up_run.run(**SMALL, names=made_up_run.components(12, 8)),
    "no reliability": lambda: nan_columns(made_up_run.run(**SMALL)),
    "one token": lambda: made_up_run.run(num_sequences=1, context=1, num_clusters=0),
    "no optional columns": lambda: dataclasses.replace(
        run := made_up_run.run(**SMALL),
        real=dataclasses.replace(
            run.real,
            columns=dataclasses.replace(run.real.columns, standard_error_H=None, mean_phi_H=None),
        ),
    ),
    "ids beyond the tokenizer": lambda: dataclasses.replace(
        made_up_run.run(**SMALL), vocabulary=made_up_run.words()[:3]
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_run_has_a_page(name):
    data = data_of(render(DEGENERATE[name](), FEW))
    assert (data["control"] is None) == (name == "no control")


def test_cards_are_bounded_but_clusters_are_all_listed(small):
    data = data_of(render(small, dataclasses.replace(FEW, max_cards=1, max_control_cards=0)))
    assert ["contexts" in card for card in data["clusters"]] == [True, False, False, False]
    assert data["control"]["clusters"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_cards": 0}, "report.max_cards must be at least 1, found 0"),
        ({"num_neighbours": 1}, "report.num_neighbours must be at least 2, found 1"),
        ({"seed": -1}, "report.seed must be at least 0, found -1"),
    ],
)
def test_settings_that_make_no_page_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReportConfig(**change)


def test_parts_of_different_runs_are_refused(small):
    with pytest.raises(ValueError, match="equally long"):
        dataclasses.replace(small, loss_N=small.loss_N[1:])
    other = made_up_run.run(**SMALL, names=("l0h0", "l0mlp"))
    with pytest.raises(ValueError, match="has 2 components, its clusters have 22"):
        mixed = dataclasses.replace(small.real, columns=other.real.columns)
        dataclasses.replace(small, real=mixed)
    clusters = dataclasses.replace(
        small.real.clusters, member_token_id_M=small.real.clusters.member_token_id_M + 10_000
    )
    with pytest.raises(ValueError, match="members that were not measured"):
        render(
            dataclasses.replace(small, real=dataclasses.replace(small.real, clusters=clusters)), FEW
        )
