"""The page of a coloured text as text: complete, self-contained, harmless, the same every time."""

import dataclasses
import json
import re

import made_up_text
import numpy as np
import pytest
from made_up_text import PROSE, TRAPS, document

from spectro.tokens.display.vocabulary import display
from spectro.views.config import ColourScale
from spectro.views.text.colours import Colours
from spectro.views.text.page import page_data, render


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )


def on_scale(data, scale):
    """As the page's scripts do (templates/text/state.js), [N, C]."""
    steps, step, mean, deviation = (
        np.array(data[name], dtype=float) for name in ("values", "step", "mean", "deviation")
    )
    raw = steps.T * step
    standard = (raw - mean) / deviation
    if scale == "centred":
        return standard - np.array(data["rowMean"], dtype=float)[:, None]
    return {"raw": raw, "standardised": standard}[scale]


def assert_close(raw, chi, made):
    """To a thousandth of a deviation."""
    assert (np.isnan(raw) == np.isnan(chi)).all()
    assert (np.nan_to_num(np.abs(raw - chi)) <= made.columns.deviation_C / 1000).all()


def test_the_page_holds_the_text():
    made = document(PROSE)
    data = data_of(render(made, scale=ColourScale.RAW, colours=Colours.ORANGE_BLUE, theme="dark"))
    assert data["tokens"] == [*range(11), 5] and data["starts"] == [0, 8]  # two line ends
    assert [data["pieces"][t] for t in data["tokens"]] == [display(w) for w in PROSE]
    assert (data["scale"], data["colours"], data["theme"]) == ("raw", "orange_blue", "dark")
    assert_close(on_scale(data, "raw"), made.chi_NC, made)
    # half the interval of four chains: 3.18 standard errors, to two digits
    found = np.array(data["halfWidth"], dtype=float).T
    assert np.allclose(found, 3.182 * made.error_NC, rtol=6e-2, equal_nan=True)
    assert np.allclose(data["columnHalfWidth"], 3.182 * made.columns.error_C, rtol=6e-2)
    assert data["interval"] == "95 % interval, Student t, 4 chains"
    assert data["loss"][0] is None and data["values"][2][0] is None


def test_standardised_is_by_the_columns_of_the_run_and_centred_less_the_row():
    made = document(PROSE)
    data, columns = page_data(made), made.columns
    expected = (made.chi_NC - columns.mean_C) / columns.deviation_C
    assert np.allclose(on_scale(data, "standardised"), expected, atol=5e-4, equal_nan=True)
    expected -= made.row_mean_N[:, None]
    assert np.allclose(on_scale(data, "centred"), expected, atol=2e-3, equal_nan=True)
    assert data["limits"]["standardised"] == [3.0] * 5
    assert len(set(data["limits"]["centred"])) == 1
    share = np.percentile(np.abs(expected[1:]), 98)
    assert data["limits"]["centred"][0] == pytest.approx(share, rel=1e-3)
    root_mean_square = np.sqrt(columns.mean_C**2 + columns.deviation_C**2)
    assert np.allclose(data["limits"]["raw"], 3 * root_mean_square, rtol=1e-3)


def test_without_all_components_there_is_no_centred_scale():
    made = document(PROSE, centred=False)
    assert set(page_data(made)["scales"]) == {"standardised", "raw"}
    with pytest.raises(ValueError, match=r"scale=centred.*components=\['\*'\]") as error:
        render(made, scale=ColourScale.CENTRED)
    assert "\n" not in str(error.value)


def test_a_constant_column_has_no_standardised_values_but_raw_ones():
    constant = made_up_text.columns(1, deviation_C=np.zeros(1), mean_C=np.zeros(1))
    made = document(PROSE, names=("l0h0",), columns=constant)
    data = page_data(made)
    assert data["deviation"] == [None] and data["values"][0][0] is None
    raw = np.array(data["values"][0][1:]) * data["step"][0]
    assert np.allclose(raw, made.chi_NC[1:, 0], atol=data["step"][0])
    assert data["limits"]["raw"] == [1.0]


def test_the_same_text_gives_the_same_bytes():
    assert render(document(PROSE)) == render(document(PROSE))


def test_nothing_is_fetched_and_no_token_leaves_the_data():
    page = render(dataclasses.replace(document(TRAPS), title="A <b>text</b> $data"))
    for part in ("<img", "<svg", "<script>document", "<b>"):
        assert part not in page
    assert not re.search(r"https?://", page)
    for way in ("url(", "@import", "fetch(", "XMLHttpRequest", "eval(", "innerHTML"):
        assert way not in page
    shown = data_of(page)["pieces"]
    assert shown == [display(trap) for trap in TRAPS]


@pytest.mark.parametrize(
    "change",
    [
        {"loss_N": np.zeros(3)},
        {"piece_N": [b"a"]},
        {"shown": (0, 1, 2, 3)},
        {"shown": (5,)},
        {"components": ("a",)},
        {"error_NC": np.zeros((12, 4))},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change):
    with pytest.raises(ValueError, match=r"expected|at most") as error:
        dataclasses.replace(document(PROSE), **change)
    assert "\n" not in str(error.value)


def test_small_numbers_beside_a_large_mean_keep_their_digits():
    """Columns as they are in runs: 1e-9 nats², and a mean of many deviations."""
    rng = np.random.default_rng(0)
    columns = made_up_text.columns(
        2, mean_C=np.array([3e-6, -2e-9]), deviation_C=np.array([1e-8, 3e-9])
    )
    chi = columns.mean_C + columns.deviation_C * rng.normal(size=(12, 2))
    made = document(PROSE, names=("l0h0", "l0h1"), chi_NC=chi, columns=columns)
    expected = (chi - columns.mean_C) / columns.deviation_C
    found = on_scale(page_data(made), "standardised")
    assert np.allclose(found, expected, atol=1e-3)


def test_a_page_carries_every_number_once():
    """410 components and a sequence of 1024 tokens: a few MB, not twenty."""
    num = 410
    names = tuple(f"l{n // 17}h{n % 17}" for n in range(num))
    page = render(document([b"w%d" % n for n in range(1025)], names=names, error=False))
    assert len(page) < 7.5 * num * 1025
