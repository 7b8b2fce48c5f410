"""Names, patterns and groups."""

from __future__ import annotations

import pytest

from spectro.models.components import FULL, all_components, group_components, select_components


@pytest.mark.parametrize(("layers", "heads", "count"), [(6, 4, 32), (24, 16, 410)])
def test_component_counts_of_the_papers(layers: int, heads: int, count: int) -> None:
    """Pythia-14M has 32 components, Pythia-1.4B 410 (design §1)."""
    assert len(all_components(layers, heads)) == count


def test_components_come_in_the_patterns_order() -> None:
    """What one pattern selects is in canonical order; of a doubled one the first place counts."""
    chosen = select_components(["unembed", "L1MLP", "l0h*", "l 0 h 1"], all_components(2, 2))
    assert [c.name for c in chosen] == ["unembed", "l1mlp", "l0h0", "l0h1"]
    chosen = select_components(["l0h1", "l0*", "*"], all_components(2, 2))
    assert [c.name for c in chosen] == [
        "l0h1", "l0h0", "l0mlp", "embed", "l1h0", "l1h1", "l1mlp", "unembed",
    ]  # fmt: skip
    assert select_components(["*"], all_components(2, 2)) == all_components(2, 2)


def test_groups_do_not_depend_on_the_order_asked_for() -> None:
    known = all_components(12, 11)  # l10 comes after l2, h10 after h2
    assert group_components(known[::-1]) == group_components(known)
    assert [c for group in group_components(known[::-1]) for c in group.components] == list(known)
    assert [g.name for g in group_components([*known[::-1], FULL])][-2:] == ["unembed", "full"]


def test_groups_gather_a_layers_heads_and_mlp() -> None:
    groups = group_components(select_components(["*"], all_components(2, 2)))
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
        select_components(patterns, all_components(2, 2))


def test_definitions_by_names_of_parameters() -> None:
    known = all_components(2, 2)
    chosen = select_components(["l0h1", "Norms=.*norm.*", r"q=a\.b@0:4, :2"], known)
    assert [c.name for c in chosen] == ["l0h1", "norms", "q"]
    assert [c.group for c in chosen] == ["l0", "norms", "q"]
    (part,) = chosen[2].definition
    assert part.matches("a.b") and not part.matches("axb") and not part.matches("a.b.c")
    assert part.index == (slice(0, 4), slice(None, 2))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("l0h1=.*", "'l0h1' is defined, but the model has"),
        ("l1=.*", "'l1' is defined, but the model has"),
        ("full=.*", "'full' is defined, but the model has"),
        ("no/name=.*", "expected a name of letters"),
        ("a=(", "is no regular expression"),
        ("a=.*@3", "expected start:stop"),
    ],
)
def test_definitions_that_cannot_be(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_components([pattern], all_components(2, 2))


def test_a_definition_and_a_name_twice() -> None:
    with pytest.raises(ValueError, match="'a' is given twice"):
        select_components(["a=.*x", "a=.*y"], all_components(2, 2))
