"""The law of tokens and draws: planted coefficients, planted truth, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from spectro.calibrate.choose import Split, choose
from spectro.calibrate.law import Law, fit, value
from spectro.calibrate.measures import Cell, measure
from spectro.clustering.config import Preprocess
from tests.calibrate.made_up import labels, responses

RESTRICTED = Preprocess.RESTRICTED
SIZES, SETS = (1000, 2000, 4000), (2, 4, 8)


def planted(e: float, b: float, half: float) -> list[Cell]:
    """Cells that follow a law exactly."""
    cells = []
    for n in SIZES:
        for r in SETS:
            rho = r / (r + half)
            v = 2 ** (3.0 + e * math.log2(n) + b * math.log2(rho))
            cells.append(
                Cell(
                    num_tokens=n, num_draws=r, shared=v / n, chance=0.0, error=1e-4 * v / n,
                    purity=0.5, pattern_purity=0.5, reliability=rho,
                )
            )  # fmt: skip
    return cells


def splits(budget: int, draws: tuple[int, ...] = (4, 8, 16, 32)) -> list[Split]:
    """All that a budget of token-draws pays."""
    return [
        Split(num_sequences=budget // r, num_tokens=budget // r, num_draws=r, cost_seconds=1.0)
        for r in draws
    ]


def known(law: Law | None) -> Law:
    assert law is not None
    return law


def test_a_planted_law_is_found() -> None:
    law = known(fit(planted(e=0.6, b=1.5, half=12.0)))
    np.testing.assert_allclose(law.coefficient_3, [3.0, 0.6, 1.5], atol=1e-9)
    assert law.half_draws == pytest.approx(12.0)
    assert law.residual < 1e-9 > law.drift
    assert law.log2_value(8000, 4) == pytest.approx(
        3.0 + 0.6 * math.log2(8000) + 1.5 * math.log2(4 / 16)
    )


def test_the_best_number_of_draws_is_that_of_the_law() -> None:
    """d log v / d log r at fixed n·r is b r₀/(r + r₀) − e: zero at r = r₀ (b/e − 1)."""
    law = known(fit(planted(e=0.5, b=1.5, half=8.0)))
    assert choose(splits(2**17), law).best.num_draws == 16  # 8 · (3 − 1)
    tokens = known(fit(planted(e=0.95, b=0.1, half=20.0)))
    found = choose(splits(2**17), tokens)
    assert (found.best.num_draws, found.best.num_tokens) == (4, 2**15)
    assert found.runner_up is not None and found.runner_up.num_draws == 8
    assert found.margin == pytest.approx(0.95 - 0.1 * math.log2((8 / 28) / (4 / 24)))
    assert found.is_decided


def test_drift_is_in_the_error() -> None:
    """Twice as much at the largest n as the smaller ones foretell: one doubling in one."""
    cells = planted(e=0.5, b=1.0, half=8.0)
    factor = [2.0 if c.num_tokens == SIZES[-1] else 1.0 for c in cells]
    bent = [
        dataclasses.replace(c, shared=f * c.shared, error=f * c.error)
        for c, f in zip(cells, factor, strict=True)
    ]
    law = known(fit(bent))
    assert law.drift == pytest.approx(1.0)
    assert law.error_of_difference((8000, 4), (4000, 8)) > 1.0
    assert not choose(splits(2**17, (4, 8)), law).is_decided


@pytest.mark.parametrize(
    ("noise", "label"), [(0.02, "signal in every draw"), (1.0, "noise as large as the signal")]
)
def test_the_split_that_a_pilot_chooses_is_the_best_of_those_measured(
    noise: float, label: str
) -> None:
    """Independent truth: the same vectors at each split's whole size, 32 768 token-draws."""
    signal = np.random.default_rng(0).standard_normal((8192, 7))
    pilot = responses(signal[:2048], noise, 16)
    none = labels(np.arange(8192))
    law = known(fit(measure(pilot, 0.0, none, [512, 1024, 2048], [2, 4, 8], 3, RESTRICTED)))
    chosen = choose(splits(2**15), law).best
    measured = {}
    for split in splits(2**15):
        whole = responses(signal[: split.num_tokens], noise, 2 * split.num_draws)
        (cell,) = measure(whole, 0.0, none, [split.num_tokens], [split.num_draws], 3, RESTRICTED)
        measured[split.num_draws] = value(cell)
    assert measured[chosen.num_draws] > 0.9 * max(measured.values()), measured
    if noise < 0.1:
        assert chosen.num_draws == 4
    else:
        assert chosen.num_draws > 4
        assert measured[chosen.num_draws] > 1.2 * measured[4]


def test_no_law_from_noise_alone_or_from_too_few_cells() -> None:
    made = responses(np.zeros((512, 8)), 1.0, 16)
    assert (
        fit(measure(made, 0.0, labels(np.arange(512)), [128, 256, 512], [2, 4, 8], 3, RESTRICTED))
        is None
    )
    cells = planted(e=0.5, b=1.0, half=8.0)
    assert fit(cells[:3]) is None
    assert fit([c for c in cells if c.num_draws == 2]) is None
    assert fit([]) is None


def test_one_split_has_no_rival_and_none_is_refused() -> None:
    law = known(fit(planted(e=0.5, b=1.0, half=8.0)))
    only = choose(splits(2**15, (4,)), law)
    assert only.runner_up is None and only.is_decided
    with pytest.raises(ValueError, match="no number of tokens and draws fits into the budget"):
        choose([], law)
