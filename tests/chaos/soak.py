"""One run under fire: whatever is killed, the product is that of an undisturbed run, bit for bit.

A run on a simulated cluster writes to a real S3 server through a proxy that makes faults. Workers,
raylets, whole machines, the driver and the S3 server are killed at moments drawn from a printed
seed; machines join late, some get notice of their eviction, now and then a second driver is
started on the same run by mistake. Nothing is asserted here: `Report` has what was found.

    python -m tests.chaos.soak --kills 100 --seed 1 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import write
from spectro.storage.store import Store
from tests.chaos.blows import Blows, Pace, started
from tests.chaos.cluster import SimulatedCluster
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.seaweed import BUCKET, Seaweed

ROOT = Path(__file__).parent.parent.parent
SETTINGS = (
    "control=false",
    "components=[l1*,l2h0,unembed]",
    "tokens.num_probe_sequences=16",
    "tokens.num_sampling_sequences=4",
    "tokens.sequences_per_shard=4",
    "chain.num_draws=8",
    "run.keep_draws=true",
    "run.checkpoint_seconds=2",
    "run.beat_seconds=3",
    "run.max_crashes=100",
    "run.max_losses=100",
    "run.max_errors=20",
    "run.drain_seconds=30",
)
"""The embedded model: some hundred and fifty units of seconds each."""
INLINE = ("run.num_workers=0",)
FAULTS = {
    Fault.SLOW_DOWN: 0.03,
    Fault.INTERNAL_ERROR: 0.02,
    Fault.CUT: 0.02,
    Fault.LOST_ANSWER: 0.02,
    Fault.TRUNCATED: 0.02,
    Fault.STALE_LIST: 0.2,
}
"""Probability of each fault of a request that it may happen to."""


@dataclass(kw_only=True)
class Report:
    """What was done to the run, and what was found."""

    seed: int
    blows: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    drivers: int = 0
    units: int = 0
    """Different units that were given out."""
    units_redone: int = 0
    """Times that a unit was given out again."""
    seconds: float = 0.0
    different: list[str] = field(default_factory=list)
    """Objects of the product whose bytes differ from the undisturbed run's."""
    left_by_the_dead: list[str] = field(default_factory=list)
    """Objects that an undisturbed run does not have when all is dead: a worker that outlived its
    machine may write after the run has ended. One more invocation, with nothing to do, follows."""
    leftovers: list[str] = field(default_factory=list)
    """Objects that an undisturbed run does not have, after that."""
    rows: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    verify_status: int = -1
    verify_says: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, changed or left behind, and all blows were dealt."""
        wrong = self.different or self.leftovers or self.rows_lost or self.rows_doubled
        all_blows = "over_early" not in self.blows
        return not wrong and all_blows and self.rows > 0 and self.verify_status == 0


@dataclass(kw_only=True)
class Soak:
    """See the module's text."""

    folder: Path
    """For everything, emptied by nobody."""
    settings: Sequence[str]
    """Of the job: `key=value`."""
    seed: int
    """Of all that is random."""
    kills: int
    """Blows in all; afterwards the run is left in peace."""
    order: Sequence[str] = ()
    """The first blows, in this order; those that follow are drawn."""
    machines: int = 3
    """Of the cluster."""
    pace: Pace = Pace()
    """Of the blows."""
    most_seconds: float = 7200.0
    """The run is given up after so long."""

    def run(self) -> Report:
        """Do it."""
        self.random = random.Random(self.seed)
        self.report = Report(seed=self.seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        calm = self.folder / "calm"
        self._done(["sample", f"run.uri={calm}", *INLINE, *self.settings], {})
        calm_store = Store(str(calm))
        start = time.monotonic()
        server = Seaweed(self.folder / "seaweed")
        server.start()
        try:
            with FaultProxy(server.port, seed=self.seed, stale_seconds=5) as proxy:
                environment = server.environment(proxy.endpoint)
                os.environ.update(environment)  # workers have it from their machine
                for fault, probability in FAULTS.items():
                    proxy.inject(fault, probability=probability)
                with SimulatedCluster(self.machines) as cluster:
                    self._storm(cluster, server, environment)
                proxy.clear()
                self.report.left_by_the_dead = sorted(_shape(Store(self.uri)) - _shape(calm_store))
                self._done(["sample", f"run.uri={self.uri}", *INLINE, *self.settings], environment)
                self.report.faults.update({str(f): n for f, n in proxy.made.items()})
                self.report.requests = sum(proxy.seen.values())
                self.report.seconds = time.monotonic() - start
                self._judge(calm_store, environment)
        finally:
            server.stop()
        return self.report

    @property
    def uri(self) -> str:
        """Of the run under fire."""
        return f"s3://{BUCKET}/soak"

    def _storm(
        self, cluster: SimulatedCluster, server: Seaweed, environment: dict[str, str]
    ) -> None:
        end = time.monotonic() + self.most_seconds
        blows = Blows(self, cluster, server, environment)
        try:
            while time.monotonic() < end:
                driver = blows.driver()
                if driver.poll() == 0 and blows.left <= 0:
                    return
                if blows.left > 0 and driver.poll() is None and blows.is_time():
                    blows.strike()
                blows.reinforce()
                time.sleep(0.2)
            raise TimeoutError(f"seed {self.seed}: the run did not end in {self.most_seconds} s")
        finally:
            blows.end()

    def _judge(self, calm: Store, environment: dict[str, str]) -> None:
        """Compare with the undisturbed run, and have the run verify itself."""
        report, store = self.report, Store(self.uri)
        starts = [s for log in self.folder.glob("driver-*.log") for s in started(log.read_text())]
        report.units, report.units_redone = len(set(starts)), len(starts) - len(set(starts))
        report.different = sorted(
            name
            for folder in ("susceptibilities", "halves")
            for name in calm.list(folder)
            if store.read(name) != calm.read(name)
        )
        report.leftovers = sorted(_shape(store) - _shape(calm))
        expected, found = _tokens(calm), _tokens(store)
        report.rows = len(found)
        report.rows_lost = len(set(expected) - set(found))
        report.rows_doubled = len(found) - len(set(found))
        done = self._call(["verify", f"run.uri={self.uri}"], environment)
        report.verify_status = done.wait()
        report.verify_says = (self.folder / "verify.txt").read_text().splitlines()[-1]

    def _done(self, arguments: list[str], environment: dict[str, str]) -> None:
        process = self._call(arguments, environment)
        if process.wait():
            raise RuntimeError((self.folder / f"{arguments[0]}.txt").read_text()[-2000:])

    def _call(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        out = (self.folder / f"{arguments[0]}.txt").open("wb")
        command = [sys.executable, "-m", "jobs.cli", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, **environment}
        )

    def start_driver(
        self, environment: dict[str, str], extra: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        """One more driver on the same run."""
        self.report.drivers += 1
        number = self.report.drivers
        command = [sys.executable, "-m", "tests.chaos.driver"]
        command += [str(self.folder / f"driver-{number:03d}.log"), "sample"]
        command += [f"run.uri={self.uri}", *self.settings, *extra]
        out = (self.folder / f"driver-{number:03d}.txt").open("wb")
        return subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, **environment}
        )


def _shape(store: Store) -> set[str]:
    """Names of a finished run's objects, but for those that every invocation leaves."""
    ours = ("sessions/", "failures/", "logs/")
    return {name for name in store.list() if not name.startswith(ours)}


def _tokens(store: Store) -> list[tuple[int, int]]:
    """Every row's sequence and position."""
    import io

    import pyarrow.parquet as pq

    found = []
    for name in store.list("susceptibilities"):
        if name.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(store.read(name)), columns=["sequence_id", "position"])
            found += list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for the dated result")
    parser.add_argument("--settings", nargs="*", default=SETTINGS)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(
            folder=Path(folder),
            settings=arguments.settings,
            seed=arguments.seed,
            kills=arguments.kills,
        )
        report = soak.run()
    counts = {"blows": dict(report.blows), "faults": dict(report.faults)}
    report_of = {"settings": list(arguments.settings), **vars(report), **counts}
    arguments.device, arguments.threads, arguments.commit = "cpu", 1, None
    write("soak", arguments, report_of)
    print(json.dumps(report_of, indent=1))
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
