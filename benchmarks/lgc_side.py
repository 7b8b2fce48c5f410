"""The public peer, localgraphclustering 0.6.1, behind a pipe: it needs a separate environment.

    <peer's python> benchmarks/lgc_side.py graph.npz

Reads one JSON request per line ({"seed", "alpha", "epsilon", "max_pushes", "vector"}), answers
one JSON line each. Only the standard library, numpy, scipy and the peer are imported here.

The peer at its best: its division by the degree, a Python loop over the nodes of an unweighted
graph, is done in numpy instead (`normalize=False`).
"""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sparse

warnings.filterwarnings("ignore")

from localgraphclustering import (  # type: ignore[import-not-found]  # noqa: E402
    GraphLocal,
    approximate_PageRank,
    sweep_cut,
)


def load(path: str) -> Any:
    """The peer's graph from CSR arrays, without its passes in Python over all edges."""
    arrays = np.load(path)
    num_nodes = arrays["indptr"].size - 1
    weights = arrays["weights"].astype(np.float64)
    csr = (weights, arrays["indices"], arrays["indptr"])
    graph = GraphLocal()
    graph.adjacency_matrix = sparse.csr_matrix(csr, shape=(num_nodes, num_nodes))
    graph._weighted = bool((weights != 1.0).any())
    graph._num_vertices, graph._num_edges = num_nodes, weights.size
    graph.d = np.asarray(graph.adjacency_matrix.sum(axis=1)).ravel()
    graph.dn = 1.0 / graph.d
    graph.vol_G = graph.d.sum()
    graph.ai = arrays["indptr"].astype(np.uint32)
    graph.aj = arrays["indices"].astype(np.uint32)
    return graph


def answer(graph: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Push and sweep from one seed; seconds of both, by the clock and of the processor."""
    method = "acl_weighted" if graph._weighted else "acl"
    clock, processor = time.perf_counter(), time.process_time()
    nodes, p = approximate_PageRank(
        graph,
        [request["seed"]],
        alpha=request["alpha"],
        rho=request["epsilon"],
        iterations=request["max_pushes"],
        method=method,
        normalize=False,
    )
    pushed = time.process_time()
    members, conductance = sweep_cut(graph, (nodes, p * graph.dn[nodes]))
    found = {
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - processor,
        "push_seconds": pushed - processor,
        "touched": len(nodes),
        "members": [int(node) for node in members],
        "conductance": float(conductance),
    }
    if request.get("vector"):
        found["nodes"], found["p"] = [int(node) for node in nodes], [float(x) for x in p]
    return found


def main() -> None:
    """Answer requests until the pipe closes."""
    graph = load(sys.argv[1])
    versions = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "localgraphclustering": "0.6.1",
    }
    print(json.dumps({"ready": graph._num_vertices, "versions": versions}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(graph, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
