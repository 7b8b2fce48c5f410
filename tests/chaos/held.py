"""How long simulated GPU machines are up for the work that their workers do.

    python -m tests.chaos.held                       # this checkout
    python -m tests.chaos.held --source ../earlier   # another one, by its own code

Tokens, measurement, clusters and page of the embedded model on machines that come when Ray has work
for them and go when idle (autoscaler.py). Prints one line of JSON: machine time of GPUs, time of
units that need the model, and the time that the driver itself counts as held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.storage.store import Store
from tests.chaos.autoscaler import Autoscaler, MachineKind
from tests.chaos.cluster import SimulatedCluster

MODEL_STAGES = ("pilot", "chains", "tiles")
SETTINGS = (
    "control=none",
    "components=[l1h*,l2h*]",
    "tokens.num_probe_sequences=8",
    "tokens.sequences_per_shard=32",
    "chain.num_draws=16",
    "run.beat_seconds=2",
    "run.num_workers=2",
    "run.gpus_per_worker=1",
    "model.device=cpu",
)
MACHINES = (
    MachineKind(name="cpu", cpus=2, most=1),
    MachineKind(name="gpu", cpus=1, gpus=1, most=2),
)
LIMIT_SECONDS = 1500.0


def measured(source: Path) -> dict[str, float]:
    """One run by the code of a checkout."""
    with tempfile.TemporaryDirectory(prefix="held-", dir="/tmp") as folder:
        store = Store(f"{folder}/run")
        with SimulatedCluster() as cluster, (Path(folder) / "log").open("w") as log:
            autoscaler = Autoscaler(cluster=cluster, kinds=MACHINES, idle_seconds=5.0)
            more = [f"run.uri={store.uri}", f"run.ray_address={cluster.address}"]
            driver = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "pipeline", *SETTINGS, *more],
                cwd=source, env={**os.environ, "PYTHONPATH": str(source)}, text=True,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            status = autoscaler.watch(driver, LIMIT_SECONDS)
            assert status == 0, (Path(folder) / "log").read_text()
            while autoscaler.count("gpu"):  # until the last idle machine is taken away
                autoscaler.look()
        beats = read_heartbeats(store, store.list(SESSIONS))
        stages = [stage for beat in beats for stage in beat.stages.items()]
        worked = sum(found.seconds for name, found in stages if name in MODEL_STAGES)
        up = autoscaler.up_seconds("gpu")
        return {
            "gpu_machine_seconds": up,
            "model_unit_seconds": worked,
            "share": worked / up,
            "gpu_seconds_held": sum(beat.gpu_seconds_held or 0.0 for beat in beats),
            "gpu_seconds_worked": sum(beat.gpu_seconds_worked for beat in beats),
            "cpu_machine_seconds": autoscaler.up_seconds("cpu"),
        }


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path.cwd(), help="folder of a checkout")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps(measured(parser.parse_args().source.resolve())))


if __name__ == "__main__":
    main()
