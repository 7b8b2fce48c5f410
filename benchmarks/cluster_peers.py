"""One seed, ours and the public peer's: milliseconds, edges, and what is found.

    python -m benchmarks.cluster_peers --peer-python PYTHON --library optimised=DIR \
        --out benchmarks/results

Push and sweep from the same seeds of the same graph, in turn, at the same alpha (of the lazy walk
on both sides) and the same tolerance per unit of degree, stopped after as many pushes. `PYTHON` is
that of an environment with localgraphclustering 0.6.1 (`benchmarks/requirements-peers.txt`), DIR
a folder from which that package is imported instead, so that builds can be compared. Seconds are
the processor's: the machines are shared.

First both must give the same vector: pr − p lies in [0, epsilon · degree) on either side, so the
two differ by less than that.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.planted_graph import BODY, f1, planted_graph, read_graph, write_graph
from benchmarks.seed_sides import ALPHA, PEER_PUSHES, Answer, Ours, Peer, same_rule
from spectro.clustering.config import ClusterConfig
from spectro.clustering.graph.weighted_graph import Graph, from_matrix
from spectro.clustering.local.pagerank import push
from spectro.clustering.local.seed_proposal import seed_parameters
from spectro.clustering.local.workspace import LocalCsr, Workspace


def our_vector(graph: Graph, seed: int, alpha: float, epsilon: float) -> NDArray[np.float64]:
    """p of the push, without a bound on pushes."""
    space = Workspace(np.zeros(graph.num_nodes, np.uint8))
    space.grow(graph.num_nodes, graph.indices.size)  # room for every row
    csr = LocalCsr(graph.indptr, graph.indices, graph.weights, graph.degrees)
    num_slots, _, _, complete = push(csr, space.local, seed, alpha, epsilon, 2**62)
    assert complete
    node, p = space.local.node[:num_slots], np.zeros(graph.num_nodes)
    p[node] = space.local.score[:num_slots] * graph.degrees[node]
    return p


def parity(start: Callable[[Path], Peer], folder: Path) -> dict[str, Any]:
    """Largest difference of the two vectors in epsilon · degree, unweighted and weighted."""
    graph, label = planted_graph(num_nodes=2_000, num_body=1_200, cluster_size=100, num_listed=10)
    alpha, epsilon = 0.01, 1e-8
    found: dict[str, Any] = {"alpha": alpha, "epsilon": epsilon}
    for name, one in {"unweighted": graph, "weighted": reweighted(graph)}.items():
        path = folder / f"{name}.npz"
        write_graph(one, label, path)
        seed = int(np.flatnonzero(label == 0)[0])
        theirs = np.zeros(one.num_nodes)
        with start(path) as peer:
            answer = peer.ask(seed, epsilon, vector=True, alpha=alpha, max_pushes=2**31)
        theirs[answer["nodes"]] = answer["p"]
        ours = our_vector(one, seed, alpha, epsilon)
        difference = np.abs(ours - theirs) / one.degrees
        found[name] = {
            "largest_difference_in_epsilon_degree": float(difference.max() / epsilon),
            "relative_l1": float(np.abs(ours - theirs).sum() / ours.sum()),
        }
    if found["unweighted"]["largest_difference_in_epsilon_degree"] >= 1.0:
        raise AssertionError(f"the two vectors differ by more than their tolerance: {found}")
    return found


def reweighted(graph: Graph) -> Graph:
    """The same edges with weights between 0.1 and 1, as self-tuning ones are."""
    upper = sparse.triu(graph.adjacency(), 1).tocsr()
    upper.data[:] = np.random.default_rng(0).uniform(0.1, 1.0, upper.data.size)
    return from_matrix((upper + upper.T).tocsr())


def seeds_of(label: NDArray[np.int32], count: int) -> dict[str, list[int]]:
    """As many seeds in planted clusters, each another one, as in the body."""
    rng = np.random.default_rng(7)
    order = rng.permutation(label.size)
    body = order[label[order] == BODY][:count]
    _, first = np.unique(label[order], return_index=True)
    firsts = order[np.sort(first)]
    return {
        "cluster": [int(node) for node in firsts[label[firsts] != BODY][:count]],
        "body": [int(node) for node in body],
    }


def measure(
    sides: dict[str, Callable[[int], Answer]],
    seeds: dict[str, list[int]],
    label: NDArray[np.int32],
    limits: dict[str, int],
) -> dict[str, Any]:
    """Every side from every seed, in turn; medians by kind of seed."""
    found: dict[str, dict[str, list[Answer]]] = {
        name: {kind: [] for kind in seeds} for name in sides
    }
    for kind, nodes in seeds.items():
        for number, node in enumerate(nodes):
            for name, ask in sides.items():
                if number >= limits.get(name, len(nodes)):
                    continue
                answer = ask(node)
                members = answer.pop("members")
                answer["size"] = len(members)
                if kind == "cluster":
                    answer["f1"] = f1(np.asarray(members, np.int64), node, label)
                found[name][kind].append(answer)
    return {
        name: {kind: summary(answers) for kind, answers in by_kind.items() if answers}
        for name, by_kind in found.items()
    }


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """Medians over seeds, and the range of the processor's milliseconds."""
    milliseconds = [1e3 * answer["processor_seconds"] for answer in answers]
    found: dict[str, Any] = {
        "seeds": len(answers),
        "milliseconds": statistics.median(milliseconds),
        "milliseconds_range": [min(milliseconds), max(milliseconds)],
        "each_milliseconds": milliseconds,
    }
    for key in ("push_seconds", "touched", "edges", "size", "f1", "conductance"):
        values = [answer[key] for answer in answers if key in answer]
        if values:
            found[key] = statistics.median(values)
    return found


def compare(
    graph: Graph, label: NDArray[np.int32], peers: dict[str, Peer], epsilon: float, options: Any
) -> dict[str, Any]:
    """All sides at one tolerance."""
    count = options.seeds if epsilon > 5e-7 else max(1, options.seeds // 4)
    sides: dict[str, Callable[[int], Answer]] = {
        "ours": Ours(graph, same_rule(graph, epsilon)).ask,
        "ours_default": Ours(graph, seed_parameters(graph, ClusterConfig())).ask,
    }
    for name, peer in peers.items():
        sides[name] = partial(peer.ask, epsilon=epsilon)
    found = measure(sides, seeds_of(label, count), label, {"plain": 2})
    ratios: dict[str, Any] = {}
    for name in peers:
        for kind in ("cluster", "body"):
            theirs = found[name][kind]["each_milliseconds"]
            for side in ("ours", "ours_default"):
                mine = found[side][kind]["each_milliseconds"][: len(theirs)]
                ratios[f"{name} / {side}, {kind} seeds, {epsilon:g}"] = common.ratio(theirs, mine)
    return {"epsilon": epsilon, "sides": found, "ratios": ratios}


def show(found: dict[str, Any]) -> None:
    """One line per side and kind of seed."""
    for name, by_kind in found["sides"].items():
        for kind, one in by_kind.items():
            low, high = one["milliseconds_range"]
            print(
                f"{found['epsilon']:g} {name:14} {kind:8} {one['milliseconds']:10.1f} ms "
                f"({low:.1f} to {high:.1f})  size {one['size']:8.0f}  F1 {one.get('f1', 0):.3f}",
                flush=True,
            )
    for name, one in found["ratios"].items():
        print(common.show(name, one))


def graph_of(options: Any, folder: Path) -> tuple[Graph, NDArray[np.int32], Path]:
    """The graph asked for, its labels, and the file that the peer reads."""
    if options.graph:
        return *read_graph(options.graph), options.graph
    sizes = {"num_nodes": 2_000, "num_body": 1_200, "cluster_size": 100, "num_listed": 20}
    graph, label = planted_graph(**sizes, inside=0.9) if options.toy else planted_graph()
    write_graph(graph, label, folder / "graph.npz")
    return graph, label, folder / "graph.npz"


def libraries(found: Sequence[str]) -> dict[str, Path | None]:
    """NAME=DIR pairs; one unnamed library, the environment's own, where none is given."""
    pairs = [one.partition("=") for one in found]
    return {name: Path(folder) for name, _, folder in pairs} if pairs else {"peer": None}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parity, then every tolerance."""
    parser = common.parser(__doc__, ["none"])
    parser.add_argument("--peer-python", help="of an environment with the peer; without it: ours")
    parser.add_argument("--library", dest="builds", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--graph", type=Path, help="indptr, indices, weights, label as .npz")
    parser.add_argument("--seeds", type=int, default=20, help="of each kind; a quarter below 5e-7")
    parser.add_argument("--epsilons", default="1e-6,1e-7", help="per unit of degree")
    options = common.parse(parser, arguments)
    if options.toy:
        options.seeds, options.epsilons = 2, "1e-4"
    known = libraries(options.builds) if options.peer_python else {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        graph, label, path = graph_of(options, Path(name))
        result: dict[str, Any] = {
            "question": "milliseconds per seed, ours and localgraphclustering's",
            "graph": {"nodes": graph.num_nodes, "entries": int(graph.indices.size)},
            "alpha": ALPHA,
            "max_pushes": PEER_PUSHES,
        }
        if known:
            library = next(iter(known.values()))
            result["parity"] = parity(
                lambda one: Peer(options.peer_python, library, one), Path(name)
            )
            print(json.dumps(result["parity"]))
        peers = {
            one: stack.enter_context(Peer(options.peer_python, folder, path))
            for one, folder in known.items()
        }
        result["peer_versions"] = {one: peer.versions for one, peer in peers.items()}
        result["by_epsilon"] = []
        for epsilon in (float(text) for text in options.epsilons.split(",")):
            result["by_epsilon"].append(compare(graph, label, peers, epsilon, options))
            show(result["by_epsilon"][-1])
    # places, no settings
    options.peer_python, options.builds = None, sorted(known)
    options.graph = options.graph and options.graph.name
    common.write("cluster-peers", options, result)


if __name__ == "__main__":
    main()
