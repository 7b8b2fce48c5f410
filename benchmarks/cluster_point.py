"""One clustering, stage by stage, in a separate process: `benchmarks.clusters` starts it.

    python -m benchmarks.cluster_point '{"folder": ..., "threads": 1}'

The folder holds chi.npy; it is made a product on storage (not measured), and then the units of a
run's cluster stage are done in this process, as `spectro cluster` does them with
run.num_workers=0. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.product import clusters_of, do_units, product_config, write_product
from spectro.cluster_stage.units import ClusterUnit, ListsUnit, RecallUnit, TransformUnit
from spectro.cluster_stage.vectors import ListsOnNode
from spectro.clustering.config import ClusterConfig
from spectro.config import PipelineConfig
from spectro.formats.clusters.clusters import members_of, read_clusters
from spectro.measure.resident_model import ResidentModel
from spectro.pipeline.stages import STAGES
from spectro.storage.store import Store
from spectro.work.threads import use_threads
from spectro.work.units import Unit

SHARD_ROWS = 65_536
TIMED = ("transform", "neighbours", "recall", "graph", "seeds", "products")


class StageMeter:
    """Seconds by the clock and of the processor, and the largest resident set, by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        start_bytes = peak = resident_bytes()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, resident_bytes())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        clock, processor = time.perf_counter(), time.process_time()
        yield
        seconds, busy = time.perf_counter() - clock, time.process_time() - processor
        done.set()
        watcher.join()
        self.stages[name] = {
            "seconds": seconds,
            "processor_seconds": busy,
            "peak_bytes": max(peak, resident_bytes()),
            "start_bytes": start_bytes,
        }


def resident_bytes() -> int:
    """The resident set now, with the pages of mapped files that are in it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stage_of(unit: Unit) -> str:
    """Word for what a unit of lists does."""
    if isinstance(unit, TransformUnit):
        return "transform"
    return "recall" if isinstance(unit, RecallUnit) else "neighbours"


def do_clusters(unit: ClusterUnit, config: PipelineConfig, meter: StageMeter) -> None:
    """The last unit, in three parts: the graph, the rounds, what is written of them."""
    lists = ListsOnNode(Store(config.run.uri), unit.key, unit.half, unit.layout, config.run.scratch)
    with meter.stage("graph"):
        lists.graph()
    clock, processor = time.perf_counter(), time.process_time()
    ends = [clock, processor]

    def on_progress(done: float, total: float) -> None:
        ends[:] = time.perf_counter(), time.process_time()

    with meter.stage("seeds"):
        STAGES.execute(unit, ResidentModel(config), on_progress)
    whole = meter.stages["seeds"]
    seeds = {"seconds": ends[0] - clock, "processor_seconds": ends[1] - processor}
    meter.stages["products"] = whole | {name: whole[name] - seeds[name] for name in seeds}
    meter.stages["seeds"] = whole | seeds


def cluster_folder(folder: Path, config: ClusterConfig) -> tuple[StageMeter, Store]:
    """Everything from the product to the tables."""
    chi_NH, uri, meter = (
        np.load(folder / "chi.npy", mmap_mode="r"),
        str(folder / "run"),
        StageMeter(),
    )
    starts = range(0, chi_NH.shape[0], SHARD_ROWS)
    layout = write_product(uri, (np.asarray(chi_NH[s : s + SHARD_ROWS]) for s in starts))
    run = product_config(uri, config, scratch=str(folder / "scratch"))

    def each(unit: Unit, do: Callable[[], None]) -> None:
        if isinstance(unit, ClusterUnit):
            do_clusters(unit, run, meter)
        else:
            assert isinstance(unit, ListsUnit)
            with meter.stage(stage_of(unit)):
                do()

    do_units(run, clusters_of(run, layout), each)
    return meter, Store(uri)


def compile_first() -> None:
    """Compilation is paid once per machine, not once per clustering."""
    from spectro.clustering.clusters import cluster
    from spectro.clustering.config import NeighbourSearch

    chi = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    for search in (NeighbourSearch.EXACT, NeighbourSearch.APPROXIMATE):
        cluster(chi, ClusterConfig(num_neighbours=10, neighbour_search=search))


def peak_bytes() -> int:
    """High-water mark of the resident set; getrusage's counts the parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Measure one folder."""
    request = json.loads(sys.argv[1])
    folder, num_threads = Path(request["folder"]), int(request["threads"])
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:num_threads]))
    use_threads(num_threads)
    compile_first()
    meter, store = cluster_folder(folder, ClusterConfig(**request.get("config", {})))
    peak = peak_bytes()
    stored = read_clusters(f"{store.uri}/clusters")
    label = np.full(stored.provenance["statistics"]["num_tokens"], -1, np.int32)
    for number, rows in enumerate(members_of(stored)):
        label[rows] = number
    np.save(folder / "found.npy", label)
    result: dict[str, Any] = {
        "stages": meter.stages,
        "peak_bytes": peak,
        "counted": stored.provenance["statistics"]
        | {"clusters": stored.clusters.num_rows, "clustered_share": float((label >= 0).mean())},
        "recall": stored.provenance["recall"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
