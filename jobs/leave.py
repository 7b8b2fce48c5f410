"""`spectro leave`: stops the drivers on this Ray head in order before it goes, and waits for them.

For a head's preStop hook. The drivers get SIGTERM, not `ray job stop`: a driver that fails is
retried by its RayJob, one that was stopped counts as complete and is not.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # heavy: not for --help
    from ray.job_submission import JobSubmissionClient

DASHBOARD = "http://127.0.0.1:8265"
WAIT_SECONDS = 110.0
"""Within a pod's `terminationGracePeriodSeconds`."""
POLL_SECONDS = 0.5


def main() -> int:
    """Stop them and wait; returns the exit status: 1 if one of them still runs."""
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        print(f"usage: spectro leave [address of the dashboard, {DASHBOARD}]\n")
        print(
            "Stops the drivers of this Ray head (SIGTERM), and waits until they have handed their"
        )
        print("units back. For a head's preStop hook.")
        return 0 if len(sys.argv) == 2 else 2
    address = sys.argv[1] if len(sys.argv) == 2 else DASHBOARD
    # A pod's RAY_ADDRESS would overrule the argument.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    from ray.job_submission import JobSubmissionClient  # as above

    try:
        pids = driver_pids(JobSubmissionClient(address))
    except (ConnectionError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"leave: no Ray dashboard answers at {address}: {error}\n")
        return 2
    left = end(pids, WAIT_SECONDS)
    if left:
        sys.stderr.write(f"leave: still running after {WAIT_SECONDS:.0f} s: {left}\n")
    return 1 if left else 0


def driver_pids(client: JobSubmissionClient) -> list[int]:
    """Processes of the jobs that run here; a job that has not called Ray yet has none."""
    from ray.job_submission import JobStatus  # as above

    running = [job for job in client.list_jobs() if job.status == JobStatus.RUNNING]
    found = (job.driver_info.pid for job in running if job.driver_info is not None)
    return [int(pid) for pid in found if pid is not None and is_alive(int(pid))]


def end(pids: Sequence[int], wait_seconds: float) -> list[int]:
    """Send SIGTERM to processes and wait until they are gone; returns those that are not."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    until = time.monotonic() + wait_seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
    return left


def is_alive(pid: int) -> bool:
    """Whether a process of this machine still runs; one that was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
