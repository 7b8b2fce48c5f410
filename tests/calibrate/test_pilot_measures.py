"""χ of some draws, and what two disjoint sets of draws have in common."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.calibrate.measures import disjoint_sets, measure, same_label
from spectro.calibrate.responses import Responses
from spectro.clustering.config import Preprocess
from spectro.sampling.pilot.importance_weights import importance_weights
from spectro.susceptibility.estimator import ChainSums, susceptibility
from tests.calibrate.made_up import labels, responses

RNG = np.random.default_rng(3)
RESTRICTED = Preprocess.RESTRICTED


@pytest.mark.parametrize("nbeta", [0.0, 10.0])
def test_chi_is_the_estimators_of_the_same_draws(nbeta: float) -> None:
    loss_R, delta_RN = RNG.normal(0.05, 0.02, 8), RNG.standard_normal((8, 5)).astype(np.float32)
    made = Responses(
        gamma=1.0, components=("embed",), delta_HRN=delta_RN[None], delta_loss_HR=loss_R[None]
    )
    draws = [2, 3, 6, 7]
    weight = importance_weights(loss_R[draws], nbeta, 0.0)
    sums = ChainSums(
        weighted_CN=((weight * loss_R[draws]) @ delta_RN[draws])[None],
        plain_CN=(weight @ delta_RN[draws])[None],
        delta_loss=[loss_R[draws]],
        weight=[weight],
    )
    wanted = susceptibility(sums.of_chains([0]), None)
    found = made.chi(draws, nbeta, 5)[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)  # float32 sums of 4 draws


def test_sets_of_draws_are_disjoint_whole_pairs() -> None:
    pairs = list(disjoint_sets(16, 4))
    assert pairs == [(range(0, 4), range(4, 8)), (range(8, 12), range(12, 16))]
    assert list(disjoint_sets(4, 4)) == []


def test_shares_of_labels() -> None:
    index_QK = np.array([[1, 2], [0, 3]])
    assert same_label(index_QK, np.array([5, 5, 6, 5])) == 3 / 4


def test_without_noise_all_neighbours_are_held_and_of_the_same_cluster() -> None:
    label_N = np.repeat(np.arange(40), 10)
    RNG.shuffle(label_N)
    centre = 3 * RNG.standard_normal((40, 8))
    signal = centre[label_N] + 0.01 * RNG.standard_normal((400, 8))
    cells = measure(
        responses(signal, 0.0, 8), 0.0, labels(label_N), [200, 400], [2, 4], 2, RESTRICTED
    )
    assert [(c.num_tokens, c.num_draws) for c in cells] == [(200, 2), (200, 4), (400, 2), (400, 4)]
    for cell in cells:
        assert cell.shared == pytest.approx(1.0, abs=1e-6)
        assert cell.reliability == pytest.approx(1.0, abs=1e-6)
    assert cells[-1].purity > 0.99  # 10 members each, of which the 2 nearest are looked at
    assert cells[-1].chance == 2 / 399


def test_noise_alone_shares_what_chance_shares() -> None:
    made = responses(np.zeros((400, 8)), 1.0, 16)
    for cell in measure(made, 0.0, labels(np.arange(400)), [200, 400], [2, 4], 2, RESTRICTED):
        assert abs(cell.shared - cell.chance) < 4 * cell.error
        assert abs(cell.reliability) < 4 / np.sqrt(8 * cell.num_tokens)


def test_vectors_are_those_that_the_runs_clusters_see() -> None:
    """What all columns share goes with the mean of the rows, and with nothing else."""
    shared_N1 = RNG.standard_normal((400, 1))
    made = responses(np.tile(shared_N1, 4), 0.01, 8)
    found = {p: measure(made, 0.0, labels(np.arange(400)), [400], [4], 2, p)[0] for p in Preprocess}
    own, centred = found[RESTRICTED], found[Preprocess.STANDARDISE]
    assert own.shared > 0.3  # noise of 0.01 / √4 per draw, of neighbours that lie 2 / 400 apart
    assert abs(centred.shared - centred.chance) < 4 * centred.error
    # r = 1 / (1 + 0.01² / 4) of χ, whatever is made of it
    assert all(cell.reliability == pytest.approx(1.0, abs=1e-3) for cell in found.values())


def test_columns_that_are_all_alike_have_a_reliability() -> None:
    """Rows centred, nothing is left of them."""
    made = responses(np.tile(RNG.standard_normal((100, 1)), 3), 0.0, 8)
    cell = measure(made, 0.0, labels(np.arange(100)), [100], [2], 2, Preprocess.STANDARDISE)[0]
    assert cell.reliability == pytest.approx(1.0, abs=1e-6)


def test_a_pilot_without_whole_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="whole antithetic pairs with a ΔL each, found 3 draws"):
        responses(np.zeros((4, 2)), 1.0, 3)
