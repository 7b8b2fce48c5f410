"""What a user would pick instead: HDBSCAN and Leiden against ours, on planted data with a body.

    python -m benchmarks.cluster_quality --peer-python PYTHON --sizes 10000,50000 \
        --out benchmarks/results

All get the best of what we have: HDBSCAN the preprocessed vectors, Leiden the self-tuning
neighbour graph (its seconds leave out the making of it, ours do not). Each runs in a process of
its own, one thread, and is scored by the same functions: adjusted Rand (ARI) and normalised mutual
information (NMI) over the planted tokens, and over all tokens with the body as one class, which is
what noise is meant to be; the planted clusters that some found cluster matches with a Jaccard
index of at least a half; the share of the body that was put into a cluster.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from benchmarks import common, planted
from benchmarks.planted_graph import write_graph
from spectro.clustering.clusters import build_graph
from spectro.clustering.config import ClusterConfig
from spectro.clustering.vectors.preprocess import fit_transform

Int32 = NDArray[np.int32]
METHODS = ("ours", "leiden:1", "leiden:10", "leiden:100", "hdbscan:eom:20", "hdbscan:leaf:20")
"""Resolution 1 and `eom` are the defaults; the others are what a patient user would try next."""
MATCHED = 0.5
"""Jaccard index from which a planted cluster counts as found."""


def score(truth: Int32, found: Int32, *, min_size: int = 20) -> dict[str, Any]:
    """Quality of labels; clusters below `min_size` are noise, as everywhere here."""
    found = without_small(found, min_size)
    planted_N = truth != planted.BODY
    jaccard = best_jaccard(truth, found)
    is_body = ~planted_N
    return {
        "ari_planted": adjusted_rand_score(truth[planted_N], found[planted_N]),
        "nmi_planted": normalized_mutual_info_score(truth[planted_N], found[planted_N]),
        "ari_all": adjusted_rand_score(truth, found),
        "nmi_all": normalized_mutual_info_score(truth, found),
        "clusters": int(np.unique(found[found >= 0]).size),
        "planted": int(jaccard.size),
        "planted_found": float((jaccard >= MATCHED).mean()),
        "mean_jaccard": float(jaccard.mean()),
        "body_clustered": float((found[is_body] >= 0).mean()),
        "planted_clustered": float((found[planted_N] >= 0).mean()),
    }


def without_small(found: Int32, min_size: int) -> Int32:
    """Labels with clusters below `min_size` made noise."""
    sizes = np.bincount(found[found >= 0], minlength=1)
    small = (found >= 0) & (sizes[np.maximum(found, 0)] < min_size)
    return np.where(small, -1, found).astype(np.int32)


def best_jaccard(truth: Int32, found: Int32) -> NDArray[np.float64]:
    """Of every planted cluster with the found cluster that it matches best."""
    both = (truth != planted.BODY) & (found >= 0)
    num_planted, num_found = int(truth.max()) + 1, max(int(found.max()) + 1, 1)
    ones = np.ones(int(both.sum()))
    shared = sparse.csr_matrix((ones, (truth[both], found[both])), (num_planted, num_found))
    shared.sum_duplicates()
    size_P = np.bincount(truth[truth >= 0], minlength=num_planted)
    size_F = np.bincount(found[found >= 0], minlength=num_found)
    entries = shared.tocoo()
    union = size_P[entries.row] + size_F[entries.col] - entries.data
    best = np.zeros(num_planted)
    np.maximum.at(best, entries.row, entries.data / union)
    return best


def inputs(size: int, options: Any, folder: Path) -> dict[str, Path]:
    """χ, vectors and graph of one size, as files."""
    mixture = planted.Mixture(
        num_tokens=size, num_columns=options.columns, spread=options.spread, seed=options.seed
    )
    chi_path = planted.write_chi(mixture, folder)
    chi = np.load(chi_path)
    config = ClusterConfig()
    x_ND = fit_transform(chi, config).apply(chi)
    np.save(folder / "x.npy", x_ND)
    write_graph(build_graph(x_ND, config), mixture.label_N, folder / "graph.npz")
    return {"ours": chi_path, "hdbscan": folder / "x.npy", "leiden": folder / "graph.npz"}


def run(method: str, files: dict[str, Path], folder: Path, options: Any) -> dict[str, Any]:
    """One method in its own process; no figures where it took too long."""
    name, out = method.split(":")[0], folder / "found.npy"
    python = sys.executable if name == "ours" else options.peer_python
    command = [python, str(Path(__file__).with_name("quality_side.py")), method]
    env = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if name == "ours":
        env["PYTHONPATH"] = str(Path(__file__).parents[1])
    limit = int(options.limit_seconds)
    done = subprocess.run(
        [*command, str(files[name]), str(out), str(limit)],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    if done.returncode == -signal.SIGXCPU:
        return {"stopped_after_seconds": limit}
    if done.returncode:
        raise RuntimeError(f"{method} failed:\n{done.stderr}")
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    truth = np.load(folder / "label.npy")
    return {**taken, **score(truth, np.load(out))}


def show(size: int, method: str, one: dict[str, Any]) -> None:
    """One line per method."""
    if "ari_all" not in one:
        print(f"{size:8} {method:16} stopped after {one['stopped_after_seconds']} s", flush=True)
        return
    print(
        f"{size:8} {method:16} ARI {one['ari_planted']:.3f} / {one['ari_all']:.3f}  "
        f"NMI {one['nmi_planted']:.3f} / {one['nmi_all']:.3f}  "
        f"clusters {one['clusters']:5} of {one['planted']:5}  found {one['planted_found']:.2f}  "
        f"body in clusters {one['body_clustered']:.3f}  "
        f"{one['processor_seconds']:8.1f} s  {one['peak_bytes'] / 2**20:7.0f} MiB",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Every size and method."""
    parser = common.parser(__doc__, ["none"])
    parser.add_argument("--peer-python", help="of an environment with the peers; without it: ours")
    parser.add_argument("--sizes", default="10000,50000", help="tokens")
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--spread", type=float, default=0.35, help="of the planted clusters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--limit-seconds", type=float, default=180.0, help="of the processor")
    options = common.parse(parser, arguments)
    sizes = [2000] if options.toy else [int(text) for text in options.sizes.split(",")]
    options.columns = 8 if options.toy else options.columns
    methods = options.methods.split(",") if options.peer_python else ["ours"]
    result: dict[str, Any] = {
        "question": "quality, time and memory against HDBSCAN and Leiden on planted data",
        "by_size": {},
    }
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            files = inputs(size, options, Path(name))
            found = {}
            for method in methods:
                found[method] = run(method, files, Path(name), options)
                show(size, method, found[method])
        result["by_size"][size] = found
    options.peer_python = None  # a place, no setting
    common.write(f"cluster-quality-{options.columns}", options, result)


if __name__ == "__main__":
    main()
