"""Moments, transform and graph, out of core: time, memory and how they grow.

    python -m benchmarks.graph --threads 2 --out benchmarks/results

Seconds of processor (all threads) and of the clock, and the peak of anonymous memory (files
that are mapped do not count: lists and graph lie in files). Two kinds of lists: `random` points
anywhere, the worst for caches; `near` at most 2 000 rows away. The result says what grew with
which exponent.
"""

from __future__ import annotations

import ctypes
import math
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from spectro.clustering.config import ClusterConfig, Preprocess
from spectro.clustering.graph.graph_statistics import graph_statistics
from spectro.clustering.graph.weighted_graph import Graph
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.vectors.moments import Moments
from spectro.clustering.vectors.preprocess import fit

K = 45
NEAR_ROWS = 2000
NUM_COLUMNS = 32


def anonymous_bytes() -> int:
    """Memory of this process that is no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status has no RssAnon: is this Linux?")


def measured(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and what it cost; memory is sampled every 5 ms."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed would hide what this one takes
    before = peak = anonymous_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    processor, clock = time.process_time(), time.perf_counter()
    try:
        result = call()
    finally:
        cost = {
            "processor_seconds": time.process_time() - processor,
            "seconds": time.perf_counter() - clock,
        }
        done.set()
        watcher.join()
    return result, cost | {"peak_bytes": float(peak - before)}


def lists(folder: Path, num_nodes: int, spread: int) -> Neighbours:
    """k distinct others of every row within `spread` rows, in files."""
    shape, step = (num_nodes, K), (spread - 1) // K
    index = np.lib.format.open_memmap(folder / "i.npy", mode="w+", dtype=np.int32, shape=shape)
    distance = np.lib.format.open_memmap(folder / "d.npy", mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(0)
    for start in range(0, num_nodes, 1 << 16):
        rows = np.arange(start, min(start + (1 << 16), num_nodes))[:, None]
        offset = 1 + np.arange(K) * step + rng.integers(0, step, (rows.size, K))
        index[rows[:, 0]] = (rows + offset - spread // 2 * (spread < num_nodes)) % num_nodes
        # The row itself, where the shift lands on it, becomes one beyond the last.
        own = index[rows[:, 0]] == rows
        index[rows[:, 0]] = np.where(own, (rows + spread) % num_nodes, index[rows[:, 0]])
        distance[rows[:, 0]] = np.sort(0.5 + rng.random((rows.size, K), np.float32), axis=1)
    return Neighbours(index_Nk=index, distance_Nk=distance)


def stages(num_nodes: int, threads: int) -> dict[str, dict[str, float]]:
    """Costs of each stage at one size."""
    chi_NH = np.random.default_rng(1).normal(size=(num_nodes, NUM_COLUMNS)).astype(np.float32)
    config = ClusterConfig(preprocess=Preprocess.WHITEN)
    found: dict[str, dict[str, float]] = {}
    _, found["variances"] = measured(lambda: Moments.of(chi_NH, covariances=False))
    moments, found["covariances"] = measured(lambda: Moments.of(chi_NH))
    out_ND: NDArray[np.float32] = np.full((num_nodes, NUM_COLUMNS), 0, np.float32)
    for kind in (ClusterConfig(), config):
        transform = fit(moments, kind)
        out = out_ND[:, : transform.num_dimensions]
        name = f"apply, {kind.preprocess.value}"
        _, found[name] = measured(
            lambda t=transform, o=out: t.apply(chi_NH, out_ND=o, num_threads=threads)
        )
    for kind_of_lists, spread in {"random": num_nodes, "near": NEAR_ROWS}.items():
        with tempfile.TemporaryDirectory() as name:
            neighbours = lists(Path(name), num_nodes, spread)
            graph, found[f"graph, {kind_of_lists} lists"] = measured(
                lambda f=Path(name), n=neighbours: Graph.create(f / "g", n, num_threads=threads)
            )
            _, found[f"statistics, {kind_of_lists} lists"] = measured(
                lambda g=graph: graph_statistics(g)
            )
    return found


def growth(costs: dict[int, dict[str, dict[str, float]]]) -> dict[str, float]:
    """Exponent of processor seconds in the number of tokens, from the least to the most."""
    low, high = min(costs), max(costs)
    return {
        stage: math.log(
            costs[high][stage]["processor_seconds"] / costs[low][stage]["processor_seconds"]
        )
        / math.log(high / low)
        for stage in costs[low]
    }


def main() -> None:
    """Measure, print, and write if asked."""
    parser = common.parser(__doc__, ["none", "toy"])
    parser.set_defaults(shape="none")
    parser.add_argument("--sizes", type=int, nargs=2, default=[100_000, 1_000_000])
    options = common.parse(parser)
    sizes = [5_000, 10_000] if options.toy else options.sizes
    stages(5_000, options.threads)  # compiles
    costs = {size: stages(size, options.threads) for size in sizes}
    exponents = growth(costs)
    for stage, exponent in exponents.items():
        cost = costs[max(sizes)][stage]
        print(
            f"{stage:28} {cost['processor_seconds']:8.2f} s of processor {cost['seconds']:8.2f} s "
            f"{cost['peak_bytes'] / max(sizes):8.1f} bytes per node   n^{exponent:.2f}"
        )
    common.write("graph", options, {"k": K, "columns": NUM_COLUMNS, "costs": costs,
                                    "growth": exponents})  # fmt: skip


if __name__ == "__main__":
    main()
