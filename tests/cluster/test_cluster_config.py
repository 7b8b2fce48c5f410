"""What a config refuses, and that the published values are there by name."""

import pytest
from omegaconf import OmegaConf

from spectro.clustering.config import ClusterConfig, ToleranceKind


@pytest.mark.parametrize(
    "field, value",
    [
        ("alpha", 0.0),
        ("alpha", 1.5),
        ("tolerance", 0.0),
        ("tolerance", float("inf")),
        ("tolerance", float("nan")),
        ("reach", 0),
        ("reach", 10),
        ("num_neighbours", 0),
        ("min_size", 0),
        ("max_fraction", 0.0),
        ("max_fraction", 1.1),
        ("max_conductance", 0.0),
        ("round_size", 0),
        ("untried_fraction", -0.1),
        ("untried_fraction", 1.5),
        ("whiten_variance", 0.0),
        ("min_reliability", 1.5),
        ("whiten_reliability", -1.5),
        ("max_pushes", 0),
        ("seed", -1),
    ],
)
def test_impossible_values_are_one_clear_line(field: str, value: float):
    with pytest.raises(ValueError, match=rf"^cluster\.{field} .*found") as error:
        ClusterConfig(**{field: value})
    assert "\n" not in str(error.value)


def test_published_values():
    published = ClusterConfig.published()
    assert published.tolerance_kind is ToleranceKind.DEGREE
    assert (published.alpha, published.tolerance, published.num_neighbours) == (1e-3, 1e-7, 45)
    assert (published.min_size, published.max_fraction) == (20, 0.99)
    assert ClusterConfig.published(overlap=True).overlap


def test_fields_are_expressible_in_omegaconf():
    schema = OmegaConf.structured(ClusterConfig)
    merged = OmegaConf.to_object(OmegaConf.merge(schema, {"tolerance_kind": "VOLUME", "reach": 99}))
    assert merged == ClusterConfig(tolerance_kind=ToleranceKind.VOLUME, reach=99)
