"""Cores that a process may use: the limit of its cgroup, and what Ray reserves for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import ray

from spectro.work.config import RunConfig
from spectro.work.ray_session import ray_session
from spectro.work.threads import num_cores_here, own_threads

POD = "/kubepods.slice/pod1/container"


def tree(root: Path, group: str, files: Mapping[str, str]) -> Path:
    """A /proc and a /sys with one cgroup, and the limits in these files."""
    files = {"proc/self/cgroup": group, **files}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        # Version 2: a container sees its own group as the first.
        ("0::/", {"cpu.max": "1200000 100000"}, 12),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "20000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 192),
        ("0::/", {}, 192),
        ("0::/", {"cpu.max": "99900000 100000"}, 192),
        # The group above it is limited, the group itself not or less.
        (f"0::{POD}", {f"{POD[1:]}/cpu.max": "max 100000", "cpu.max": "400000 100000"}, 4),
        (f"0::{POD}", {"kubepods.slice/pod1/cpu.max": "30000 10000"}, 3),
        # Version 1, with the path of the host or in the container's own mount.
        (
            f"7:memory:/x\n4:cpu,cpuacct:{POD}",
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            3,
        ),
        (
            f"4:cpu,cpuacct:{POD}",
            {f"cpu{POD}/cpu.cfs_quota_us": "800000", f"cpu{POD}/cpu.cfs_period_us": "100000"},
            8,
        ),
        (
            "4:cpu,cpuacct:/",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            192,
        ),
        ("5:cpuset:/y", {"cpuset/cpu.max": "100000 100000"}, 192),
    ],
)
def test_limit_of_the_cgroup(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    files: Mapping[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(192)))
    root = tree(tmp_path, group, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert num_cores_here(root) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert num_cores_here(tmp_path) == len(os.sched_getaffinity(0))


def test_a_real_cgroup(tmp_path: Path) -> None:
    """A process that moves itself into a group of half a core, where this machine allows that."""
    top = Path("/sys/fs/cgroup")
    is_v2 = (top / "cgroup.controllers").exists()
    group = (top if is_v2 else top / "cpu") / f"spectro-test-{os.getpid()}"
    try:
        group.mkdir()
        if is_v2:
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"needs the right to make a cgroup with a CPU limit: {error}")
    code = (
        "import os; from pathlib import Path; from spectro.work.threads import num_cores_here;"
        f"Path({str(group)!r}, 'cgroup.procs').write_text(str(os.getpid()));"
        "print(num_cores_here())"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "1\n", done.stderr
    finally:
        group.rmdir()


def test_a_worker_of_a_joined_cluster_keeps_to_what_is_reserved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined = RunConfig(ray_address="auto", threads_per_worker=1)
    assert own_threads(joined) == 1  # no actor
    assert own_threads(RunConfig(threads_per_worker=1)) == num_cores_here()

    class Worker:
        """Made here, so that it travels to its process: that cannot import tests."""

        def threads(self, run: RunConfig, num_cores: int) -> int:
            from spectro.work import threads

            threads.num_cores_here = lambda: num_cores
            return threads.own_threads(run)

    with ray_session(RunConfig(num_workers=4)):
        for reserved, num_cores, expected in ((3, 8, 3), (4, 2, 2), (0, 8, 1)):
            actor = ray.remote(Worker).options(num_cpus=reserved, max_concurrency=3).remote()
            assert ray.get(actor.threads.remote(joined, num_cores)) == expected
            ray.kill(actor)
