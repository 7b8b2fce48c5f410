"""What one seed costs and finds, by tolerance, on a graph whose clusters are known.

    python -m benchmarks.push --graph graph.npz [--seeds 40] [--out benchmarks/results]

`graph.npz` holds a symmetric CSR graph (indptr, indices, weights) and label, −1 for the body. The
settings are tried in turn on the same seeds, those in clusters and those in the body apart.
Time is that of the thread's own processor, since other work on the machine is not ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import parse, parser, write
from benchmarks.planted_graph import f1, read_graph
from spectro.clustering.config import ClusterConfig, ToleranceKind
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.local.seed_proposal import Proposal, propose_cluster, seed_parameters
from spectro.clustering.local.workspace import Workspace

DEGREE = ToleranceKind.DEGREE
SETTINGS = {
    "reach 1000 (default)": ClusterConfig(),
    "reach 1000, 5 000 pushes": ClusterConfig(max_pushes=5_000),
    "reach 1000, 2 500 pushes": ClusterConfig(max_pushes=2_500),
    "reach 300": ClusterConfig(reach=300),
    "reach 3000": ClusterConfig(reach=3000),
    "1e-6 · degree": ClusterConfig(tolerance_kind=DEGREE, tolerance=1e-6, max_pushes=None),
    "1e-7 · degree, 100 000 pushes": ClusterConfig(
        tolerance_kind=DEGREE, tolerance=1e-7, max_pushes=100_000
    ),
    "published": ClusterConfig.published(),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every setting, print the table, write the result."""
    options = parse(_options(), arguments)
    graph, label_N = read_graph(options.graph)
    rng = np.random.default_rng(1)
    pools = {"cluster": np.flatnonzero(label_N >= 0), "body": np.flatnonzero(label_N < 0)}
    seeds = {kind: rng.choice(pool, options.seeds, replace=False) for kind, pool in pools.items()}
    reference = {kind: _try(graph, SETTINGS["reach 1000 (default)"], seeds[kind]) for kind in seeds}
    table: dict[str, Any] = {}
    for name in options.settings or SETTINGS:
        for kind in seeds:
            found = _try(graph, SETTINGS[name], seeds[kind])
            row = _row(found, label_N, reference[kind])
            table.setdefault(name, {})[kind] = row
            print(f"{name:32} {kind:8}", *(f"{key} {value:.4g}" for key, value in row.items()))
    shape = {"nodes": graph.num_nodes, "entries": graph.indices.size, "volume": graph.volume}
    question = "what a seed costs and finds, by tolerance"
    write("push", options, {"question": question, "graph": shape, "table": table})


def _options() -> argparse.ArgumentParser:
    found = parser(__doc__, ["none"])
    found.set_defaults(shape="none")
    found.add_argument("--graph", type=Path, required=True)
    found.add_argument("--seeds", type=int, default=40, help="of each kind")
    found.add_argument("--settings", nargs="*", choices=list(SETTINGS))
    return found


def _try(
    graph: Graph, config: ClusterConfig, seeds: NDArray[np.int64]
) -> list[tuple[float, Proposal]]:
    """Milliseconds and candidate of every seed, the compiler and the first touch left out."""
    rule = seed_parameters(graph, config)
    workspace = Workspace(np.zeros(graph.num_nodes, np.uint8))
    propose_cluster(graph, rule, int(seeds[0]), workspace)
    found = []
    for seed in seeds.tolist():
        before = time.thread_time()
        candidate = propose_cluster(graph, rule, seed, workspace)
        found.append((1e3 * (time.thread_time() - before), candidate))
    return found


def _row(
    found: list[tuple[float, Proposal]],
    label_N: NDArray[np.int32],
    reference: list[tuple[float, Proposal]],
) -> dict[str, float]:
    candidates = [candidate for _, candidate in found]
    as_default = [
        set(candidate.tokens.tolist()) == set(other.tokens.tolist())
        for candidate, (_, other) in zip(candidates, reference, strict=True)
    ]
    sizes = [candidate.tokens.size for candidate in candidates]
    return {
        "ms": float(np.mean([ms for ms, _ in found])),
        "ms_median": float(np.median([ms for ms, _ in found])),
        "edges": float(np.mean([candidate.num_edges for candidate in candidates])),
        "returned": float(np.mean(np.array(sizes) > 0)),
        "size": float(np.median(sizes)),
        "f1": float(np.mean([f1(c.tokens, c.seed, label_N) for c in candidates])),
        "as_default": float(np.mean(as_default)),
    }


if __name__ == "__main__":
    main()
