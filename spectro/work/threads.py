"""Cores that a process may use, and the threads of a unit's arithmetic.

ray, torch and numba are imported where they are needed: a command that only reads a run does
without.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from spectro.work.config import RunConfig


def own_threads(run: RunConfig) -> int:
    """Threads of a unit that others wait for: a machine of our own has nobody else to serve.

    On a Ray cluster that was joined a worker keeps to the CPUs that Ray reserves for it.
    """
    if run.ray_address is None:
        return num_cores_here()
    return min(num_cores_here(), int(_reserved_cpus() or run.threads_per_worker))


def num_cores_here(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, or the CPU limit of its cgroup, rounded up.

    In a pod with a limit of 12 on a machine of 192 cores the affinity is 192. `root` is of /proc
    and /sys.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(limit) for limit in _cgroup_limits(root))]))


def keep_to_threads(num_threads: int) -> None:
    """Of a worker's tensors and BLAS, whatever OMP_NUM_THREADS and its kin say: another number may
    change the last bits of a sum."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(num_threads)
    threadpool_limits(num_threads, user_api="blas")


def use_threads(num_threads: int) -> None:
    """Of the calling thread's further arithmetic, compiled or by tensors."""
    import numba
    import torch

    torch.set_num_threads(num_threads)
    numba.set_num_threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))


def _reserved_cpus() -> float | None:
    """CPUs that Ray reserves for this process; None if it is no actor, or reserves none."""
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    reserved: float | None = ray.get_runtime_context().get_assigned_resources().get("CPU")
    return reserved


def _cgroup_limits(root: Path) -> Iterator[float]:
    """CPU limits of this process's cgroup and those above it, of version 1 or 2."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        parts = PurePosixPath(path).parts[1:]
        # A container sees its own group where the first is mounted, and perhaps the host's path.
        for depth in range(len(parts) + 1):
            limit = _limit(mounted.joinpath(*parts[:depth]))
            if limit is not None:
                yield limit


def _limit(folder: Path) -> float | None:
    """CPU seconds per second of one cgroup; None if it has no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
