"""One seed as a whole, against a slow reference that sorts and sweeps everything it touched."""

import numpy as np
import pytest
import scipy.sparse as sparse
from planted import mixture, random_graph

from spectro.clustering.clusters import build_graph
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import ARRAYS, Graph, from_matrix
from spectro.clustering.local.pagerank import push
from spectro.clustering.local.seed_proposal import SeedParameters, propose_cluster, seed_parameters
from spectro.clustering.local.sweep import choose_prefix
from spectro.clustering.local.workspace import LocalCsr, Workspace, reset
from spectro.clustering.vectors.preprocess import fit_transform

CONFIG = ClusterConfig(num_neighbours=15, reach=120)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Three clusters in a body of 700, k = 15."""
    chi, _ = mixture(sizes=[30, 50, 90], num_body=700, spread=0.5, seed=7)
    return build_graph(fit_transform(chi, CONFIG).apply(chi), CONFIG)


def nothing_removed(graph: Graph) -> np.ndarray:
    return np.zeros(graph.num_nodes, np.uint8)


def reference(
    graph: Graph, rule: SeedParameters, seed: int, removed: np.ndarray
) -> tuple[np.ndarray, float]:
    """Everything touched by p / d, then by r / d; each prefix's conductance by its definition."""
    workspace = Workspace(removed[graph.token_N])
    local = workspace.local
    csr = LocalCsr(graph.indptr, graph.indices, graph.weights, graph.degrees)
    node = int(graph.node_N[seed])
    num_slots = push(csr, local, node, rule.alpha, rule.epsilon, rule.max_pushes)[0]
    score, residual = local.score[:num_slots].copy(), local.mass[:num_slots, 0].copy()
    node_of_slot = local.node[:num_slots].copy()
    reset(local, num_slots)
    ordered = node_of_slot[np.lexsort((np.arange(num_slots), -residual, -score))]
    holds = node_of_slot[score > 0]
    bound = min(rule.max_volume, graph.degrees[holds].sum() * (1 + 1e-9))
    volumes = np.cumsum(graph.degrees[ordered])
    tokens = graph.token_N[ordered[volumes <= 2 * bound]]
    conductance = np.array([graph.conductance(tokens[: i + 1]) for i in range(tokens.size)])
    size = choose_prefix(
        conductance, volumes[: tokens.size], graph.volume, rule.min_size, bound, rule.min_rise
    )
    best = conductance[size - 1] if size else 1.0
    return tokens[: size if best <= rule.max_conductance else 0], best


@pytest.mark.parametrize("share_removed", [0.0, 0.2])
@pytest.mark.parametrize("reach, min_rise", [(40, 1.0), (120, 1.1)])
def test_against_a_full_sort_and_every_prefix(
    graph: Graph, share_removed: float, reach: int, min_rise: float
):
    config = ClusterConfig(reach=reach, min_rise=min_rise, max_conductance=1.0)
    rule = seed_parameters(graph, config)
    removed = (np.random.default_rng(0).random(graph.num_nodes) < share_removed).astype(np.uint8)
    workspace = Workspace(removed[graph.token_N])
    num_found = 0
    for seed in np.flatnonzero(removed == 0)[::60].tolist():
        candidate = propose_cluster(graph, rule, seed, workspace)
        tokens, conductance = reference(graph, rule, seed, removed)
        np.testing.assert_array_equal(candidate.tokens, tokens)
        assert candidate.conductance == pytest.approx(conductance, rel=1e-5)
        num_found += tokens.size > 0
    # With a fifth of every cluster gone there may be no rise left to find.
    assert num_found > 0 or (share_removed > 0 and min_rise > 1)


def test_a_workspace_that_has_to_grow_changes_nothing(graph: Graph):
    rule = seed_parameters(graph, CONFIG)
    roomy, tight = (Workspace(nothing_removed(graph)) for _ in range(2))
    tight.local = tight.local._replace(
        node=tight.local.node[:3], entry_slot=tight.local.entry_slot[:5]
    )
    for seed in (0, 100, 400):
        one, other = (propose_cluster(graph, rule, seed, w) for w in (roomy, tight))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        assert one.num_edges == other.num_edges
    assert tight.local.node.size > 3


def test_memory_is_that_of_the_rows_pushed_whatever_the_graph():
    # A torus of 300 × 300: at most 50 rows of 4 entries are copied.
    ring = sparse.diags([1.0, 1.0, 1.0, 1.0], [1, -1, 299, -299], shape=(300, 300))
    torus = from_matrix(sparse.kronsum(ring, ring, format="csr"))
    workspace = Workspace(nothing_removed(torus))
    workspace.local = workspace.local._replace(
        entry_slot=np.empty(1, np.int32), entry_weight=np.empty(1, np.float32)
    )
    rule = seed_parameters(torus, ClusterConfig(reach=5000, max_pushes=50))
    propose_cluster(torus, rule, 45_000, workspace)
    assert 50 < workspace.local.entry_slot.size <= 2 * 50 * 4
    assert (workspace.local.slot_of == -1).all()


def test_other_names_of_the_nodes_give_the_same_sets():
    # Clear clusters: the order of pushes moves p by less than ε · degree, which decides no prefix.
    pieces = [random_graph(num_nodes=n, density=0.5, seed=n).adjacency() for n in (40, 60, 200)]
    noise = 0.02 * random_graph(num_nodes=300, density=0.02, seed=9).adjacency()
    graph = from_matrix((sparse.block_diag(pieces) + noise).tocsr())
    new_name = np.random.default_rng(0).permutation(300)
    old_name = np.argsort(new_name)
    other = from_matrix(graph.adjacency()[old_name][:, old_name])
    rule = seed_parameters(graph, CONFIG)
    one, two = Workspace(nothing_removed(graph)), Workspace(nothing_removed(other))
    whole = [set(range(40)), set(range(40, 100)), set(range(100))]  # pieces, or both together
    for seed in range(0, 100, 9):
        found = propose_cluster(graph, rule, seed, one).tokens
        renamed = propose_cluster(other, rule, int(new_name[seed]), two).tokens
        assert set(found.tolist()) in whole
        assert set(old_name[renamed].tolist()) == set(found.tolist())


def test_a_removed_seed_is_refused(graph: Graph):
    workspace = Workspace(nothing_removed(graph))
    workspace.remove(graph.node_N[[3]])
    with pytest.raises(ValueError, match="seed 3 was removed"):
        propose_cluster(graph, seed_parameters(graph, CONFIG), 3, workspace)


def test_a_graph_mapped_read_only_from_disk(tmp_path, graph: Graph):
    mapped = {}
    for name in ARRAYS:
        np.save(tmp_path / f"{name}.npy", getattr(graph, name))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    rule = seed_parameters(graph, CONFIG)
    for seed in (0, 100, 400):
        one = propose_cluster(graph, rule, seed, Workspace(nothing_removed(graph)))
        other = propose_cluster(Graph(**mapped), rule, seed, Workspace(nothing_removed(graph)))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.scores, other.scores)
