"""The files of the map's folder, read back by what map.json says."""

import dataclasses
import json

import made_map
import numpy as np
import pytest
from read_map import read_map

from spectro.views.map.columns import (
    array_of,
    data_of,
    dtype_name,
    first_of_each,
    narrow,
    on_grid,
)
from spectro.views.map.data_files import objects
from spectro.views.viewer.packages import page_files


def test_every_column_comes_back(tmp_path):
    data = made_map.write_made_map(
        tmp_path, 5000, 30, rows_per_file=700, subsets=made_map.SUBSETS, page=False
    )
    found = read_map(tmp_path)
    for name, values in data.tokens.columns().items():
        assert np.array_equal(found.tokens[name], values), name
    for name, values in data.clusters.columns().items():
        assert np.array_equal(found.clusters[name], values, equal_nan=values.dtype.kind == "f")
    assert np.allclose(found.profiles, data.profile_KH, rtol=1e-3, atol=1e-3)
    assert np.array_equal(found.sequences, next(iter(data.sequences.blocks())))
    assert np.array_equal(found.sequence_subsets, data.sequences.subset_S)
    assert found.vocabulary == list(data.vocabulary) and found.vocabulary[-1] is None
    assert found.marker["tokens"]["total"] == 5000
    assert found.marker["reliability"][0] is None


def test_y_of_a_token_stands_in_its_sequence(tmp_path):
    made_map.write_made_map(tmp_path, 3000, 10, page=False)
    found = read_map(tmp_path)
    sequence, position = np.divmod(found.tokens["token_id"].astype(int), found.marker["context"])
    assert np.array_equal(found.sequences[sequence, position + 1], found.tokens["token"])
    assert np.array_equal(found.sequence_subsets[sequence], found.tokens["subset"])


def test_the_same_data_gives_the_same_bytes():
    first, second = (dict(objects(made_map.made_map(2000, 12, seed=3))) for _ in range(2))
    assert first == second
    other = dict(objects(made_map.made_map(2000, 12, seed=4)))
    assert first.keys() == other.keys() and first != other


def test_how_sequences_are_handed_over_changes_no_byte():
    data = made_map.made_map(9000, 5)
    ids = next(iter(data.sequences.blocks()))
    cut = [ids[:1], ids[1:1], ids[1:70], ids[70:]]
    source = dataclasses.replace(data.sequences, blocks=lambda: iter(cut))
    assert dict(objects(dataclasses.replace(data, sequences=source))) == dict(objects(data))


def test_sequences_that_are_missing_are_named():
    data = made_map.made_map(1000, 5)
    ids = next(iter(data.sequences.blocks()))
    source = dataclasses.replace(data.sequences, blocks=lambda: [ids[:-2]])
    with pytest.raises(ValueError, match="expected 16 sequences, one for each subset, found 14"):
        dict(objects(dataclasses.replace(data, sequences=source)))


@pytest.mark.parametrize(("num_tokens", "num_clusters"), [(1, 0), (50, 0), (1, 1), (40, 1)])
def test_a_map_of_next_to_nothing(tmp_path, num_tokens, num_clusters):
    made_map.write_made_map(tmp_path, num_tokens, num_clusters, page=False)
    found = read_map(tmp_path)
    assert found.marker["clusters"]["count"] == num_clusters and found.regions == []
    assert len(found.tokens["x"]) == num_tokens


def test_columns_of_different_lengths_are_refused():
    data = made_map.made_map(100, 3)
    with pytest.raises(ValueError, match="equally long"):
        dataclasses.replace(data.tokens, loss=data.tokens.loss[:-1])


def test_profiles_beyond_half_precision_stay_finite(tmp_path):
    profile = np.array([[1e9, -1e9, 0.5]])
    made_map.write_made_map(
        tmp_path, 100, 1, page=False, profile_KH=profile, components=("a", "b", "c")
    )
    assert read_map(tmp_path).profiles.tolist() == [[65504.0, -65504.0, 0.5]]


def test_words_that_are_markup_stay_ascii_json(tmp_path):
    made_map.write_made_map(tmp_path, 100, 1, page=False)
    raw = (tmp_path / "vocabulary.json").read_bytes()
    assert raw.isascii()
    shown = json.loads(raw)
    assert "<script>alert(1)</script>" in shown
    assert not any(ord(char) < 32 for text in shown if text for char in text)


def test_the_page_has_deck_gl_and_no_python():
    found = dict(page_files())
    assert len(found["deck.js"]) > 1e6 and b"createDeck" in found["deck.js"]
    assert all(name.endswith((".html", ".css", ".js")) for name in found)


def test_columns():
    assert [dtype_name(np.empty(0, t)) for t in ("u1", "<u2", ">u4", "f8")] == [
        "u8", "u16", "u32", "f64",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="found i8"):
        dtype_name(np.empty(0, np.int64))
    assert [narrow(n).itemsize for n in (0, 255, 256, 65536)] == [1, 1, 2, 4]
    grid = on_grid(np.array([[0.0, 1.0], [0.5, 2.0], [-1.0, 1 / 65535]]))
    assert grid.tolist() == [[0, 65535], [32768, 65535], [0, 1]]
    values, cluster = np.array([5, 6, 7, 8]), np.array([0, 0, 0, 2])
    assert first_of_each(values, cluster, (4, 2), -1).tolist() == [
        [5, 6],
        [-1] * 2,
        [8, -1],
        [-1] * 2,
    ]


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u4", "i4", "<f4", "f8"])
@pytest.mark.parametrize("num", [0, 5])
def test_columns_are_read_as_they_were_written(dtype, num):
    values = np.arange(num).astype(dtype)
    assert np.array_equal(array_of(data_of(values), dtype_name(values)), values)
    with pytest.raises(ValueError, match="found i8"):
        array_of(b"", "i8")


def test_columns_that_there_are_not_are_left_out(tmp_path):
    """Only a map with tokens that were assigned later has columns of them."""
    base = made_map.made_map(200, 3)
    assert "assigned" not in base.clusters.columns()
    some = dataclasses.replace(
        base.clusters,
        assigned=np.array([1, 0, 2], np.uint32),
        assigned_examples=np.array([[7.0], [-1.0], [9.0]]),
    )
    made_map.write_made_map(tmp_path, 200, 3, page=False, clusters=some, assigned={"tokens": 3})
    found = read_map(tmp_path)
    assert found.clusters["assigned"].tolist() == [1, 0, 2]
    assert found.clusters["assigned_examples"].tolist() == [[7.0], [-1.0], [9.0]]
    assert found.marker["assigned"] == {"tokens": 3}


def test_a_second_map_lies_whole_in_the_first(tmp_path):
    control = made_map.made_map(300, 2, 5, is_control=True)
    made_map.write_made_map(tmp_path, 900, 4, page=False, control_map=control)
    inner = read_map(tmp_path / "control")
    assert inner.marker["is_control"] and inner.marker["tokens"]["total"] == 300
    assert read_map(tmp_path).marker["control"]["map"] == "control"
