"""Numbers of the shipped model that a change of the science would change.

tests/data/science.json has susceptibilities, the pilot's moments and clusters as they were when it
was written. To renew it after an intended change, and say why in the commit:

    python -m tests.test_science_regression
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GPTNeoXForCausalLM

import spectro
from spectro.clustering.clusters import cluster
from spectro.clustering.config import ClusterConfig
from tests.cluster.planted import mixture

MODEL = Path(spectro.__file__).parent / "assets" / "model"
RECORD = Path(__file__).parent / "data" / "science.json"
CONTEXT, NUM_REPEATED = 32, 3
SAMPLER = spectro.Reweighted(gamma=300.0, nbeta=10.0)
COMPONENTS = ("l1h2", "l2h2", "l3h1", "l3h3")
"""The previous-token head, two induction heads by their attention, a head that is neither."""
INDUCTION_HEADS = {(2, 2): 0.88, (3, 1): 0.74, (3, 2): 0.74}
"""(layer, head) → attention to the token after the last occurrence of the present one."""
TOKENS = ((0, 3), (0, 20), (1, 10), (2, 31))
"""(sequence, position) of the susceptibilities that are recorded."""
TEXT = """The posterior of a component is sampled near the trained weights while all others stay
fixed. A chain takes steps along the gradient of the loss, adds noise, and is pulled back to where
it began. What the component does for a token shows in how the loss of that token covaries with the
loss of the whole distribution. def measure(model, tokens): return [model.loss(t) for t in tokens]
Tokens that respond alike are neighbours, and groups of neighbours are found by a random walk. """
"""The distribution that chains sample; any text would do."""


def repeated_ids() -> torch.Tensor:
    """Random tokens, said twice: in the second half each is predicted by induction."""
    half = (np.arange(NUM_REPEATED * CONTEXT // 2) * 7919 + 13) % 2000 + 40
    half = half.reshape(NUM_REPEATED, CONTEXT // 2)
    return torch.tensor(np.concatenate([half, half, half[:, :1]], axis=1))


@cache
def model() -> GPTNeoXForCausalLM:
    return GPTNeoXForCausalLM.from_pretrained(MODEL, attn_implementation="eager").eval()


def attention_to_successor() -> dict[tuple[int, int], float]:
    """Mean attention, in the second half, to the token after the same token in the first."""
    period = CONTEXT // 2
    with torch.no_grad():
        out = model()(repeated_ids()[:, :CONTEXT], output_attentions=True)
    query = torch.arange(period, CONTEXT - 1)
    return {
        (layer, head): float(weights[:, head, query, query - period + 1].mean())
        for layer, weights in enumerate(out.attentions)
        for head in range(weights.shape[1])
    }


@cache
def measured() -> spectro.Result:
    ids = AutoTokenizer.from_pretrained(MODEL)(TEXT)["input_ids"]
    rows = len(ids) // (CONTEXT + 1)
    sampling = torch.tensor(ids[: rows * (CONTEXT + 1)]).reshape(rows, CONTEXT + 1)
    return spectro.susceptibilities(
        model(), sampling, repeated_ids(), sampler=SAMPLER, components=COMPONENTS,
        num_chains=2, num_draws=4, batch_size=2,
    )  # fmt: skip


def science() -> dict[str, Any]:
    """All that is recorded."""
    result = measured()
    chi_mixture, _ = mixture(sizes=[60, 40], num_body=200, num_columns=6)
    config = ClusterConfig(num_neighbours=10, min_size=10, reach=100, stability=False)
    clusters = cluster(chi_mixture, config)
    return {
        "clean_loss": float(result.loss.mean()),
        "chi": [[float(x) for x in result.chi[token]] for token in TOKENS],
        "mean_phi": [float(x) for x in result.mean_phi],
        "chi_deviation": [float(x) for x in result.chi.std(axis=(0, 1))],
        "effective_sample_size": [float(x) for x in result.summary["effective_sample_size"]],
        "damage_of_pilot": [float(x) for x in result.summary["damage"]],
        "cluster_sizes": clusters.size_C.tolist(),
    }


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return science()


def test_which_heads_attend_by_induction() -> None:
    """The heads that the other tests lean on, by their attention alone, at w*."""
    attention = attention_to_successor()
    strongest = sorted(attention, key=lambda head: -attention[head])[: len(INDUCTION_HEADS)]
    assert set(strongest) == set(INDUCTION_HEADS)
    for head, expected in INDUCTION_HEADS.items():  # known to 0.05 from 48 tokens
        assert attention[head] == pytest.approx(expected, abs=0.1)


def test_sign_and_rank_of_induction() -> None:
    """Suppression (χ > 0) of what induction predicts, expression (χ < 0) of what it does not.

    The previous-token head, which induction heads read, responds most; then the induction heads;
    least the head that is neither.
    """
    result = measured()
    predicted = np.arange(CONTEXT) >= CONTEXT // 2
    chi_pH, chi_nH = (result.chi[:, rows].mean(axis=(0, 1)) for rows in (predicted, ~predicted))
    assert (chi_pH > 0).all() and (chi_nH < 0).all()
    contrast = dict(zip(result.components, chi_pH - chi_nH, strict=True))
    assert sorted(COMPONENTS, key=lambda name: -contrast[name]) == list(COMPONENTS)


@pytest.mark.parametrize("key", ["clean_loss", "mean_phi", "chi_deviation", "damage_of_pilot"])
def test_sums_are_those_of_the_record(
    found: dict[str, Any], recorded: dict[str, Any], key: str
) -> None:
    """Losses are float32: between CPUs and versions of BLAS they differ by some 1e-6 nats, and
    differences of losses of 1e-3 nats and more by a thousandth of themselves."""
    np.testing.assert_allclose(found[key], recorded[key], rtol=2e-3)


def test_susceptibilities_are_those_of_the_record(
    found: dict[str, Any], recorded: dict[str, Any]
) -> None:
    """As above, in deviations of the column: single χ may be near zero."""
    difference = np.subtract(found["chi"], recorded["chi"]) / recorded["chi_deviation"]
    assert np.abs(difference).max() < 2e-3


def test_effective_sample_size_is_that_of_the_record(
    found: dict[str, Any], recorded: dict[str, Any]
) -> None:
    key = "effective_sample_size"
    np.testing.assert_allclose(found[key], recorded[key], rtol=1e-3)


def test_clusters_are_those_of_the_record(found: dict[str, Any], recorded: dict[str, Any]) -> None:
    """A member at the edge of a sweep may fall on either side."""
    assert len(found["cluster_sizes"]) == len(recorded["cluster_sizes"]) > 0
    np.testing.assert_allclose(found["cluster_sizes"], recorded["cluster_sizes"], atol=1)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(science(), indent=1) + "\n")
