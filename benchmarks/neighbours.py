"""Recall and time of neighbour search on data that is hard for it.

    python -m benchmarks.neighbours --tokens 50000 --dimensions 64 --decay 0.35 --threads 2

Body with power-law spectrum and χ² tails, a quarter of the tokens in small clusters. CPU time is
of all threads; recall is of sampled tokens against exact search.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from spectro.clustering.config import NeighbourSearch
from spectro.clustering.knn.exact import exact_neighbours
from spectro.clustering.knn.neighbours import Neighbours
from spectro.clustering.knn.recall import measured_recall, sample_rows
from spectro.clustering.knn.search import nearest_neighbours

NUM_NEIGHBOURS = 45
NUM_SAMPLED = 400


def hard_vectors(num_tokens: int, num_columns: int, decay: float) -> NDArray[np.float32]:
    """Deviation j^−decay, χ² tails with 5 degrees, a quarter in clusters of about 250."""
    rng = np.random.default_rng(0)
    deviation = (np.arange(1, num_columns + 1) ** -decay).astype(np.float32)
    x = rng.standard_normal((num_tokens, num_columns), np.float32) * deviation
    x /= np.sqrt(rng.chisquare(5, (num_tokens, 1)) / 5).astype(np.float32)
    num_clustered = num_tokens // 4
    shape = (max(1, num_tokens // 1000), num_columns)
    centres = 1.5 * rng.standard_normal(shape, np.float32) * deviation
    label = rng.integers(shape[0], size=num_clustered)
    noise = 0.3 * rng.standard_normal((num_clustered, num_columns), np.float32) * deviation
    x[:num_clustered] = centres[label] + noise
    return x[rng.permutation(num_tokens)]


def measure(x: NDArray[np.float32], search: NeighbourSearch, device: str) -> dict[str, Any]:
    """One search of all tokens, and its recall on a sample."""
    nearest_neighbours(x[:2000], NUM_NEIGHBOURS, search=search, device=device)  # compiles
    wall, cpu = time.perf_counter(), time.process_time()
    found = nearest_neighbours(x, NUM_NEIGHBOURS, search=search, device=device)
    seconds = {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }
    rows = sample_rows(x.shape[0], NUM_SAMPLED)
    truth = exact_neighbours(x[rows], rows, [(0, x)], NUM_NEIGHBOURS, device=device)
    cut = Neighbours(index_Nk=found.index_Nk[rows], distance_Nk=found.distance_Nk[rows])
    return {**seconds, "recall": asdict(measured_recall(rows, cut, truth))}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, write."""
    parser = common.parser(__doc__, ["none", "toy"])
    parser.set_defaults(shape="none")
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--decay", type=float, default=0.35)
    parser.add_argument("--search", choices=["exact", "approximate"], default="approximate")
    options = common.parse(parser, arguments)
    numba.set_num_threads(min(options.threads, numba.config.NUMBA_NUM_THREADS))
    num_tokens = 3000 if options.toy else options.tokens
    x = hard_vectors(num_tokens, options.dimensions, options.decay)
    result = measure(x, NeighbourSearch(options.search), options.device)
    print(f"{num_tokens} × {options.dimensions}, decay {options.decay}: {result}")
    common.write("neighbours", options, result)
    return result


if __name__ == "__main__":
    main()
