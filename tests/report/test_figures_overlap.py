"""No text of a figure covers another, and none leaves the figure, in every kind of figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_circuit
import test_figures
import test_figures_columns
from matplotlib.figure import Figure
from written_text import covered, outside

from spectro.analysis.head_scores import HeadScores
from spectro.views.circuit import CircuitData
from spectro.views.drawing import circuit
from spectro.views.drawing.labels import name_marks
from spectro.views.drawing.theme import style, theme

CASES: dict[str, tuple[Callable[[Any, Any], Figure], Any]] = {
    name: case
    for name, case in (test_figures.CASES | test_figures_columns.CASES).items()
    if " of " not in name or "410" in name
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if "410" in n else []) for n in CASES]
)
def test_texts_are_apart(name: str) -> None:
    draw, data = CASES[name]
    made = draw(data, theme("light"))
    assert covered(made) == []
    assert outside(made) == []


def test_names_are_beside_marks() -> None:
    """200 marks in a heap: some names have room, none covers a mark or another name."""
    with style(theme("light")):
        made = Figure(figsize=(4, 4))
        axes = made.add_subplot()
        xy_n2 = np.random.default_rng(0).normal(size=(200, 2))
        axes.plot(*xy_n2.T, "o", markersize=3)
        made.draw_without_rendering()
        names = [f"l{index % 4}h{index}" for index in range(200)]
        name_marks(axes, theme("light"), names, xy_n2, range(200))
        assert 5 < len(axes.texts) < 200
        assert covered(made) == []
        renderer = made.canvas.get_renderer()  # type: ignore[attr-defined]
        at_n2 = axes.transData.transform(xy_n2)
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert not any(box.contains(x, y) for x, y in at_n2.tolist())


def test_the_most_important_names_come_first() -> None:
    """Two marks at one place have one name: that of the first that is wanted."""
    with style(theme("light")):
        axes = Figure(figsize=(4, 4)).add_subplot()
        xy_n2 = np.full((2, 2), 0.5)
        axes.plot(*xy_n2.T, "o")
        axes.figure.draw_without_rendering()
        name_marks(axes, theme("light"), ["a" * 30, "b" * 30], xy_n2, [1, 0])
        assert axes.texts[0].get_text() == "b" * 30


def test_the_circuit_of_sixteen_heads() -> None:
    """Its claims and titles are sentences with numbers: they have to fit too."""
    is_repeat_N = np.arange(4000) % 3 == 0
    chi_N16 = np.hstack([test_circuit.planted(is_repeat_N, seed) for seed in (0, 1)])
    scores = HeadScores(
        components=tuple(f"l{n // 8}h{n % 8}" for n in range(16)),
        prefix_matching_C=np.array([0.0] * 9 + [0.45] + [0.0] * 5 + [0.4]),
        previous_token_C=np.array([0.0] * 6 + [0.9] + [0.0] * 9),
        rise_repeated_C=np.linspace(0, 2, 16),
        rise_first_C=np.zeros(16),
    )
    found = test_circuit.found_in(scores, chi_N16, is_repeat_N)
    matrix = test_figures.matrix(7, scores.components)
    made = circuit.figure(CircuitData(circuit=found, matrix=matrix), theme("light"))
    assert covered(made) == []
    assert outside(made) == []
