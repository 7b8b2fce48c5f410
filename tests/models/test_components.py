"""Names, patterns and groups."""

from __future__ import annotations

import pytest

from spectro.models.components import FULL, all_components, group_components, select_components
from spectro.models.size import ModelSize

SMALL = ModelSize(num_layers=2, num_heads=2, hidden_size=8, vocab_size=11)
SHARED = ModelSize(
    family="qwen3", num_layers=2, num_heads=2, num_kv_heads=1, hidden_size=8, vocab_size=11,
    has_gate=True, has_qk_norm=True, is_tied=True,
)  # fmt: skip


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


@pytest.mark.parametrize(
    ("size", "pattern", "names"),
    [
        (SMALL, "l*attn", "l0attn l1attn"),
        (SMALL, "L1Layer", "l1layer"),
        (SMALL, "*norm*", "l0norm1 l0norm2 l1norm1 l1norm2 final_norm"),
        (SMALL, "l0h1.*", "l0h1.q l0h1.k l0h1.v l0h1.o"),
        (SMALL, "l*mlp.up", "l0mlp.up l1mlp.up"),
        (SMALL, "full", "full"),
        (SMALL, "l0h*", "l0h0 l0h1"),
        (SHARED, "l0h1.*", "l0h1.q l0h1.o"),
        (SHARED, "l1*.k", "l1kv0.k"),
        (SHARED, "l0mlp.*", "l0mlp.gate l0mlp.up l0mlp.down"),
        (SHARED, "l1*_norm", "l1q_norm l1k_norm"),
    ],
)
def test_a_pattern_selects_from_the_first_granularity_it_matches(
    size: ModelSize, pattern: str, names: str
) -> None:
    assert [c.name for c in size.select([pattern])] == names.split()


def test_all_standard_components_are_the_same_with_other_granularities() -> None:
    assert SMALL.select(["*"]) == SMALL.components
    assert SMALL.groups(["*"], with_full=True) == group_components(
        all_components(2, 2), with_full=True
    )


def test_several_granularities_share_the_groups_of_their_layers() -> None:
    groups = SMALL.groups(["full", "unembed", "l1layer", "l1h0.q", "final_norm", "l1mlp"],
                          with_full=True)  # fmt: skip
    assert {g.name: [c.name for c in g.components] for g in groups} == {
        "l1": ["l1mlp", "l1h0.q", "l1layer"],
        "final_norm": ["final_norm"],
        "unembed": ["unembed"],
        "full": ["full"],
    }


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("l0atn", "'l0atn' selects nothing.*nearest: .*l0attn"),
        ("l0h0.w", "nearest: .*l0h0.q"),
        ("l2attn", "l0attn … l1attn.*nearest: l1attn"),
        ("l1attn=.*", "'l1attn' is defined, but the model has"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SMALL.select([pattern])
