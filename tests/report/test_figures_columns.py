"""Figures of clusterings, columns and chains, on ordinary and on degenerate data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from spectro.analysis.chain_diagnosis import Diagnosis, diagnose
from spectro.analysis.chain_traces import ComponentTraces, Settings
from spectro.analysis.scaling import Scaling
from spectro.views.config import SUFFIXES, THEMES
from spectro.views.drawing import control, convergence, scatter, sizes, spread, traces
from spectro.views.drawing.control import ControlData
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.scatter import ScatterData
from spectro.views.drawing.sizes import SizesData, Spread
from spectro.views.drawing.spread import SpreadData
from spectro.views.drawing.theme import theme
from tests.report.written_text import require_drawn

NAN = float("nan")
MANY = ("embed", *(f"l{k}{p}" for k in range(24) for p in (*(f"h{h}" for h in range(16)), "mlp")))
FEW = ("embed", "l0h0", "l0h1", "l0mlp", "unembed", "$x^2$")
SETTINGS = Settings(num_draws=60, num_burnin_steps=8, gamma=300.0, nbeta=10.0, step_size=1e-3)


def clusters(num: int, known: bool = True) -> Spread:
    rng = np.random.default_rng(num)
    size_K = np.sort(rng.integers(8, 900, num))[::-1]
    return Spread(
        size_K=size_K,
        conductance_K=rng.random(num).astype(np.float32),
        stability_K=rng.random(num) if known else np.full(num, NAN),
        num_tokens=1000 * num,
        num_clustered=int(size_K.sum()),
    )


def tokens(num: int, **other: Any) -> ScatterData:
    rng = np.random.default_rng(0)
    plain: dict[str, Any] = {
        "components": ("l0h0", "$y_1$"), "scaling": Scaling.STANDARDISED,
        "reliability_2": np.array([0.5, NAN]), "x_n2": rng.normal(size=(num, 2)),
        "subset_n": rng.integers(0, 10, num),
        "subset_names": tuple(f"${name}$" for name in range(10)), "correlation": -0.25,
        "num_tokens": 2 * num,
    }  # fmt: skip
    return ScatterData(**{**plain, **other})


def columns(names: tuple[str, ...], value: float | None = None) -> ControlData:
    rng = np.random.default_rng(0)
    table = rng.random((2, len(names)))
    made = table if value is None else np.full_like(table, value)
    return ControlData(components=names, reliability_2H=made, deviation_2H=made * 1e-6)


def spreads(names: tuple[str, ...], num_rows: int, value: float | None = None) -> SpreadData:
    rng = np.random.default_rng(0)
    made = np.sort(rng.normal(size=(num_rows, len(names), 5)), axis=2)
    return SpreadData(
        names=tuple(["$a_1$", "\ue002\u05d0", "b" * 60][row % 3] for row in range(num_rows)),
        components=names,
        scaling=Scaling.CENTRED,
        reliability_C=np.linspace(0.1, 0.9, len(names)),
        num_tokens_R=np.arange(num_rows) * 1000,
        quantile_RC5=made if value is None else np.full_like(made, value),
    )


def chains(names: tuple[str, ...], num_chains: int = 3, num_draws: int = 20) -> list[Diagnosis]:
    """Every second component's chains are far apart, every third draws independently."""
    found = []
    for index, name in enumerate(names):
        rng = np.random.default_rng(index)
        x = 5 + rng.normal(size=(num_chains, num_draws))
        x += 20.0 * (index % 2) * np.arange(num_chains)[:, None]
        own = ComponentTraces(
            name=name, independent=index % 3 == 2, chains=tuple(range(num_chains)),
            delta_loss=tuple(x), weight=tuple(np.ones_like(row) for row in x),
            effective_sample_size=float(x.size), steps_between_draws=5, reliability=0.8,
        )  # fmt: skip
        found.append(diagnose(own, SETTINGS))
    return found


CASES: dict[str, tuple[Callable[[Any, Any], Figure], Any]] = {
    "clusters": (sizes.figure, SizesData(real=clusters(300), control=clusters(90))),
    "few clusters": (sizes.figure, SizesData(real=clusters(3), control=clusters(1, known=False))),
    "one cluster": (sizes.figure, SizesData(real=clusters(1, known=False), control=None)),
    "no clusters": (sizes.figure, SizesData(real=clusters(0), control=clusters(0))),
    "clusters of the control alone": (
        sizes.figure,
        SizesData(real=clusters(0), control=clusters(9)),
    ),
    "scatter": (scatter.figure, tokens(300)),
    "scatter of one token": (scatter.figure, tokens(1, correlation=NAN)),
    "scatter of nothing": (scatter.figure, tokens(0, correlation=NAN)),
    "scatter of no numbers": (scatter.figure, tokens(5, x_n2=np.full((5, 2), NAN))),
    "scatter of equal tokens": (scatter.figure, tokens(5, x_n2=np.zeros((5, 2)))),
    "spread": (spread.figure, spreads(FEW[:3], 8)),
    "spread of one set": (spread.figure, spreads(FEW[:1], 1)),
    "spread of nothing": (spread.figure, spreads(FEW, 0)),
    "spread of empty sets": (spread.figure, spreads(FEW[:2], 3, NAN)),
    "spread of equal tokens": (spread.figure, spreads(FEW[:2], 3, 0.0)),
    "control": (control.figure, columns(FEW)),
    "control of 410 components": (control.figure, columns(MANY)),
    "control of one component": (control.figure, columns(("embed",))),
    "control of equal columns": (control.figure, columns(FEW, 0.5)),
    "control of constant columns": (control.figure, columns(FEW, 0.0)),
    "control of nothing known": (control.figure, columns(FEW, NAN)),
    "rhat": (convergence.figure, chains(FEW)),
    "rhat of 410 components": (convergence.figure, chains(MANY)),
    "rhat of one chain": (convergence.figure, chains(FEW[:2], num_chains=1)),
    "rhat of one draw": (convergence.figure, chains(FEW[:1], num_draws=1)),
    "rhat of nothing": (convergence.figure, []),
    "traces": (traces.loss_traces, chains(FEW)),
    "traces of one draw": (traces.loss_traces, chains(FEW[:1], num_chains=1, num_draws=1)),
    "traces of nothing": (traces.loss_traces, []),
    "reliability": (traces.reliability_curves, chains(FEW)),
    "reliability of nothing": (traces.reliability_curves, []),
}


pytestmark = pytest.mark.usefixtures("every_warning_is_an_error")


@pytest.mark.parametrize("name", CASES)
def test_drawn(name: str) -> None:
    draw, data = CASES[name]
    require_drawn(draw(data, theme("light")), theme("light"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clusters", "scatter", "spread", "control", "rhat"])
def test_the_same_data_gives_the_same_bytes(name: str) -> None:
    draw, data = CASES[name]
    seen = set()
    for which, suffix in zip((*THEMES, "light"), SUFFIXES, strict=True):
        once = to_bytes(draw(data, theme(which)), suffix, theme(which))
        assert once == to_bytes(draw(data, theme(which)), suffix, theme(which))
        seen.add(once)
    assert len(seen) == len(SUFFIXES)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("clusters", sizes.HELP), ("one cluster", sizes.NO_CONTROL), ("scatter", scatter.HELP),
        ("spread", spread.HELP),
        ("control", control.HELP), ("rhat", convergence.HELP), ("traces", traces.TRACES_HELP),
        ("reliability", traces.CURVES_HELP),
    ],
)  # fmt: skip
def test_a_sentence_of_help_stands_in_it(name: str, sentence: str) -> None:
    draw, data = CASES[name]
    words = " ".join(text.get_text() for text in draw(data, theme("dark")).findobj(Text)).split()
    assert " ".join(sentence.split()) in " ".join(words)


def test_the_distributions_show_the_numbers() -> None:
    """Sizes by rank; the share of clusters with at most so much, and its median."""
    data = CASES["clusters"][1]
    ranks, conductance, _ = sizes.figure(data, theme("light")).axes
    for line, own in zip(ranks.lines, (data.real, data.control), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), np.sort(own.size_K)[::-1])
    step, middle = conductance.lines[:2]
    values = np.sort(data.real.conductance_K)
    at = 17
    share = np.asarray(step.get_ydata())[np.asarray(step.get_xdata()) == values[at]]
    assert share.max() == pytest.approx((values <= values[at]).mean())
    assert middle.get_xdata()[0] == pytest.approx(np.median(values))


def test_the_marks_of_a_scatter_are_the_tokens() -> None:
    data = CASES["scatter"][1]
    drawn = scatter.figure(data, theme("light")).axes[0]
    points = np.concatenate([np.asarray(each.get_offsets()) for each in drawn.collections])
    assert sorted(points.tolist()) == sorted(data.x_n2.tolist())
    assert "r = −0.25" in " ".join(t.get_text() for t in drawn.figure.findobj(Text))


def test_the_lines_of_a_spread_are_its_quantiles() -> None:
    data = CASES["spread"][1]
    panels = spread.figure(data, theme("light")).axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [
        f"{name} (reliability {reliability:.2f})"
        for name, reliability in zip(data.components, (0.1, 0.5, 0.9), strict=True)
    ]
    thin, thick, dot = panels[1].lines[1 + 3 * 2 :][:3]  # after the line at zero and two sets
    least, low, middle, high, most = data.quantile_RC5[2, 1].tolist()
    assert list(thin.get_xdata()) == [least, most] and list(thin.get_ydata()) == [2, 2]
    assert list(thick.get_xdata()) == [low, high] and list(dot.get_xdata()) == [middle]


@pytest.mark.parametrize(("rows", "columns", "what"), [(41, 1, "40 sets"), (3, 7, "6 components")])
def test_what_a_page_has_no_room_for(rows: int, columns: int, what: str) -> None:
    with pytest.raises(ValueError, match=f"room for {what}"):
        spread.figure(spreads(tuple(f"l0h{h}" for h in range(columns)), rows), theme("light"))


def test_chains_that_disagree_are_named() -> None:
    found = chains(FEW)
    upper, lower = convergence.figure(found, theme("light")).axes
    named = {text.get_text() for text in upper.texts}
    stepped = [each for each in found if not each.traces.independent]
    assert named == {each.traces.name for each in stepped if each.rhat > 1.1} != set()
    dots = [line for line in lower.lines if line.get_marker() == "o"]
    shares = np.concatenate([np.asarray(line.get_ydata()) for line in dots])
    assert shares.tolist() == [1.0] * len(found)
    hollow = sum(
        len(line.get_ydata())
        for line in dots
        if line.get_markerfacecolor() == theme("light").raised
    )
    assert hollow == sum(each.traces.independent for each in found)


def test_independent_draws_have_no_rhat() -> None:
    """Only their effective sample size is drawn, and the figure says why."""
    found = [each for each in chains(FEW) if each.traces.independent]
    made = convergence.figure(found, theme("light"))
    assert len(made.axes) == 1
    words = " ".join(" ".join(text.get_text() for text in made.findobj(Text)).split())
    assert convergence.NO_RHAT in words
