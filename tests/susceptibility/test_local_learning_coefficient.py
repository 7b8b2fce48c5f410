"""λ̂ of quadratic losses, whose posterior is Gaussian, against its closed form."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.sampling.component_chain import ComponentChain
from spectro.susceptibility.summary import ColumnChains

NBETA, GAMMA, DIM, NUM_DRAWS = 10.0, 3.0, 6, 400
CURVATURE_D = np.geomspace(0.01, 100.0, DIM)
PRECISION_D = NBETA * CURVATURE_D + GAMMA
EXACT = 0.5 * float((NBETA * CURVATURE_D / PRECISION_D).sum())
"""nβ E[½ Σ h_d w_d²] under N(0, 1 / (nβ h_d + γ)): d/2 as γ goes to 0."""


def chain(rng: np.random.Generator, *, reweighted: bool) -> ComponentChain:
    """Exact draws of the posterior, or draws of the prior with the posterior's weights."""
    precision_D = np.where(CURVATURE_D < 1.0, GAMMA, PRECISION_D) if reweighted else PRECISION_D
    w_TD = rng.normal(size=(NUM_DRAWS, DIM)) / np.sqrt(precision_D)
    log_weight_T = -0.5 * (w_TD**2) @ (PRECISION_D - precision_D)
    return ComponentChain(
        independent=True,
        delta_loss=0.5 * (w_TD**2) @ CURVATURE_D,
        weight=np.exp(log_weight_T),
        reliability=float("nan"),
        steps_between_draws=0,
        step_loss=np.zeros(0),
    )


def column(chains: list[ComponentChain], nbeta: float = NBETA) -> ColumnChains:
    return ColumnChains(chains=chains, exact=None, phi_offset=0.0, num_sets=1, nbeta=nbeta)


@pytest.mark.parametrize("reweighted", [False, True])
def test_closed_form_and_error(reweighted: bool) -> None:
    """Over many replicates the mean is exact and the stated error is their spread."""
    rng = np.random.default_rng(0)
    found = [column([chain(rng, reweighted=reweighted) for _ in range(6)]) for _ in range(200)]
    llc = np.array([own.llc for own in found])
    spread = llc.std(ddof=1)
    assert abs(llc.mean() - EXACT) < 4 * spread / np.sqrt(len(llc))
    stated = np.sqrt(np.mean([own.llc_error**2 for own in found]))
    # each ratio of variances has a relative error of about sqrt(2 / 199) / 2 = 5 %
    assert stated == pytest.approx(spread, rel=0.2)


def test_no_coefficient_without_temperature_and_no_error_of_one_chain() -> None:
    one = chain(np.random.default_rng(1), reweighted=False)
    assert np.isnan(column([one, one], nbeta=0.0).llc)
    assert np.isnan(column([one]).llc_error)
    assert column([one]).llc == pytest.approx(NBETA * one.delta_loss.mean())
