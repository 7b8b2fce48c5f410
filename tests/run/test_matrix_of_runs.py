"""The response matrix of a run of subsets and additions, from storage, against plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectro.analysis.scaling import Scaling
from spectro.formats.product import read_product
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences
from spectro.views.matrix import matrix, principal_axes
from spectro.views.run_view import RunView
from tests.run.made_runs import CONTEXT, add_tokens, make_run, text

Job = Callable[..., int]
NAMES = ("code", "prose \x1b[31m", "later")
SHOWN = ("code", "prose \ue000␛\ue001[31m", "later")


def of_subsets(num: int, seed: int, subsets: list[int], names: tuple[str, ...]) -> Sequences:
    subset = np.random.default_rng([seed, 1]).choice(subsets, num).astype(np.int16)
    subset[: 2 * len(subsets)] = np.repeat(subsets, 2)  # two of each at least
    ids = text(num, seed).ids_ST1
    ids[:, ::3] += (subset[:, None] == subsets[0]).astype(np.int32) * (ids[:, ::3] < 20)
    return Sequences(ids_ST1=ids, subset_S=subset, subset_names=names)


@pytest.fixture
def made(tmp_path: Path) -> Store:
    """Three shards of two subsets, and one more of the first and a third."""
    store = make_run(tmp_path / "a[" / "b]", of_subsets(20, 1, [0, 1], NAMES[:2]))
    add_tokens(store, of_subsets(7, 2, [0, 2], NAMES))
    return store


def errors(x: np.ndarray, member_N: np.ndarray, stratum_S: np.ndarray) -> np.ndarray:
    """Of the mean of some tokens less that of all, sequence by sequence within strata."""
    x_STH = x.reshape(len(stratum_S), CONTEXT, -1)
    member_ST = member_N.reshape(len(stratum_S), CONTEXT)
    mean, variance = x[member_N].mean(axis=0), np.zeros(x.shape[1])
    u = [
        (own[inside] - mean).sum(axis=0) / member_N.sum() - own.sum(axis=0) / len(x)
        for own, inside in zip(x_STH, member_ST, strict=True)
    ]
    for stratum in np.unique(stratum_S):
        each = np.array(u)[stratum_S == stratum]
        variance += len(each) * each.var(axis=0, ddof=1)
    return np.sqrt(variance)


@pytest.mark.parametrize("scaling", Scaling)
def test_subsets_of_all_shards_and_additions(made: Store, scaling: Scaling) -> None:
    view, product = RunView(made.uri), read_product(made)
    told = matrix(view, scaling=scaling)
    assert view.num_shards == 4 and told.names == SHOWN
    subset_N = np.array(product.table["subset"].to_pylist())
    x = product.chi_NH.astype(np.float64)
    x = x - x.mean(axis=0)
    if scaling is not Scaling.RAW:
        x = x / x.std(axis=0)
    if scaling is Scaling.CENTRED:
        x = x - x.mean(axis=1, keepdims=True)
    assert told.num_tokens_R.sum() == len(x) == 27 * CONTEXT
    for row, name in enumerate(NAMES):
        own_N = subset_N == name
        assert told.num_tokens_R[row] == own_N.sum() > 0
        np.testing.assert_allclose(told.mean_RH[row], x[own_N].mean(axis=0), atol=1e-9)
        expected = errors(x, own_N, subset_N[::CONTEXT])
        np.testing.assert_allclose(told.error_RH[row], expected, rtol=1e-6)


def test_a_run_of_one_subset_has_no_response_and_no_dots(tmp_path: Path) -> None:
    view = RunView(make_run(tmp_path / "run", text(20, 1)).uri)
    for scaling in Scaling:
        told = matrix(view, scaling=scaling)
        assert (told.mean_RH == 0.0).all() and (told.error_RH == 0.0).all()
        assert not (np.abs(told.mean_RH) > 2 * told.error_RH).any()


def test_ends_of_axes_are_found_in_every_shard(made: Store) -> None:
    view, product = RunView(made.uri), read_product(made)
    data = principal_axes(view, num_axes=2, num_ends=6)
    x = product.chi_NH.astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    for axis in range(2):
        score = x @ data.principal.loading_AH[axis]
        ids = [end.lit.token_id for end in data.low[axis]]
        np.testing.assert_allclose(score[ids], np.sort(score)[:6], rtol=1e-6)


def test_names_are_shown_as_they_are(
    made: Store, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a folder's brackets nor a subset's control characters mean anything."""
    for arguments in (["matrix"], ["matrix", "format=json"], ["query"]):
        assert job(arguments[0], f"run.uri='{made.uri}'", *arguments[1:]) == 0
        told = capsys.readouterr().out
        assert "\x1b" not in told
        if "format=json" not in arguments:
            assert "a[/b]" in "".join(told.split())  # long titles are folded
        if arguments[0] == "matrix":
            assert "⟨␛⟩[31m" in told
