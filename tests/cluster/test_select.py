"""From χ to clusters: planted truth, invariance to workers, and what must be refused."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from planted import mixture, random_graph
from sklearn.metrics import adjusted_rand_score

from spectro.clustering.clusters import Clusters, build_graph, cluster
from spectro.clustering.config import ClusterConfig, Preprocess, ToleranceKind
from spectro.clustering.graph.weighted_graph import Graph, from_matrix
from spectro.clustering.local.round_state import SelectionState
from spectro.clustering.local.rounds import find_clusters, round_size
from spectro.clustering.local.seed_executor import Proposals, ThreadSeedExecutor, thread_executor
from spectro.clustering.local.seed_proposal import Proposal, SeedParameters, seed_parameters
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import fit_transform

SIZES = [25, 40, 60, 100, 160]


@pytest.fixture(scope="module")
def body() -> tuple[np.ndarray, np.ndarray]:
    """Five clusters in a body of 700."""
    return mixture(sizes=SIZES, num_body=700)


@pytest.fixture(scope="module")
def found(body: tuple[np.ndarray, np.ndarray]) -> Clusters:
    return cluster(body[0], ClusterConfig())


def same(one: Clusters, other: Clusters) -> bool:
    pairs = zip(one.members, other.members, strict=True)
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in pairs)


def test_a_planted_partition_is_recovered():
    chi, label = mixture(sizes=[60, 90, 120, 200, 260], num_body=0, seed=2)
    result = cluster(chi, ClusterConfig())
    assert adjusted_rand_score(label, result.label_N) >= 0.98


@pytest.mark.parametrize("kind", list(Preprocess))
def test_planted_clusters_are_recovered_from_a_body(
    body: tuple[np.ndarray, np.ndarray], kind: Preprocess
):
    chi, label = body
    result = cluster(chi, ClusterConfig(preprocess=kind))
    planted = label >= 0
    assert adjusted_rand_score(label[planted], result.label_N[planted]) >= 0.98
    # overlapping clusters take in some of what lies around them
    assert (result.label_N[~planted] >= 0).mean() < 0.2


def test_a_body_without_clusters_has_none():
    chi, _ = mixture(sizes=[], num_body=800, seed=4)
    assert len(cluster(chi, ClusterConfig())) == 0


def test_the_published_rule_takes_pieces_of_the_body(body: tuple[np.ndarray, np.ndarray]):
    # Why it is not the default at this size (ADR 020, 021): 1e-7 reaches the whole graph.
    config = replace(ClusterConfig.published(), round_size=16, untried_fraction=0.9)
    result = cluster(body[0], config)
    assert result.size_C.max() > 0.25 * result.num_tokens


def test_conductance_is_that_of_the_graph_and_within_the_rule(
    body: tuple[np.ndarray, np.ndarray], found: Clusters
):
    graph = build_graph(found.transform.apply(body[0]), found.config)
    for rows, conductance in zip(found.members, found.conductance_C, strict=True):
        inside = np.isin(np.arange(graph.num_nodes), rows)
        adjacency = graph.adjacency().astype(np.float64)
        cut = adjacency[inside][:, ~inside].sum()
        smaller = min(adjacency[inside].sum(), adjacency[~inside].sum())
        assert conductance == pytest.approx(cut / smaller, rel=1e-6)
        assert conductance <= found.config.max_conductance + 1e-6
        assert rows.size >= found.config.min_size


def test_clusters_that_are_removed_are_disjoint_and_ordered(body: tuple[np.ndarray, np.ndarray]):
    found = cluster(body[0], ClusterConfig(overlap=False))
    rows = np.concatenate(found.members)
    assert np.unique(rows).size == rows.size > 300
    assert np.isnan(found.repeatability_C).all()
    assert (np.diff(found.size_C) <= 0).all()
    for scores in found.scores:
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("num_threads", [2, 5])
def test_the_number_of_threads_changes_nothing(
    body: tuple[np.ndarray, np.ndarray], found: Clusters, num_threads: int
):
    assert same(
        found, cluster(body[0], ClusterConfig(), make_executor=thread_executor(num_threads))
    )


def test_the_order_of_arrival_changes_nothing(body: tuple[np.ndarray, np.ndarray], found: Clusters):
    class Backwards(ThreadSeedExecutor):
        def submit(self, seeds: Sequence[int]) -> Proposals:
            proposals = super().submit(list(seeds)[::-1])
            return lambda: proposals()[::-1]

    assert same(found, cluster(body[0], ClusterConfig(), make_executor=Backwards))


def test_another_seed_finds_the_same_large_clusters(
    body: tuple[np.ndarray, np.ndarray], found: Clusters
):
    other = cluster(body[0], ClusterConfig(seed=1))
    planted = body[1] >= 0
    assert adjusted_rand_score(found.label_N[planted], other.label_N[planted]) >= 0.98


def test_overlap_keeps_what_is_found_in_place(body: tuple[np.ndarray, np.ndarray]):
    result = cluster(
        body[0],
        ClusterConfig(preprocess=Preprocess.STANDARDISE, overlap=True, untried_fraction=0.8),
    )
    members = np.concatenate(result.members)
    assert np.unique(members).size < members.size
    assert np.unique(result.seed_C).size == len(result)


class Scripted:
    """A crew that proposes given spans (low, high, conductance) in its first round."""

    num_ahead = 0

    def __init__(self, spans: list[tuple[int, int, float]]) -> None:
        self.spans, self.rounds, self.removed = spans, [], []

    def __call__(self, graph: Graph, rule: SeedParameters, removed: np.ndarray) -> "Scripted":
        return self

    def submit(self, seeds: Sequence[int]) -> Proposals:
        self.rounds.append(list(seeds))
        spans = self.spans if len(self.rounds) == 1 else [(0, 0, 1.0)] * len(seeds)
        found = [
            Proposal(
                seed=seed,
                tokens=np.arange(low, high, dtype=np.int32)[::-1],
                scores=np.zeros(high - low, np.float32),
                conductance=conductance,
                num_edges=1,
            )
            for seed, (low, high, conductance) in zip(seeds, spans, strict=True)
        ]
        return lambda: found

    def remove(self, nodes: np.ndarray) -> None:
        self.removed.extend(nodes.tolist())


def test_conflicts_within_a_round_go_to_the_lower_conductance():
    graph = random_graph(num_nodes=80, density=0.2)
    config = ClusterConfig(round_size=3, overlap=False)
    crew = Scripted([(0, 30, 0.4), (20, 45, 0.2), (45, 70, 0.3)])
    state = find_clusters(graph, config, crew)
    assert [c.conductance for c in state.clusters] == [0.2, 0.3]
    assert state.tried.all() and state.removed.sum() == 50
    assert sorted(crew.removed) == np.flatnonzero(state.removed).tolist()
    # The seed of the dropped candidate leads the next round unless it was taken.
    first = crew.rounds[0][0]
    assert (crew.rounds[1][0] == first) == (not state.removed[first])


def test_every_node_is_tried_once_in_the_keyed_order():
    graph, config = random_graph(num_nodes=80, density=0.2), ClusterConfig(round_size=7)
    crew = Scripted([(0, 0, 1.0)] * 7)
    find_clusters(graph, config, crew)
    order = np.random.default_rng((0, 0x5EED)).permutation(80)
    assert np.concatenate(crew.rounds).tolist() == order.tolist()
    assert [len(seeds) for seeds in crew.rounds] == [7] * 11 + [3]


def test_overlap_keeps_the_best_of_equal_sets():
    graph = random_graph(num_nodes=80, density=0.2)
    crew = Scripted([(0, 30, 0.4), (0, 30, 0.2), (0, 31, 0.3)])
    config = ClusterConfig(round_size=3, overlap=True, same_jaccard=1.0)
    state = find_clusters(graph, config, crew)
    assert [(c.tokens.size, c.conductance) for c in state.clusters] == [(30, 0.2), (31, 0.3)]
    assert state.num_duplicates == 1 and not crew.removed and state.num_members() == 31


def test_overlap_counts_what_is_nearly_a_found_cluster():
    """In the order of acceptance: the second is like the first, the third like the second only."""
    graph = random_graph(num_nodes=80, density=0.2)
    crew = Scripted([(0, 30, 0.1), (10, 40, 0.2), (20, 50, 0.3)])
    config = ClusterConfig(round_size=3, overlap=True, same_jaccard=0.5)
    state = find_clusters(graph, config, crew)
    assert [int(c.tokens.min()) for c in state.clusters] == [0, 20]
    assert state.num_duplicates == 1


class Stopped(Exception):
    """Raised between rounds, as a lost worker."""


@pytest.mark.parametrize("overlap", [False, True])
def test_stopped_after_any_round_and_resumed_from_arrays(
    body: tuple[np.ndarray, np.ndarray], overlap: bool
):
    config = ClusterConfig(round_size=48, untried_fraction=0.3, overlap=overlap)
    graph = build_graph(fit_transform(body[0], config).apply(body[0]), config)
    undisturbed = find_clusters(graph, config)
    assert undisturbed.num_rounds > 5 and undisturbed.clusters
    checkpoint = SelectionState.start(graph.num_nodes).to_arrays()

    def stop(state: SelectionState) -> None:
        nonlocal checkpoint
        checkpoint = {name: array.copy() for name, array in state.to_arrays().items()}
        raise Stopped

    for _ in range(undisturbed.num_rounds):
        with pytest.raises(Stopped):
            find_clusters(
                graph, config, state=SelectionState.from_arrays(checkpoint), on_round=stop
            )
    resumed = find_clusters(graph, config, state=SelectionState.from_arrays(checkpoint))
    for name, array in undisturbed.to_arrays().items():
        np.testing.assert_array_equal(resumed.to_arrays()[name], array, err_msg=name)


def test_counts_are_those_of_the_arrays(body: tuple[np.ndarray, np.ndarray]):
    config = ClusterConfig(round_size=64, overlap=False)
    graph = build_graph(fit_transform(body[0], config).apply(body[0]), config)

    def check(state: SelectionState) -> None:
        assert state.num_tried == state.tried.sum()
        assert state.num_removed == state.removed.sum() == state.num_members()

    assert find_clusters(graph, config, on_round=check).num_removed > 300


def test_a_state_of_another_graph_is_refused():
    graph = random_graph(num_nodes=80, density=0.2)
    with pytest.raises(ValueError, match=r"80 tokens, .* 81: .*another run"):
        find_clusters(graph, ClusterConfig(), state=SelectionState.start(81))


@pytest.mark.parametrize("num_nodes, size", [(1, 256), (780_000, 390), (46_000_000, 23_000)])
def test_a_round_grows_with_the_graph(num_nodes: int, size: int):
    assert round_size(ClusterConfig(), num_nodes) == size
    assert round_size(ClusterConfig(round_size=7), num_nodes) == 7


def test_more_than_max_fraction_of_what_is_left_is_refused():
    piece = random_graph(num_nodes=60, density=0.5)
    config = ClusterConfig.published()
    assert find_clusters(piece, config).clusters == [] or all(
        c.tokens.size <= 59 for c in find_clusters(piece, config).clusters
    )


def test_isolated_nodes_are_tried_and_left():
    graph = from_matrix(random_graph(num_nodes=50, density=0.001).adjacency())
    assert find_clusters(graph, ClusterConfig()).clusters == []


def test_tolerances_in_the_units_of_the_graph():
    graph = random_graph(num_nodes=80, density=0.2)
    mean = graph.volume / 80
    reach = seed_parameters(graph, ClusterConfig(reach=20))
    assert reach.epsilon == pytest.approx(1 / (20 * mean))
    assert seed_parameters(graph, ClusterConfig(reach=10**6)).max_volume == pytest.approx(40 * mean)
    volume = ClusterConfig(tolerance_kind=ToleranceKind.VOLUME, tolerance=4.0)
    assert seed_parameters(graph, volume).epsilon == pytest.approx(4 / graph.volume)
    assert seed_parameters(graph, ClusterConfig.published()).epsilon == 1e-7


def _pile_of_duplicates() -> np.ndarray:
    chi = mixture(sizes=[], num_body=700)[0]
    chi[50:130] = chi[50]
    return chi


def test_duplicates_are_a_cluster():
    result = cluster(_pile_of_duplicates(), ClusterConfig())
    assert any(set(range(50, 130)) <= set(rows.tolist()) for rows in result.members)


@pytest.mark.parametrize(
    "chi, message",
    [
        (np.ones((100, 5), np.float32), "same for every token"),
        (np.eye(1, 5, dtype=np.float32), "N ≥ 2"),
        (np.eye(2, 5, dtype=np.float32)[:, :2], "more than 45 tokens, found 2"),
        (mixture(sizes=[], num_body=45)[0], "more than 45 tokens, found 45"),
        (np.full((100, 5), np.nan, np.float32), "not finite in 100 of 100"),
        (np.repeat(np.eye(2, 5, dtype=np.float32)[:, :2], 60, axis=0), "all 120 tokens coincide"),
    ],
)
def test_degenerate_inputs_are_refused(chi: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        cluster(chi, ClusterConfig())


def test_progress_ends_at_the_total(body: tuple[np.ndarray, np.ndarray]):
    seen: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        assert done >= seen.get(stage, (0, 0))[0]
        seen[stage] = (done, total)

    cluster(body[0], ClusterConfig(untried_fraction=0.5), progress=progress)
    done, total = seen["neighbours"]
    assert done == total >= 1
    assert seen["seeds"][0] >= 0.5 * 1085


def test_no_threads():
    with pytest.raises(ValueError, match="at least 1, found 0"):
        thread_executor(0)


def test_directions_by_reliability_in_memory(body: tuple[np.ndarray, np.ndarray]):
    chi, rng = body[0], np.random.default_rng(0)
    noise = 0.05 * chi.std(axis=0) * rng.standard_normal(chi.shape)
    halves = Moments.of(np.hstack([chi + noise, chi - noise]))
    config = ClusterConfig(preprocess=Preprocess.WHITEN, whiten_reliability=0.5)
    assert len(cluster(chi, config, halves=halves)) >= 1
    with pytest.raises(ValueError, match="halves"):
        cluster(chi, config)


def test_a_crew_that_is_told_of_no_removal_does_not_go_round_for_ever():
    graph = random_graph(num_nodes=80, density=0.2)
    crew = Scripted([(0, 30, 0.4)])
    state = find_clusters(graph, ClusterConfig(round_size=1, untried_fraction=0.9), crew)
    crew.submit = lambda seeds: list
    with pytest.raises(RuntimeError, match="tried no seed"):
        find_clusters(graph, ClusterConfig(round_size=1), crew, state)
