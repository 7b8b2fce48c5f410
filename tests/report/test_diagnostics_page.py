"""The page of diagnostics: its values, figures and table, of made traces of every verdict."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from matplotlib.text import Text

from spectro.analysis.chain_diagnosis import Diagnosis, diagnose
from spectro.analysis.chain_verdict import Verdict
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import THEMES, theme
from spectro.views.drawing.traces import loss_traces, reliability_curves
from spectro.views.figures.kinds import worst_first
from spectro.views.page.diagnostics_page import as_dict, cells, page
from tests.report.test_diagnostics import BAD, SETTINGS, course, traces


def some() -> list[Diagnosis]:
    """One of each kind, with a name that is markup and mathematics."""
    rng = np.random.default_rng(0)
    found = [
        diagnose(dataclasses.replace(traces(make(rng)), name=f"l0h{index}"), SETTINGS)
        for index, (make, _) in enumerate(BAD.values())
    ]
    hostile = traces(course(rng, 2, 30), name="<script>$x^2$</script>", reliability=math.nan)
    return [*found, diagnose(hostile, SETTINGS)]


def test_plain_values() -> None:
    told = json.loads(json.dumps([as_dict(each) for each in some()], allow_nan=False))
    assert [each["verdict"] for each in told[:-1]] == [str(verdict) for verdict in BAD]
    nan = told[0]["delta_loss"][1]["draws"]
    assert nan[7] is None and len(nan) == 60
    curve = told[2]["reliability"]
    assert curve["measured"] == [{"draws": 120.0, "reliability": 0.8}]
    assert curve["predicted"][0] == {"draws": 120.0, "reliability": 0.8, "centred": None}
    assert curve["predicted"][1]["reliability"] == pytest.approx(1.6 / 1.8)


def test_worst_first() -> None:
    ordered = worst_first(some()[::-1])
    assert [each.verdict for each in ordered[:3]] == [v for v in Verdict if v in BAD][:3]


@pytest.mark.slow
@pytest.mark.parametrize("draw", [loss_traces, reliability_curves])
@pytest.mark.parametrize("name", THEMES)
def test_figures_have_the_same_bytes(draw: object, name: str) -> None:
    for diagnoses in ([], some()[:1], some()):
        one, two = (to_bytes(draw(diagnoses, theme(name)), ".svg", theme(name)) for _ in range(2))
        assert one == two and b"<script" not in one and b"<dc:date>" not in one


def test_the_page() -> None:
    found = some()
    text = page("<b>run</b>", found, panels=3)
    assert text == page("<b>run</b>", found, panels=3)
    assert "<script" not in text and "<b>" not in text and "&lt;script&gt;$x^2$" in text
    assert "Shown are 3 of 10 components" in text
    assert text.count("<tr>") == 11 and text.count("data:image/svg+xml") == 4
    assert "http" not in text.replace("http-equiv", "")
    assert [len(cells(each)) for each in found] == [9] * 10


def drawn(diagnoses: list[Diagnosis]) -> tuple[dict[str, list[float]], str, list[str]]:
    """Of the picture of reliability: dots by component, its head, words in the panel."""
    figure = reliability_curves(diagnoses, theme("light"))
    (axes,) = figure.axes
    dots = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    names = [line.get_label() for line in axes.lines if line.get_linestyle() == "--"]
    head = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
    return dict(zip(names, dots, strict=True)), head, [text.get_text() for text in axes.texts]


def test_what_is_judged_is_what_is_drawn() -> None:
    """The row-centred reliability where it is known, and it is said which."""
    x = 5 + course(np.random.default_rng(0), 3, 60)
    raw = {"reliability": 0.9, "split_reliability": (0.88, 0.9, 0.92)}
    centred = diagnose(traces(x, name="a", centred_reliability=0.3, **raw), SETTINGS)
    other = diagnose(traces(x, name="b", **raw), SETTINGS)
    none = diagnose(traces(x, name="c", centred_reliability=-0.2, **raw), SETTINGS)
    dots, head, words = drawn([centred])
    assert dots == {"a": [0.3]} and "All of row-centred χ." in head and not words
    dots, head, words = drawn([other])
    assert dots == {"b": [0.88, 0.9, 0.92]} and "All of raw χ." in head
    dots, head, words = drawn([centred, other, none])
    assert set(dots) == {"a", "b"} and "Filled: row-centred χ, hollow: raw χ." in head
    assert words == ["not drawn: 1 whose halves do not agree (r ≤ 0)"]
    (axes,) = reliability_curves([centred], theme("light")).axes
    (place,) = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert place == pytest.approx(60)  # halves of three chains have one each
    curve = next(line for line in axes.lines if line.get_linestyle() == "--")
    at = np.interp(180, curve.get_xdata(), curve.get_ydata())
    assert at == pytest.approx(centred.traces.whole_reliability, abs=0.01)


def test_traces_say_that_there_are_more() -> None:
    found = some()
    few = loss_traces(found[:3], theme("light"), num_all=len(found))
    assert few.get_supxlabel() == "3 of 10 components, the worst verdicts first"
    every = loss_traces(found, theme("light"), num_all=len(found))
    assert not every.get_supxlabel()


def test_the_table_has_no_number_that_is_no_reliability() -> None:
    made = traces(5 + course(np.random.default_rng(0), 4, 60), centred_reliability=-1.0)
    text = page("run", [diagnose(made, SETTINGS)], panels=1)
    table = re.search(r"<table>.*?</table>", text, re.DOTALL)
    assert table is not None and '<td class="number">≤ 0</td>' in table[0]
