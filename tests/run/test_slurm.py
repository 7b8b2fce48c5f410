"""slurm/run.sbatch on two machines: network and process namespaces, and a stub of srun.

Each "machine" has an address, processes and /tmp of its own, so that `ray symmetric-run` finds no
other Ray, and stops no other at its end. With the outermost process all others end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spectro.formats.product import SUMMARY_NAME
from spectro.storage.store import Store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ISOLATED = ["unshare", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
SRUN = """#!/bin/bash
# The command on the other machine, with this environment as srun gives it, and on this one.
while [[ $1 == --* ]]; do shift; done
{ export -p; printf '%q ' "$@"; } > $SHARED/command.part
mv $SHARED/command.part $SHARED/command
exec "$@"
"""
MACHINES = """
node() {
    ip link set lo up
    until ip link show eth$1 >/dev/null 2>&1; do sleep 0.1; done
    ip addr add 10.77.0.$1/24 dev eth$1
    ip link set eth$1 up
    mount -t tmpfs tmpfs /tmp
    cd $SHARED
    if [ $1 = 1 ]; then
        bash $ROOT/slurm/run.sbatch "${@:2}"
        echo $? > $SHARED/status
    else
        until [ -e $SHARED/command ]; do sleep 0.1; done
        bash $SHARED/command
    fi
}
export -f node
for n in 1 2; do
    unshare --net --pid --fork --kill-child --mount --mount-proc \\
        bash -c 'node "$@"' node $n "$@" > $SHARED/node$n.log 2>&1 &
    machines[$n]=$!
done
sleep 1
ip link add eth1 netns ${machines[1]} type veth peer name eth2 netns ${machines[2]}
until [ -e $SHARED/status ]; do sleep 0.5; done
"""


@pytest.fixture
def shared() -> Path:
    """A folder of both machines: /tmp is of each its own."""
    folder = Path(f"/var/tmp/spectro-slurm-{os.getpid()}")
    (folder / "bin").mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def test_the_script_on_two_machines(shared: Path) -> None:
    needed = ("unshare", "ip", "mount")
    if any(shutil.which(name) is None for name in needed):
        pytest.skip(f"needs {', '.join(needed)}")
    probe = subprocess.run([*ISOLATED, "ip", "link", "set", "lo", "up"], capture_output=True)
    if probe.returncode:
        pytest.skip(f"needs the right to make namespaces: {probe.stderr.decode().strip()}")
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    for name, command in (
        ("srun", None), ("ray", ray), ("spectro", [sys.executable, "-m", "jobs.cli"]),
    ):  # fmt: skip
        text = SRUN if command is None else f'#!/bin/bash\nexec {" ".join(command)} "$@"\n'
        (shared / "bin" / name).write_text(text)
        (shared / "bin" / name).chmod(0o755)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))},
        "SHARED": str(shared), "ROOT": str(ROOT), "PYTHONPATH": str(ROOT), "HOME": str(shared),
        "PATH": f"{shared}/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_ON_NODE": "1",
    }  # fmt: skip
    given = [
        "sample", f"run.uri={shared}/run", "tokens.num_probe_sequences=1", "control=false",
        "chain.num_chains=2",
    ]  # fmt: skip
    subprocess.run(
        [*ISOLATED, "bash", "-c", MACHINES, "slurm", *given], env=environment, check=True
    )
    log = (shared / "node1.log").read_text()
    assert (shared / "status").read_text() == "0\n", log[-3000:]
    assert Store(f"{shared}/run").exists(SUMMARY_NAME)
    assert "Running command on head node" in log  # which waits for both machines
