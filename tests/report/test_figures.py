"""Every kind of figure, on ordinary and on degenerate data, in both themes and all formats."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from spectro.analysis.principal_axes import AxesData, End, Principal
from spectro.analysis.response_matrix import ResponseMatrix
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.analysis.token_clusters import Across, Link, TokenCluster, TokenInRun
from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.vocabulary import display
from spectro.views.config import SUFFIXES, THEMES
from spectro.views.drawing import across, axes, card, cluster_map, response, shift
from spectro.views.drawing.save import to_bytes
from spectro.views.drawing.theme import theme
from tests.report.written_text import require_drawn

MANY = ("embed", *(f"l{k}{p}" for k in range(24) for p in (*(f"h{h}" for h in range(16)), "mlp")))
FEW = ("embed", "l0h0", "l0h1", "l0mlp", "unembed")
KINDS = ("matrix", "shift", "axes", "map", "card", "across")
BEGINNINGS = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
NAN = float("nan")
HOSTILE = [
    display(piece)
    for piece in (
        b"$\\frac{1}{0$", b"<script>alert(1)</script>", b"\x00\x1b[2J\xff", b"\\evil{",
        b"%&$#_{}^~",
        "\u202eabc\u05d0".encode(), "😀中".encode(), b"", None, b"a" * 500, b"\n\n\t  ",
    )
]  # fmt: skip


def lit(before: int = 40) -> TokenInContext:
    return TokenInContext(before=(*HOSTILE, "x" * before), y=HOSTILE[0], after=tuple(HOSTILE),
               clipped=True, subset=9, token_id=5)  # fmt: skip


def scale(num: int, kind: Scaling = Scaling.STANDARDISED) -> ResponseScale:
    return ResponseScale(kind=kind, mean_H=np.zeros(num), deviation_H=np.ones(num))


def matrix(num_rows: int, components: tuple[str, ...], value: float | None = None) -> Any:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(num_rows, len(components)))
    return ResponseMatrix(
        names=tuple(HOSTILE[row % len(HOSTILE)] for row in range(num_rows)),
        components=components,
        scale=scale(len(components)),
        num_tokens_R=np.arange(num_rows) * 1000,
        mean_RH=mean if value is None else np.full_like(mean, value),
        error_RH=np.abs(mean) / 2 if value is None else np.full_like(mean, NAN),
        num_sequences_R=np.arange(num_rows) * 10 + 5,
        degrees_R=np.arange(num_rows) * 10 + 4,
    )


def axes_data(components: tuple[str, ...], num_axes: int, num_ends: int, variance: float) -> Any:
    num = len(components)
    end = End(lit=lit(), score=-2.0, types=("word start", "induction"))
    return AxesData(
        principal=Principal(
            components=components,
            scale=scale(num),
            variance_H=np.linspace(variance, 0, num),
            loading_AH=np.eye(num)[:num_axes],
        ),
        high=((end,) * num_ends,) * num_axes,
        low=((dataclasses.replace(end, score=NAN, types=()),) * num_ends,) * num_axes,
    )


def map_data(num: int, num_clusters: int, subsets: int = 10) -> cluster_map.ClusterMapData:
    rng = np.random.default_rng(0)
    return cluster_map.ClusterMapData(
        xy_n2=rng.random((num, 2)) if num != 1 else np.full((1, 2), 0.5),
        subset_n=rng.integers(0, subsets, num),
        cluster_n=rng.integers(-1, num_clusters, num) if num_clusters else np.full(num, -1),
        subset_names=tuple(f"${name}$" for name in range(subsets)),
        centre_K2=np.where(
            np.arange(num_clusters)[:, None] == 1, NAN, rng.random((num_clusters, 2))
        ),
        size_K=np.arange(num_clusters) * 10,
        dominant_K=np.arange(num_clusters) % subsets,
        names_K=(" ".join((HOSTILE[0], HOSTILE[5], HOSTILE[1])),) * num_clusters,
        num_tokens=num,
        regions=(
            cluster_map.RegionOutline(
                name=HOSTILE[1], outline_P2=np.array([[0.1, 0.1], [0.9, 0.2], [0.5, 0.8]])
            ),
        )
        if num_clusters > 3
        else (),
    )


def card_data(components: tuple[str, ...], num_contexts: int, **other: Any) -> card.CardData:
    plain: dict[str, Any] = {
        "cluster_id": 3, "name": f"“{HOSTILE[0]}” after “{HOSTILE[1]}”", "source": "rule",
        "name_f1": 0.5, "size": 40, "conductance": 0.1, "stability": 0.5, "purity": 0.8,
        "top_tokens": tuple((token, 40 - i) for i, token in enumerate(HOSTILE)),
        "subset_names": ("$a$", "b" * 60), "subset_counts_P": np.array([30, 10]),
        "components": components, "mean_chi_H": np.linspace(-1, 1, len(components)),
        "contexts": (lit(),) * num_contexts,
    }  # fmt: skip
    return card.CardData(**{**plain, **other})


FEATURED = card_data(
    FEW, 20, features=(("123456", 1.0, 0.99), ("7, top 10%", 0.5, NAN), ("8", 0.0, 0.5)),
    features_of=f"SAELens topk of {HOSTILE[0]} {'long/' * 20}, blocks.2.hook_resid_post",
)  # fmt: skip


def across_data(num_runs: int, num_clusters: int, notes: tuple[str, ...] = ()) -> Across:
    clusters = tuple(
        TokenCluster(
            cluster_id=index, size=100, count=10, share=0.1, conductance=NAN, stability=NAN,
            top_tokens=tuple(HOSTILE), contexts=(lit(),) * index,
        )
        for index in range(num_clusters)
    )  # fmt: skip
    run = TokenInRun(
        name="s3://" + "long/" * 30, num_tokens=1000, num_occurrences=10 * num_clusters,
        num_clustered=5 * num_clusters, num_clusters=num_clusters, clusters=clusters,
    )  # fmt: skip
    links = tuple(
        Link(runs=(i, j), clusters=(0, 0), jaccard=0.7, matched=True)
        for j in range(num_runs if num_clusters else 0)
        for i in range(j)
    )
    return Across(token="$she$\n", runs=(run,) * num_runs, links=links, notes=notes,
                  subset_names=("a",))  # fmt: skip


CASES: dict[str, tuple[Callable[[Any, Any], Figure], Any]] = {
    "matrix": (response.figure, matrix(11, FEW)),
    "matrix of 410 components": (response.figure, matrix(13, MANY)),
    "matrix of one cell": (response.figure, matrix(1, ("embed",))),
    "matrix of nothing": (response.figure, matrix(0, FEW)),
    "matrix of empty sets": (response.figure, matrix(2, FEW, NAN)),
    "matrix of zeros": (response.figure, matrix(2, FEW, 0.0)),
    "shift": (shift.figure, matrix(3, FEW)),
    "shift of 410 components": (shift.figure, matrix(3, MANY)),
    "shift of one cell": (shift.figure, matrix(1, ("l0mlp",))),
    "shift of nothing": (shift.figure, matrix(0, FEW)),
    "shift of empty sets": (shift.figure, matrix(2, FEW, NAN)),
    "axes": (axes.figure, axes_data(FEW, 2, 2, 5.0)),
    "axes of 410 components": (axes.figure, axes_data(MANY, 2, 3, 5.0)),
    "axes of one component, one token": (axes.figure, axes_data(("embed",), 1, 1, 1.0)),
    "axes without variance or tokens": (axes.figure, axes_data(FEW, 2, 0, 0.0)),
    "map": (cluster_map.figure, map_data(200, 12)),
    "map without clusters": (cluster_map.figure, map_data(50, 0)),
    "map of one token": (cluster_map.figure, map_data(1, 0)),
    "map of nothing": (cluster_map.figure, map_data(0, 0)),
    "map of equal places": (
        cluster_map.figure,
        dataclasses.replace(map_data(9, 0), xy_n2=np.full((9, 2), 0.5)),
    ),
    "card": (card.figure, card_data(FEW, 5)),
    "card of 410 components": (card.figure, card_data(MANY, 1)),
    "card with features": (card.figure, FEATURED),
    "card of a cluster without features": (card.figure, card_data(FEW, 2, features_of="$x$")),
    "card with nothing known": (
        card.figure,
        card_data(
            ("embed",), 0, top_tokens=(), subset_names=(), subset_counts_P=np.zeros(0, int), size=0,
            stability=NAN, conductance=NAN, purity=NAN, mean_chi_H=np.array([NAN]),
        ),
    ),
    "across": (across.figure, across_data(3, 2)),
    "across one run": (across.figure, across_data(1, 1)),
    "across runs without the token": (across.figure, across_data(2, 0, ("Not matched: $a$.",))),
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("every_warning_is_an_error")


@pytest.mark.parametrize("name", CASES)
def test_drawn(name: str) -> None:
    draw, data = CASES[name]
    require_drawn(draw(data, theme("light")), theme("light"))


@pytest.mark.parametrize("data", [FEATURED, card_data(MANY, 3, features=FEATURED.features,
                                                      features_of="x")])  # fmt: skip
def test_features_on_a_card_overlap_nothing(data: card.CardData) -> None:
    """Parts of the figure with all that is written in them, and the sentence above them."""
    made = card.figure(data, theme("light"))
    made.draw_without_rendering()
    parts = [part.get_tightbbox() for part in made.axes]
    head = [text.get_window_extent() for text in made.texts]
    for one, other in (*itertools.combinations(parts, 2), *itertools.product(head, parts)):
        assert not one.overlaps(other), (one, other)
    said = " ".join(text.get_text() for text in made.axes[2].texts)
    assert said == "F1 1.00, AUC 0.99 F1 0.50, AUC – F1 0.00, AUC 0.50"
    widths = [bar.get_width() for bar in made.axes[2].patches]
    assert widths == [f1 for _, f1, _ in data.features]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "suffix"),
    [*((name, ".svg") for name in KINDS), *(("card", s) for s in SUFFIXES[1:]), ("map", ".pdf")],
)
def test_the_same_data_gives_the_same_bytes(name: str, suffix: str) -> None:
    draw, data = CASES[name]
    for which in THEMES:
        once = to_bytes(draw(data, theme(which)), suffix, theme(which))
        assert once.startswith(BEGINNINGS[suffix]) and b"<script" not in once
        if which == "dark":
            assert once == to_bytes(draw(data, theme(which)), suffix, theme(which))


@pytest.mark.parametrize("module", [response, shift, axes, cluster_map, card, across])
def test_a_sentence_of_help_stands_in_it(module: Any) -> None:
    draw, data = next(case for case in CASES.values() if case[0] is module.figure)
    words = " ".join(text.get_text() for text in draw(data, theme("dark")).findobj(Text)).split()
    assert " ".join(module.HELP.split()) in " ".join(words)


def test_the_heat_map_shows_the_numbers() -> None:
    """Columns by layer, rows in order, symmetric about zero; a dot where the interval excludes 0.

    Of three degrees of freedom it is 3.18 standard errors to either side: 0.32 and 9.5.
    """
    data = dataclasses.replace(matrix(2, ("unembed", "l0mlp", "l0h0", "embed")), error_RH=np.array(
        [[0.1] * 4, [3.0] * 4]), mean_RH=np.array([[1.0, 2, 3, 4], [-1, -2, -3, -8]]),
        degrees_R=np.array([3, 3]))  # fmt: skip
    drawn = response.figure(data, theme("light")).axes[0]
    np.testing.assert_array_equal(drawn.images[0].get_array(), [[4, 3, 2, 1], [-8, -3, -2, -1]])
    assert drawn.images[0].get_clim() == (-8.0, 8.0)
    dots = drawn.lines[0].get_xydata()
    assert {tuple(dot) for dot in np.asarray(dots).tolist()} == {(c, 0.0) for c in range(4)}


def test_the_bars_show_the_numbers() -> None:
    data = matrix(1, FEW)
    drawn = shift.figure(data, theme("light")).axes[0]
    heights = [bar.get_height() for bar in drawn.patches]
    np.testing.assert_allclose(heights, data.mean_RH[0])
    (bars,) = [line for line in drawn.collections if isinstance(line, LineCollection)]
    drawn_to = np.array([segment[:, 1] for segment in bars.get_segments()])
    width = 2.776 * data.error_RH[0]  # Student's t of four degrees of freedom: five sequences
    expected = np.stack([data.mean_RH[0] - width, data.mean_RH[0] + width], axis=1)
    np.testing.assert_allclose(drawn_to, expected, rtol=1e-3)
    assert "5 sequences" in drawn.get_title(loc="left")
    light = theme("light")
    colours = {value < 0: bar.get_facecolor()[:3] for value, bar in zip(
        heights, drawn.patches, strict=True)}  # fmt: skip
    assert len(set(colours.values())) == 2
    assert light.sign(-1.0) == light.negative and light.sign(NAN) == light.mute


@pytest.mark.parametrize(
    ("draw", "data", "message"),
    [
        (response.figure, matrix(61, FEW), "room for 60 rows, found 61"),
        (shift.figure, matrix(25, FEW), "room for 24 sets of tokens, found 25"),
        (across.figure, across_data(5, 1), "room for 4 runs side by side, found 5"),
    ],
)
def test_what_a_page_has_no_room_for(draw: Any, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        draw(data, theme("light"))
    assert "\n" not in str(error.value)
