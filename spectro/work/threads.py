"""Threads of a unit's arithmetic.

torch and numba are imported where they are set: a command that only reads a run does without.
"""

from __future__ import annotations

import os

from spectro.config import RunConfig


def own_threads(run: RunConfig, reserved_cores: float | None = None) -> int:
    """Threads of a unit that others wait for: a machine of our own has nobody else to serve.

    On a Ray cluster that was joined a worker keeps to the CPUs that are reserved for it.
    """
    if run.ray_address is not None:
        return max(run.threads_per_worker, int(reserved_cores or 0))
    return num_cores_here()


def num_cores_here() -> int:
    """Cores of this machine that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
