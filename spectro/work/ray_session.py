"""Ray: started here when no address is given, joined when one is, ended only if started here."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray._private import ray_constants

from spectro.storage.credentials import redact
from spectro.work.config import RunConfig
from spectro.work.environment import RAY_ADDRESS, without_clusters
from spectro.work.ray_nodes import resources_of_nodes
from spectro.work.threads import num_cores_here
from spectro.work.worker_kinds import WorkerKind

logger = logging.getLogger(__name__)
CONNECT_SECONDS = 10.0
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
"""Where Ray's sockets may lie, before the system's folder for temporary files."""
LONGEST_FOLDER = 30
"""Bytes: the names of sockets have 107, Ray takes up to 75 of them below its folder."""
OBJECT_STORE_BYTES = 100_000_000
"""Workers read and write storage themselves; only messages pass through Ray."""


@contextmanager
def ray_session(config: RunConfig) -> Iterator[None]:
    """A Ray cluster for as long as the block lasts.

    Raises ValueError, in one line, if the cluster at the address does not answer.
    """
    if ray.is_initialized():
        yield
        return
    if config.ray_address is not None:
        _set_defaults()
        yield from _joined(config.ray_address)
        return
    with without_clusters():
        _set_defaults()
        yield from _started(config)


def _set_defaults() -> None:
    # Decided here: otherwise Ray may switch it on and write a token into the home directory.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


@dataclass(frozen=True, kw_only=True)
class WorkerSizes:
    """What Ray reserves for a worker of each kind, and how many there may be."""

    run: RunConfig
    """As configured."""
    gpus: float
    """GPUs of a worker that holds any; 0: none does, and one kind of worker does everything."""

    @property
    def threads(self) -> float:
        """CPUs of a worker that holds a GPU, or that does everything."""
        return float(self.run.threads_per_worker)

    @property
    def cpu_worker_cores(self) -> float:
        """CPUs of a worker that holds no GPU where others do: a whole machine's, but on this one,
        where it shares the cores with all others whatever is reserved."""
        if self.run.ray_address is None:
            return 1.0
        if self.run.cpu_worker_cores is not None:
            return float(self.run.cpu_worker_cores)
        return float(max(1, max(map(self._spare_cores, _without_gpus()), default=1)))

    def capacity(self, kind: WorkerKind) -> int:
        """Workers of a kind that the connected cluster has room for, or as many as configured."""
        if self.gpus and kind is WorkerKind.CPU and self.run.ray_address is None:
            return 1
        if self.run.num_workers is not None:
            return self.run.num_workers
        nodes = resources_of_nodes()
        if self.gpus and kind is WorkerKind.CPU:
            cores = self.cpu_worker_cores
            return max(1, sum(int(self._spare_cores(node) // cores) for node in _without_gpus()))
        if kind is WorkerKind.GPU:
            return max(1, int(sum(node.get("GPU", 0) for node in nodes) // self.gpus))
        return max(1, int(sum(node.get("CPU", 0) for node in nodes) // self.threads))

    def _spare_cores(self, resources: Mapping[str, float]) -> int:
        """Cores of a machine beside those of its GPUs' workers."""
        for_gpus = self.threads * resources.get("GPU", 0) / self.gpus if self.gpus else 0
        return int(resources.get("CPU", 0) - for_gpus)


def _without_gpus() -> list[dict[str, float]]:
    """Machines for workers without GPUs: those that have none, or all if all have some."""
    nodes = resources_of_nodes()
    return [node for node in nodes if not node.get("GPU") and node.get("CPU")] or nodes


def worker_sizes(config: RunConfig, device: str) -> WorkerSizes:
    """Sizes of a run's workers; GPUs where the cluster has any and the model may use them."""
    gpus = config.gpus_per_worker
    if gpus is None:
        has_any = device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        gpus = 1.0 if has_any else 0.0
    return WorkerSizes(run=config, gpus=gpus)


def _joined(address: str) -> Iterator[None]:
    origin = f"run.ray_address={address!r}"
    if address == "auto" and (named := os.environ.get(RAY_ADDRESS)):
        address, origin = named, f"{RAY_ADDRESS}={redact(named)!r} of the environment"
    try:
        _require_listener(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"no Ray cluster answers at {origin}: {redact(str(error))}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise OSError if nobody listens at `[ray://]host:port`: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _started(config: RunConfig) -> Iterator[None]:
    with _loopback():
        yield from _started_on_loopback(config)


@contextmanager
def _loopback() -> Iterator[None]:
    """Have Ray listen on this machine alone: it would look for a reachable address and take that.

    Its processes learn it from the environment, this process has read that when Ray was imported.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]


def _started_on_loopback(config: RunConfig) -> Iterator[None]:
    folder = _short_folder()
    wanted = (config.num_workers or 0) * config.threads_per_worker
    try:
        ray.init(
            address="local",
            num_cpus=max(wanted, num_cores_here()),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _short_folder() -> str:
    """A new folder whose path is short enough for sockets, whatever TMPDIR is.

    Raises ValueError, in one line, if there is none.
    """
    for base in (*SHORT_FOLDERS, tempfile.gettempdir()):
        if len(os.fsencode(base)) > LONGEST_FOLDER:
            continue
        try:
            return tempfile.mkdtemp(prefix="spectro-", dir=base)
        except OSError:
            continue
    raise ValueError(
        f"Ray needs a folder for its sockets of at most {LONGEST_FOLDER} bytes: none of "
        f"{', '.join(SHORT_FOLDERS)} and TMPDIR can be written and is as short; give "
        "run.num_workers=0, which needs no Ray"
    )
