"""The whole clustering at growing sizes: time by stage, memory, recall, quality, counted work.

    python -m benchmarks.clusters --sizes 10000,100000 --columns 32 --out benchmarks/results
    python -m benchmarks.clusters --run runs/demo --copies 1,10,100 --out benchmarks/results

Planted mixtures with a large body (`benchmarks.planted`), or a run's own χ replicated with noise.
One process per point; its files lie in `--scratch` and are removed after it. Slopes are of least
squares in log-log: 1 is linear. Peak memory is of the resident set, which counts those pages of
mapped files that the system chose to keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, planted
from benchmarks.cluster_quality import score

CLUSTER_STAGES = ("transform", "neighbours", "recall", "graph", "seeds", "products")


def measure(data: planted.Planted, options: Any) -> dict[str, Any]:
    """Write the data, cluster it in a separate process, score what it left."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        planted.write_chi(data, folder)
        request = {"folder": name, "threads": options.threads}
        command = [sys.executable, "-m", "benchmarks.cluster_point", json.dumps(request)]
        env = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        root = Path(__file__).parents[1]
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, env=env, check=False
        )
        if done.returncode:
            raise RuntimeError(f"clustering of {data.shape} failed:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if data.label_N is not None:
            found["quality"] = score(data.label_N, np.load(folder / "found.npy"))
    found["tokens"], found["columns"] = data.shape
    for measure_of in ("seconds", "processor_seconds"):
        found[measure_of] = sum(stage[measure_of] for stage in found["stages"].values())
    return found


def points(options: Any) -> list[planted.Planted]:
    """The data sets asked for, smallest first."""
    if options.run:
        copies = [int(text) for text in options.copies.split(",")]
        return [
            planted.Replicas(run=options.run, copies=one, noise=options.noise) for one in copies
        ]
    sizes = [400, 800] if options.toy else [int(text) for text in options.sizes.split(",")]
    columns = 8 if options.toy else options.columns
    return [
        planted.Mixture(num_tokens=size, num_columns=columns, spread=options.spread)
        for size in sizes
    ]


def growth(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Exponents in the number of tokens: time by stage, memory, edges visited."""
    sizes = [one["tokens"] for one in found]
    columns: dict[str, list[float]] = {
        f"{stage} seconds": [one["stages"][stage]["processor_seconds"] for one in found]
        for stage in CLUSTER_STAGES
    }
    columns["all seconds"] = [one["processor_seconds"] for one in found]
    columns["peak bytes"] = [one["peak_bytes"] for one in found]
    columns["edges visited"] = [one["counted"]["num_edges_visited"] for one in found]
    return {name: common.slope(sizes, values) for name, values in columns.items()}


def show(one: dict[str, Any]) -> None:
    """One point as two lines."""
    times = "  ".join(
        f"{name} {one['stages'][name]['processor_seconds']:.1f}" for name in CLUSTER_STAGES
    )
    print(
        f"{one['tokens']} x {one['columns']}: {one['processor_seconds']:.1f} s of the processor "
        f"({one['seconds']:.1f} by the clock): {times}\n"
        f"  {one['peak_bytes'] / 2**20:.0f} MiB, recall {one['recall']['mean']:.4f}, "
        f"{one['counted']['clusters']} clusters, {one['counted']['num_edges_visited']:.3g} edges "
        f"visited in {one['counted']['num_rounds']} rounds",
        flush=True,
    )
    if "quality" in one:
        quality = one["quality"]
        print(
            f"  ARI {quality['ari_planted']:.3f} planted, {quality['ari_all']:.3f} all; found "
            f"{quality['planted_found']:.2f} of {quality['planted']}; body in clusters "
            f"{quality['body_clustered']:.4f}",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Every point, then the slopes."""
    parser = common.parser(__doc__, ["none"])
    parser.add_argument("--sizes", default="10000,100000", help="tokens of planted mixtures")
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--spread", type=float, default=0.35, help="of the planted clusters")
    parser.add_argument("--run", type=Path, help="run folder: replicate its χ instead")
    parser.add_argument("--copies", default="1,10", help="of the run's χ")
    parser.add_argument("--noise", type=float, default=0.3, help="share of a column's deviation")
    parser.add_argument("--scratch", type=Path, help="folder for the data, of the size of χ twice")
    options = common.parse(parser, arguments)
    found = []
    for data in points(options):
        found.append(measure(data, options))
        show(found[-1])
    result = {
        "question": "how time, memory and work of clustering grow with tokens",
        "points": found,
        "growth": growth(found),
    }
    for name, fitted in result["growth"].items():  # type: ignore[attr-defined]
        if fitted:
            print(f"{name:24} n^{fitted['slope']:.2f}")
    options.scratch = None  # a place, no setting
    source = "replicas" if options.run else f"planted-{found[0]['columns']}"
    common.write(f"clusters-{source}", options, result)


if __name__ == "__main__":
    main()
