"""Names, patterns and groups."""

from __future__ import annotations

import pytest

from spectro.models.components import all_components, group_components, select_components


@pytest.mark.parametrize(("layers", "heads", "count"), [(6, 4, 32), (24, 16, 410)])
def test_component_counts_of_the_papers(layers: int, heads: int, count: int) -> None:
    """Pythia-14M has 32 components, Pythia-1.4B 410 (design §1)."""
    assert len(all_components(layers, heads)) == count


def test_patterns_select_in_canonical_order() -> None:
    chosen = select_components(["unembed", "L1MLP", "l0h*", "l 0 h 1"], 2, 2)
    assert [c.name for c in chosen] == ["l0h0", "l0h1", "l1mlp", "unembed"]
    assert len(select_components(["*"], 2, 2)) == 8


def test_groups_gather_a_layers_heads_and_mlp() -> None:
    groups = group_components(select_components(["*"], 2, 2))
    assert {g.name: [c.name for c in g.components] for g in groups} == {
        "embed": ["embed"],
        "l0": ["l0h0", "l0h1", "l0mlp"],
        "l1": ["l1h0", "l1h1", "l1mlp"],
        "unembed": ["unembed"],
    }


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["l2h0"], "'l2h0' selects nothing: this model has l0h0 … l1h1"),
        (["l0h2"], "selects nothing"),
        (["mlp"], "selects nothing"),
        ([""], "selects nothing"),
        ([], "no components asked for"),
        (["full"], "cannot be a column"),
    ],
)
def test_a_pattern_that_selects_nothing_is_an_error(patterns: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_components(patterns, 2, 2)
