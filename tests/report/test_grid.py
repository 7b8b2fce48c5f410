"""Components by layer, as the page has them."""

from __future__ import annotations

import numpy as np

from spectro.analysis.component_grid import blocks, grid, head_of, in_order, is_mlp


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


MIXED = [
    "full", "l0layer", "l0mlp.up", "l0h1.o", "l0h1", "l0h0", "l0h1.q", "l0mlp", "l0attn", "norms",
    "l0norm1", "unembed", "final_norm", "l0kv0", "l0kv0.v", "l1foo", "l1h1", "embed", "l0mlp.gate",
    "l0q_norm",
]  # fmt: skip


def test_every_kind_has_its_place() -> None:
    assert [MIXED[column] for column in in_order(MIXED)] == [
        "embed", "l0h0", "l0h1", "l0h1.q", "l0h1.o", "l0kv0", "l0kv0.v", "l0attn", "l0mlp",
        "l0mlp.gate", "l0mlp.up", "l0norm1", "l0q_norm", "l0layer", "l1h1", "l1foo", "final_norm",
        "unembed", "full", "norms",
    ]  # fmt: skip
    laid = grid(MIXED)
    assert laid.rows == ("embed", "L0", "L1", "final_norm", "unembed", "full", "norms")
    assert laid.columns == (
        "0", "1", "1.q", "1.o", "kv0", "kv0.v", "attn", "mlp", "mlp.gate", "mlp.up", "norm1",
        "q_norm", "layer", "foo",
    )  # fmt: skip
    cells = set(zip(laid.row_H.tolist(), laid.column_H.tolist(), strict=True))
    assert len(cells) == len(MIXED)  # no two in one cell
    assert laid.table(np.arange(20.0))[2].tolist()[1] == MIXED.index("l1h1")


def test_numbers_of_heads_and_parts_of_mlps() -> None:
    assert [head_of(name) for name in ("l0h12", "l3h1.q", "l0kv1", "l0mlp", "embed", "l0h1x")] == [
        12, 1, None, None, None, None,
    ]  # fmt: skip
    assert is_mlp("l1mlp.up") and not is_mlp("l1mlps")
