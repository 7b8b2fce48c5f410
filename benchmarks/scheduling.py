"""What giving out a unit costs: units of no work through the whole driver.

    python -m benchmarks.scheduling --out benchmarks/results

Two pools: one in this process that ends every unit at once, which leaves the driver's own
reckoning (the queue, the progress display, the heartbeats), and Ray actors that end every unit at
once, which adds Ray's messages. For 1 000, 3 000 and 10 000 units: seconds per unit, the growth
exponent of the whole, and by how much the driver's memory has grown.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks import common
from spectro.config import PipelineConfig
from spectro.formats.sessions import RunningUnit
from spectro.measure.resident_model import ResidentModel
from spectro.measure.unit_costs import UnitCosts
from spectro.measure.units import TokensUnit, measurement_units
from spectro.models.components import Component, ComponentKind, Group
from spectro.models.config import ModelConfig
from spectro.pipeline.preflight import describe_model, load_described
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.reweighted import Reweighted
from spectro.sampling.samplers import Exponential
from spectro.storage.store import Store
from spectro.tokens.config import TokensConfig
from spectro.work.config import RunConfig
from spectro.work.driver import Driver
from spectro.work.heartbeats import HeartbeatWriter
from spectro.work.model_info import ModelInfo
from spectro.work.outcome import Outcome, Pool, WorkerCounts
from spectro.work.progress import Progress
from spectro.work.ray_actors import RayActors
from spectro.work.ray_pool import RayPool
from spectro.work.ray_session import ray_session
from spectro.work.stop_conditions import StopConditions
from spectro.work.units import Unit
from spectro.work.worker import WorkerSetup
from spectro.work.worker_kinds import Demand, WorkerKind

MODEL = ModelInfo(
    num_layers=24,
    num_heads=16,
    hidden_size=2048,
    vocab_size=50304,
    max_context=2048,
    device="cpu",
    weights_sha256="",
)
NUM_GROUPS, NUM_CHAINS = 24, 4


class NoWork:
    """A worker that ends every unit at once."""

    def __init__(self, setup: WorkerSetup, *, holds_model: bool) -> None:
        del setup

    def name(self) -> str:
        """See `Worker`."""
        return "nobody"

    def node(self) -> str:
        """See `Worker`."""
        return ""

    def try_describe(self) -> ModelInfo:
        """See `Worker`."""
        return MODEL

    def position(self, unit_id: str) -> float:
        """See `Worker`."""
        return 0.0

    def request_stop(self) -> None:
        """See `Worker`."""

    def run(self, unit: Unit) -> Outcome:
        """See `Worker`."""
        return Outcome(unit_id=unit.id)


class Immediate:
    """A pool whose units end when they are submitted."""

    def __init__(self, size: int) -> None:
        self._size, self._outcomes = size, list[Outcome]()

    def kind_of(self, unit: Unit) -> WorkerKind:
        """See `Pool`."""
        return WorkerKind.CPU

    def adjust(self, demand: Demand) -> None:
        """See `Pool`."""

    def idle(self) -> dict[WorkerKind, int]:
        """See `Pool`."""
        return {WorkerKind.CPU: self._size - len(self._outcomes)}

    def submit(self, unit: Unit) -> None:
        """See `Pool`."""
        self._outcomes.append(Outcome(unit_id=unit.id))

    def wait(self, seconds: float) -> list[Outcome]:
        """See `Pool`."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def running(self) -> list[RunningUnit]:
        """See `Pool`."""
        return []

    def request_stop(self) -> None:
        """See `Pool`."""

    def worker_counts(self) -> WorkerCounts:
        """See `Pool`."""
        return WorkerCounts(num_workers=self._size, num_starting=0, worker_seconds=0.0)


def units_of(count: int) -> list[Unit]:
    """About so many units: 24 groups, 4 chains, as many shards as it takes."""
    groups = [
        Group(
            name=f"l{layer}",
            components=(Component(name=f"l{layer}mlp", kind=ComponentKind.MLP, layer=layer),),
        )
        for layer in range(NUM_GROUPS)
    ]
    chains, chain = NUM_GROUPS * (NUM_CHAINS + 1), ChainConfig(num_chains=NUM_CHAINS)
    goals = measurement_units(
        part="",
        groups=groups,
        costs=UnitCosts(
            model=MODEL, sampler=Exponential(), chain=chain, num_evaluation=16, context=128
        ),
        chain_batches=partial(chain.batches, 1),
        shard_sizes=(1,) * max(1, (count - chains) // (NUM_GROUPS + 1)),
        tokens=TokensUnit(),
    )
    return STAGES.required(goals, {"tokens/tokens.json"})


def measured(pool: Pool, count: int) -> dict[str, float]:
    """One run of no work."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        units = units_of(count)
        listed = time.perf_counter()
        run = RunConfig(uri=folder, beat_seconds=1.0)
        heartbeats = HeartbeatWriter(Store(folder), run, device="cpu")
        Driver(pool=pool, progress=Progress(), heartbeats=heartbeats, stop=StopConditions(0.0)).run(
            units
        )
        heartbeats.close(pool, "done")
        seconds = time.perf_counter() - listed
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "units": len(units),
        "seconds_to_plan": listed - start,
        "seconds": seconds,
        "milliseconds_per_unit": 1e3 * seconds / len(units),
        "peak_memory_growth_mib": (peak - before) / 1024,
    }


def exponent(found: Sequence[dict[str, float]]) -> float:
    """Of the time against the number of units, from the smallest to the largest."""
    first, last = found[0], found[-1]
    return math.log(last["seconds"] / first["seconds"]) / math.log(last["units"] / first["units"])


def main() -> None:
    """See the module's text."""
    options_parser = common.parser(__doc__, ["none"])
    options_parser.set_defaults(shape="none")
    options_parser.add_argument("--workers", type=int, default=4, help="Ray actors")
    options = common.parse(options_parser)
    counts = (200, 400) if options.toy else (1_000, 3_000, 10_000)
    own = [measured(Immediate(256), count) for count in counts]
    ray = _through_ray(options, counts)
    result: dict[str, Any] = {
        "driver_alone": {"runs": own, "growth_exponent": exponent(own)},
        "through_ray": {"runs": ray, "growth_exponent": exponent(ray), "workers": options.workers},
    }
    for name, found in result.items():
        for run in found["runs"]:
            print(
                f"{name:14} {run['units']:6.0f} units  {run['milliseconds_per_unit']:7.3f} ms each"
                f"  +{run['peak_memory_growth_mib']:.1f} MiB"
            )
        print(f"{name:14} growth exponent {found['growth_exponent']:.2f}")
    common.write("scheduling", options, result)


def _through_ray(options: Any, counts: Sequence[int]) -> list[dict[str, float]]:
    config = PipelineConfig(
        model=ModelConfig(name_or_path="none"),
        tokens=TokensConfig(),
        sampler=Reweighted(),
        chain=ChainConfig(),
        run=RunConfig(uri="runs/none", num_workers=options.workers),
    )
    with ray_session(config.run):
        setup = WorkerSetup(
            config=config,
            stages=STAGES,
            context=ResidentModel,
            describe=describe_model,
            load=load_described,
        )
        workers = RayActors(setup=setup, worker=NoWork)
        pool = RayPool(actors={WorkerKind.CPU: workers}, capacity=lambda kind: int(options.workers))
        pool.describe(StopConditions(time.monotonic()), lambda: None)
        while pool.worker_counts().num_workers < options.workers:
            pool.adjust(Demand(left=options.workers))
            time.sleep(0.2)
        found = [measured(pool, count) for count in counts]
        pool.close()
    return found


if __name__ == "__main__":
    main()
