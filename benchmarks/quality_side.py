"""One clustering of one data set in a separate process: labels, time, peak memory.

    <python> benchmarks/quality_side.py METHOD INPUT.npy|INPUT.npz LABELS.npy SECONDS

METHOD is `ours`, `hdbscan:LEAF_OR_EOM:MIN_SIZE` or `leiden:RESOLUTION`. The last two need an
environment with `benchmarks/requirements-peers.txt`; INPUT is χ for ours, preprocessed vectors
for HDBSCAN, the neighbour graph in CSR for Leiden. Noise is −1. The system ends the
process after SECONDS of the processor.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def ours(path: str, *_: str) -> Callable[[], Any]:
    """The whole of this project's clustering, with its defaults."""
    from spectro.clustering.clusters import cluster
    from spectro.clustering.config import ClusterConfig

    small = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    cluster(small, ClusterConfig(num_neighbours=10))  # compiles
    chi = np.load(path)
    return lambda: cluster(chi, ClusterConfig()).label_N


def hdbscan(path: str, selection: str, min_size: str) -> Callable[[], Any]:
    """HDBSCAN* of the vectors."""
    from hdbscan import HDBSCAN  # type: ignore[import-not-found]

    x = np.load(path).astype(np.float64)
    model = HDBSCAN(
        min_cluster_size=int(min_size), cluster_selection_method=selection, core_dist_n_jobs=1
    )
    return lambda: model.fit_predict(x)


def leiden(path: str, resolution: str) -> Callable[[], Any]:
    """Modularity at a resolution, on the same weighted graph as ours."""
    import igraph  # type: ignore[import-not-found]
    import leidenalg  # type: ignore[import-not-found]

    arrays = np.load(path)
    source = np.repeat(np.arange(arrays["indptr"].size - 1), np.diff(arrays["indptr"]))
    upper = source < arrays["indices"]
    edges = np.stack([source[upper], arrays["indices"][upper]], axis=1)
    graph = igraph.Graph(n=arrays["indptr"].size - 1, edges=edges)
    weights = arrays["weights"][upper].tolist()
    kind = leidenalg.RBConfigurationVertexPartition

    def run() -> Any:
        found = leidenalg.find_partition(
            graph, kind, weights=weights, resolution_parameter=float(resolution), seed=0
        )
        return np.array(found.membership)

    return run


def peak_bytes() -> int:
    """High-water mark of the resident set; getrusage's counts the parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Run one method and print what it took."""
    method, path, out, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), resource.RLIM_INFINITY))
    name, *parameters = method.split(":")
    run = {"ours": ours, "hdbscan": hdbscan, "leiden": leiden}[name](path, *parameters)
    clock, processor = time.perf_counter(), time.process_time()
    labels = run()
    found = {
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - processor,
        "peak_bytes": peak_bytes(),
    }
    np.save(out, np.asarray(labels, np.int32))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
