"""Pictures over training: hostile names, empty checkpoints, what is written in them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from spectro.analysis.cluster_flow import FlowShares, by_chance, cluster_flow
from spectro.analysis.cluster_lineages import (
    CheckpointFlow,
    ClusteredCheckpoint,
    ClustersOverTraining,
    lineages,
)
from spectro.analysis.followed_token import ClusterOfToken, FollowedToken, TokenOfRun
from spectro.analysis.training_curves import SetsOverTraining, TrainingCurves
from spectro.clustering.matching import Clustering
from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.vocabulary import display
from spectro.views.drawing import cluster_flow as flow_picture
from spectro.views.drawing import followed_token, training, training_sets
from spectro.views.drawing.theme import theme
from spectro.views.drawing.training_axis import short_count
from tests.report.written_text import require_drawn

FEW = ("embed", "l0h0", "l0h1", "l0mlp", "unembed")
MANY = tuple(f"l{k}h{h}" for k in range(24) for h in range(16))
NAN = float("nan")
HOSTILE = [
    display(piece)
    for piece in (
        b"$\\frac{1}{0$",
        b"<script>",
        b"\x00\x1b[2J\xff",
        "😀中".encode(),
        b"",
        b"a" * 200,
    )
]


def over_training(num: int, *members: list[range], draws: bool = False) -> ClustersOverTraining:
    """The same clusterings again and again until there are `num` checkpoints."""
    sets = [Clustering.of([np.arange(o.start, o.stop) for o in own], 300) for own in members]
    sets = [sets[index % len(sets)] for index in range(num)]
    flows = [cluster_flow(a, b) for a, b in pairwise(sets)]
    return ClustersOverTraining(
        checkpoints=tuple(
            ClusteredCheckpoint(
                name="run", step=1000 * index, num_tokens=300, num_clustered=0,
                size_C=tuple(own.size_C.tolist()),
                shown_C=tuple(HOSTILE[c % len(HOSTILE)] for c in range(len(own))),
            )
            for index, own in enumerate(sets)
        ),
        flows=tuple(
            CheckpointFlow(
                flow=flow, chance=by_chance(a, b), chance_same_y=by_chance(a, b),
                other_draws=FlowShares.mean_of([flow]) if draws else None,
            )
            for flow, (a, b) in zip(flows, pairwise(sets), strict=True)
        ),
        lineages=tuple(lineages([len(own) for own in sets], flows)),
    )  # fmt: skip


def sets_data(num_sets: int, components: tuple[str, ...], value: float | None) -> SetsOverTraining:
    shape = (3, num_sets, len(components))
    mean = np.random.default_rng(0).normal(size=shape) if value is None else np.full(shape, value)
    return SetsOverTraining(
        names=("a", "b", "c"), steps=(0, 512, 143_000),
        sets=tuple(HOSTILE[row % len(HOSTILE)] for row in range(num_sets)),
        num_tokens_R=(1000,) * num_sets, components=components, unit="standard deviations",
        mean_SRH=mean, half_width_SRH=np.abs(mean) / 2,
    )  # fmt: skip


def curves(components: tuple[str, ...], low: float) -> TrainingCurves:
    """Values that fall together over three checkpoints, the last ones close to each other."""
    value_SH = np.linspace(3.0, 1.0, 3)[:, None] + low + 0.001 * np.arange(len(components))
    return TrainingCurves(
        names=("a", "b", "c"), steps=(0, 503_808, 4_001_792), components=components,
        lambda_hat_SH=value_SH, lambda_error_SH=np.full_like(value_SH, 0.1), chi_size_SH=value_SH,
    )  # fmt: skip


def followed(num: int, components: tuple[str, ...]) -> FollowedToken:
    x_H = np.random.default_rng(0).normal(size=len(components))
    x_H[-1] = NAN
    runs = [
        TokenOfRun(
            name="s3://" + "long/" * 30, step=None if index else 1000, token_id=5, loss=2.0,
            components=components, x_H=x_H, half_width_H=np.full(len(components), 0.3),
            has_clusters=index != 1,
            cluster=ClusterOfToken(cluster_id=3, size=10, stability=NAN, shown=HOSTILE[index % 6])
            if index > 1 else None,
            jaccard_before=NAN, correlation_before=0.5,
        )
        for index in range(num)
    ]  # fmt: skip
    token = TokenInContext(before=tuple(HOSTILE), y=HOSTILE[0], after=tuple(HOSTILE), clipped=True,
                           subset=0, token_id=5)  # fmt: skip
    return FollowedToken(token=token, position=5, unit="nats²", interval="none", runs=tuple(runs))


MERGING = [range(40), range(40, 70), range(100, 120), range(200, 290)], [range(70), range(100, 110)]
CASES: dict[str, tuple[Callable[[Any, Any], Figure], Any]] = {
    "flow": (flow_picture.figure, over_training(4, *MERGING, draws=True)),
    "flow of many checkpoints": (flow_picture.figure, over_training(12, *MERGING)),
    "flow of many clusters": (
        flow_picture.figure, over_training(2, [range(3 * c, 3 * c + 3) for c in range(100)]),
    ),
    "flow without clusters": (flow_picture.figure, over_training(3, [], [])),
    "flow from no cluster": (flow_picture.figure, over_training(2, [], [range(20)])),
    "curves": (training.figure, curves(MANY[:16], 0.0)),
    "curves below zero": (training.figure, curves(MANY, -2.0)),
    "curves without values": (training.figure, curves(FEW, NAN)),
    "sets": (training_sets.figure, sets_data(16, FEW, None)),
    "sets of one component": (training_sets.figure, sets_data(1, ("embed",), None)),
    "sets without tokens": (training_sets.figure, sets_data(2, FEW, NAN)),
    "sets that do not move": (training_sets.figure, sets_data(2, FEW, 0.0)),
    "followed": (followed_token.figure, followed(3, FEW)),
    "followed along 384 components": (followed_token.figure, followed(2, MANY)),
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("every_warning_is_an_error")


@pytest.mark.parametrize("name", CASES)
def test_drawn(name: str) -> None:
    draw, data = CASES[name]
    require_drawn(draw(data, theme("dark")), theme("dark"))


@pytest.mark.parametrize("module", [flow_picture, training, training_sets, followed_token])
def test_a_sentence_of_help_is_in_it(module: Any) -> None:
    draw, data = next(case for case in CASES.values() if case[0] is module.figure)
    words = " ".join(text.get_text() for text in draw(data, theme("light")).findobj(Text)).split()
    assert " ".join(module.HELP.split()) in " ".join(words)


@pytest.mark.parametrize(
    ("draw", "data", "message"),
    [
        (flow_picture.figure, over_training(13, *MERGING), "room for 12 checkpoints, found 13"),
        (training_sets.figure, sets_data(17, FEW, None), "room for 16 sets of tokens, found 17"),
        (training_sets.figure, sets_data(2, MANY, None), "room for 12 components, found 384"),
        (followed_token.figure, followed(13, FEW), "room for 12 runs, found 13"),
    ],
)
def test_what_a_page_has_no_room_for(draw: Any, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        draw(data, theme("light"))
    assert "\n" not in str(error.value)


def test_heights_of_boxes_and_bands_are_members() -> None:
    """Two of 40 and 30 become one of 70: bands are stacked at its left edge, without a gap."""
    data = over_training(2, *MERGING)
    axes = flow_picture.figure(data, theme("light")).axes[0]
    heights = sorted(round(box.get_height()) for box in axes.patches if box.get_width() > 0.1)
    assert heights == [10, 20, 30, 40, 70, 90]
    ends = []
    for band in axes.collections:
        vertices = band.get_paths()[0].vertices
        last = vertices[np.isclose(vertices[:, 0], vertices[:, 0].max())]
        ends.append((round(last[:, 1].min()), round(last[:, 1].max())))
    assert sorted(ends)[-2:] == [(-70, -40), (-40, 0)]


def test_overlapping_clusters_keep_their_bands_within_their_boxes() -> None:
    """Three clusters of ten in one of ten: bands of 30 members leave a box of 10."""
    data = over_training(2, [range(10)], [range(10), range(11), range(12)])
    axes = flow_picture.figure(data, theme("light")).axes[0]
    lefts = []
    for band in axes.collections:
        vertices = band.get_paths()[0].vertices
        first = vertices[np.isclose(vertices[:, 0], vertices[:, 0].min())]
        lefts.append((first[:, 1].min(), first[:, 1].max()))
    assert len(lefts) == 3 and min(low for low, _ in lefts) == pytest.approx(-10)
    assert [high - low for low, high in lefts] == pytest.approx([10 / 3] * 3)


def test_clusters_with_bands_are_drawn_before_larger_ones() -> None:
    sizes = [3, *[5] * 50]
    ends = np.cumsum([0, *sizes]).tolist()
    data = over_training(2, [range(a, b) for a, b in pairwise(ends)], [range(3)])
    axes = flow_picture.figure(data, theme("light")).axes[0]
    assert len(axes.collections) == 1
    assert sum(box.get_width() > 0.1 for box in axes.patches) == flow_picture.MOST_BOXES + 1


def test_names_of_curves_do_not_overlap() -> None:
    made = training.figure(curves(MANY[:16], 0.0), theme("light"))
    made.draw_without_rendering()
    for axes in made.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without its line
        boxes.sort(key=lambda box: -box.y1)
        assert len(boxes) == 16 and all(a.y0 >= b.y1 for a, b in pairwise(boxes))


def test_steps_are_short() -> None:
    assert [short_count(x) for x in (0, 512, 143_000, 503_808, 1_503_232)] == [
        "0", "512", "143k", "504k", "1.5M",
    ]  # fmt: skip


def test_names_beside_boxes_do_not_overlap() -> None:
    sizes = [20, *range(14, 1, -1), *[2] * 12]
    ends = np.cumsum([0, *sizes]).tolist()
    data = over_training(2, [range(a, b) for a, b in pairwise(ends)])
    made = flow_picture.figure(data, theme("light"))
    made.draw_without_rendering()
    found = [text for text in made.axes[0].texts if text.get_text()]
    for side in ("left", "right"):
        boxes = sorted(
            (text.get_window_extent() for text in found if text.get_ha() == side),
            key=lambda box: -box.y1,
        )
        assert len(boxes) > 1 and all(a.y0 >= b.y1 for a, b in pairwise(boxes))
