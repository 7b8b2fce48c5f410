"""Components by layer, as the page has them."""

from __future__ import annotations

import numpy as np

from spectro.analysis.component_grid import blocks, grid, in_order, is_mlp


def test_layers_heads_then_mlp() -> None:
    names = ["unembed", "l1mlp", "l10h0", "l1h10", "l1h2", "embed", "l0h0"]
    result = [(block.name, [names[i] for i in block.columns]) for block in blocks(names)]
    assert result == [
        ("embed", ["embed"]),
        ("L0", ["l0h0"]),
        ("L1", ["l1h2", "l1h10", "l1mlp"]),
        ("L10", ["l10h0"]),
        ("unembed", ["unembed"]),
    ]
    assert sorted(in_order(names)) == list(range(7))
    assert is_mlp("l1mlp") and not is_mlp("l1h0") and not is_mlp("embed")


def test_grid() -> None:
    names = ["embed", "l0h0", "l0h2", "l0mlp", "l1h1"]
    laid = grid(names)
    assert laid.rows == ("embed", "L0", "L1") and laid.columns == ("0", "1", "2", "mlp")
    expected = [[1, np.nan, np.nan, np.nan], [2, np.nan, 3, 4], [np.nan, 5, np.nan, np.nan]]
    np.testing.assert_array_equal(laid.table(np.arange(1.0, 6.0)), expected)


def test_few_components() -> None:
    assert grid(["embed"]).table(np.array([3.0])).tolist() == [[3.0]]
    assert grid([]).rows == () and blocks([]) == []
    assert grid(["l3mlp"]).columns == ("mlp",)
