"""`spectro.Result.of_run`: a stored run as arrays, with clusters and places on the map."""

import made_up_run
import numpy as np
import pytest
from stored_run import write_run

import spectro
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.views.map.columns import GRID
from spectro.views.map.config import MapConfig
from spectro.views.map.write import write_map
from spectro.views.run_view import RunView

CONTEXT, NUM_SEQUENCES = 8, 12


@pytest.fixture(scope="module")
def what():
    return made_up_run.made(num_sequences=NUM_SEQUENCES, context=CONTEXT, num_clusters=3)


@pytest.fixture(scope="module")
def run(what, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("run") / "made"
    write_run(folder, what)
    return str(folder)


def test_arrays_of_a_run(run: str, what, tmp_path) -> None:
    found = spectro.Result.of_run(run)
    assert found.components == what.names and found.num_chains == 4
    np.testing.assert_array_equal(found.chi.reshape(-1, 22), what.chi_NH)
    np.testing.assert_array_equal(found.loss.reshape(-1), what.loss_N)
    np.testing.assert_array_equal(found.probe_ids, what.probe.ids_ST1)
    np.testing.assert_array_equal(found.reliability[1:], what.columns.reliability_H[1:])
    assert np.isnan(found.reliability[0]) and np.isnan(found.standard_error).all()
    np.testing.assert_array_equal(found.labels["cluster"].reshape(-1), what.label_N)
    names = np.array(what.probe.subset_names)[what.probe.subset_S]
    np.testing.assert_array_equal(found.labels["subset"][:, 3], names)
    assert "map_x" not in found.labels and "standard_error" not in found.to_xarray()
    found.to_parquet(str(tmp_path))
    again = read_product(Store(str(tmp_path)))
    np.testing.assert_array_equal(again.chi_NH, what.chi_NH)


def test_the_control_has_its_own_clusters(run: str, what) -> None:
    found = spectro.Result.of_run(f"{run}/control")
    np.testing.assert_array_equal(found.labels["cluster"].reshape(-1), what.control_label_N)


def test_places_are_those_of_the_stored_map(tmp_path) -> None:
    """So few tokens are placed without UMAP; one in three is not drawn."""
    few = made_up_run.made(num_sequences=3, context=CONTEXT, num_clusters=1)
    write_run(tmp_path / "few", few)
    view = RunView(str(tmp_path / "few"))
    write_map(view, MapConfig(control=False, max_tokens=16, seed=5))
    found = spectro.Result.of_run(view.uri)
    x = found.labels["map_x"].reshape(-1)
    assert np.isfinite(x).sum() == 16
    from spectro.views.map.drawn import stored_map

    drawn = stored_map(view)
    token_id = drawn.tokens["token_id"].astype(int)
    np.testing.assert_array_equal(x[token_id], (drawn.tokens["x"] / GRID).astype(np.float32))


def test_nothing_to_read_is_one_line(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"is not the folder of a run") as caught:
        spectro.Result.of_run(str(tmp_path))
    assert "\n" not in str(caught.value)
