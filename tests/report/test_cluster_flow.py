"""Fates and origins of clusters between checkpoints, against sets written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spectro.analysis.cluster_flow import ClusterFlow, Fate, Origin, by_chance, cluster_flow
from spectro.analysis.cluster_lineages import lineages
from spectro.clustering.matching import Clustering

KEPT, MERGED, SPLIT, GONE, BORN = "kept", "merged", "split", "gone", "born"


def clusters(*sets: range | list[int], num_tokens: int = 100) -> Clustering:
    return Clustering.of([np.array(list(own), np.int64) for own in sets], num_tokens)


@pytest.mark.parametrize(
    ("earlier", "later", "fates", "origins"),
    [
        ([range(10)], [range(2, 12)], [KEPT], [KEPT]),
        ([range(10), range(10, 18)], [range(18)], [KEPT, MERGED], [KEPT]),
        ([range(10), range(10, 20)], [range(20)], [MERGED, MERGED], [MERGED]),
        ([range(20)], [range(10), range(10, 20)], [SPLIT], [SPLIT, SPLIT]),
        ([range(10)], [range(10, 20)], [GONE], [BORN]),
        ([range(10)], [range(5)], [GONE], [SPLIT]),  # half is not more than half
        ([range(10)], [range(25)], [MERGED], [BORN]),  # swallowed by tokens of no cluster
        ([], [range(3)], [], [BORN]),
        ([range(3)], [], [GONE], []),
        ([range(9), range(6)], [range(9)], [KEPT, MERGED], [KEPT]),  # overlapping ones
    ],
)
def test_fates_and_origins(
    earlier: list[range], later: list[range], fates: list[str], origins: list[str]
) -> None:
    found = cluster_flow(clusters(*earlier), clusters(*later))
    assert list(found.fate_A) == fates and list(found.origin_B) == origins
    assert sum(found.num_by_fate.values()) == len(earlier)
    backwards = cluster_flow(clusters(*later), clusters(*earlier))
    forwards = {(x.earlier, x.later, x.kept, x.goes_to, x.comes_from) for x in found.links}
    assert forwards == {
        (x.later, x.earlier, x.kept, x.comes_from, x.goes_to) for x in backwards.links
    }


def slow_shares(a: list[set[int]], b: list[set[int]]) -> set[tuple[int, int, int]]:
    """Pairs of which one has more than half of its members in the other."""
    return {
        (i, j, len(own & other))
        for i, own in enumerate(a)
        for j, other in enumerate(b)
        if 2 * len(own & other) > min(len(own), len(other))
    }


def random_clusters(seed: int, num_clusters: int) -> tuple[Clustering, list[set[int]]]:
    rng = np.random.default_rng(seed)
    members = [
        np.sort(rng.choice(100, int(rng.integers(2, 30)), replace=False))
        for _ in range(num_clusters)
    ]
    return Clustering.of(members, 100), [set(own.tolist()) for own in members]


@pytest.mark.parametrize("seed", range(8))
def test_links_of_random_overlapping_clusters(seed: int) -> None:
    (a, slow_a), (b, slow_b) = random_clusters(2 * seed, 12), random_clusters(2 * seed + 1, 9)
    found = cluster_flow(a, b)
    assert {(x.earlier, x.later, x.shared) for x in found.links} == slow_shares(slow_a, slow_b)
    for link in found.links:
        union = slow_a[link.earlier] | slow_b[link.later]
        assert link.jaccard == pytest.approx(link.shared / len(union))
        if link.jaccard > 0.5 and found.fate_A[link.earlier] is not Fate.KEPT:
            pytest.fail("a Jaccard index above 1/2 is a cluster that is kept")
    kept = [link for link in found.links if link.kept]
    assert len({x.earlier for x in kept}) == len({x.later for x in kept}) == len(kept)
    for i, fate in enumerate(found.fate_A):
        children = {x.later for x in found.links if x.earlier == i and x.comes_from}
        held = slow_a[i] & set().union(*(slow_b[j] for j in children))
        expected_split = 2 * len(held) > len(slow_a[i])
        goes = any(x.goes_to for x in found.links if x.earlier == i)
        if fate in (Fate.SPLIT, Fate.GONE):
            assert not goes and (fate is Fate.SPLIT) == expected_split
        else:
            assert goes


def test_by_chance_nothing_is_kept_and_within_y_what_y_gives() -> None:
    sets = [range(start, start + 10) for start in range(0, 50, 10)]
    same = clusters(*sets)
    chance = by_chance(same, same)
    assert chance.fates[Fate.GONE] == chance.origins[Origin.BORN] == 1.0
    of_y = by_chance(same, same, within_N=np.arange(100) // 10)
    assert of_y.fates[Fate.KEPT] == 1.0  # clusters that are a y each: y alone explains them
    assert by_chance(same, same, seed=1) == by_chance(same, same, seed=1)
    assert np.isnan(by_chance(clusters(), same).fates[Fate.KEPT])


def test_clusterings_of_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="found 100 and 90") as error:
        cluster_flow(clusters(range(3)), clusters(range(3), num_tokens=90))
    assert "\n" not in str(error.value)


def test_lineages() -> None:
    """Two merge, the merged one lives on; one goes, one is born, one splits."""
    first = clusters(range(10), range(10, 20), range(20, 30), range(60, 80))
    second = clusters(range(20), range(30, 40), range(60, 80))
    third = clusters(range(1, 20), range(60, 70), range(70, 80))
    flows: list[ClusterFlow] = [cluster_flow(first, second), cluster_flow(second, third)]
    found = lineages([4, 3, 3], flows)
    seen = {(own.start + k, c) for own in found for k, c in enumerate(own.clusters)}
    assert len(seen) == sum(len(own.clusters) for own in found) == 10
    by_place = {(own.start, own.clusters): own for own in found}
    assert set(by_place) == {
        (0, (0,)), (0, (1,)), (0, (2,)), (0, (3, 2)), (1, (0, 0)), (1, (1,)), (2, (1,)), (2, (2,)),
    }  # fmt: skip
    merged, born = by_place[1, (0, 0)], by_place[1, (1,)]
    assert merged.origin is Origin.MERGED and merged.parents == (0, 1) and merged.fate is None
    assert born.origin is Origin.BORN and born.parents == () and born.fate is Fate.GONE
    assert by_place[0, (3, 2)].origin is None and by_place[0, (3, 2)].fate is Fate.SPLIT
    assert by_place[0, (2,)].fate is Fate.GONE and by_place[2, (1,)].parents == (2,)
    assert merged.cluster_at(0) is None and merged.cluster_at(2) == 0
    assert [own.end for own in found] == sorted((own.end for own in found), reverse=True)
    with pytest.raises(ValueError, match="expected flows between checkpoints"):
        lineages([4, 3], flows)
