"""Figures take their colours from the page, leave matplotlib as it was, and have fixed bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.figure import Figure

from spectro.views.config import SUFFIXES, THEMES, suffix_of
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import Theme, style, theme, themed
from tests.report.test_report_palette import palettes

DRAW = """
import sys
from matplotlib.figure import Figure
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import style, theme
with style(theme("dark")):
    figure = Figure(figsize=(2, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [1, 0], clip_on=True)
    axes.set_title("$x$ λ ⏎")
    axes.fill_between([0, 1], [1, 0], hatch="//")
for suffix in (".svg", ".pdf", ".png"):
    sys.stdout.buffer.write(to_bytes(figure, suffix, theme("dark")))
"""


@pytest.mark.parametrize("name", THEMES)
def test_colours_are_those_of_the_page(name: str) -> None:
    page = palettes()[name]
    assert theme(name).subsets == tuple(page[f"s{index}"] for index in range(8))
    assert theme(name).raised == page["raised"]
    assert theme("light").negative != theme("dark").negative


def test_the_ninth_subset_has_another_mark() -> None:
    light = theme("light")
    assert light.colour(8) == light.colour(0) and light.marker(8) != light.marker(0)


def test_no_such_theme() -> None:
    with pytest.raises(ValueError, match="must be one of light, dark, found 'grey'"):
        theme("grey")


def test_matplotlib_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user has set changes nothing of a figure, and is there again afterwards."""
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 7.0)

    @themed
    def draw(data: int, chosen: Theme) -> Figure:
        assert matplotlib.rcParams["text.parse_math"] is False
        assert matplotlib.rcParams["lines.linewidth"] == 1.0
        return Figure()

    assert isinstance(draw(0, theme("light")), Figure)
    assert matplotlib.rcParams["lines.linewidth"] == 7.0
    with pytest.raises(RuntimeError), style(theme("light")):
        raise RuntimeError
    assert matplotlib.rcParams["lines.linewidth"] == 7.0


@pytest.mark.slow
def test_the_same_bytes_in_another_process(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Where Python hashes strings otherwise, on another day."""
    exec(DRAW, {})
    sys.stdout.flush()
    here = capfdbinary.readouterr().out
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", DRAW]
    there = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert here == there and b"<svg" in here and b"%PDF" in here


def test_files_that_a_figure_can_have() -> None:
    assert [suffix_of(f"a/b{suffix.upper()}") for suffix in SUFFIXES] == list(SUFFIXES)
    with pytest.raises(ValueError, match=r"must end in .svg, .pdf, .png; found 'a.jpg'"):
        suffix_of("a.jpg")


def test_text_is_never_formula_nor_markup() -> None:
    light = theme("light")
    with style(light):
        figure = Figure()
        figure.text(0, 0, "<script>$\\frac{1}{2}$ &amp; \\evil{", parse_math=False)
    drawn = to_bytes(figure, ".svg", light)
    assert b"<script" not in drawn
