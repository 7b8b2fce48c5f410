"""Ray: started here when no address is given, joined when one is, ended only if started here."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private import ray_constants

from spectro.config import RunConfig
from spectro.storage.credentials import redact
from spectro.work.environment import RAY_ADDRESS, without_clusters
from spectro.work.threads import num_cores_here

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


def num_workers(config: RunConfig, gpus_per_worker: float) -> int:
    """Workers that the connected cluster has room for, or as many as the config says."""
    if config.num_workers is not None:
        return config.num_workers
    resources = ray.cluster_resources()
    if gpus_per_worker > 0:
        return max(1, int(resources.get("GPU", 0) // gpus_per_worker))
    return max(1, int(resources.get("CPU", 1) // config.threads_per_worker))


def gpus_per_worker(config: RunConfig, device: str) -> float:
    """GPUs to reserve per worker."""
    if config.gpus_per_worker is not None:
        return config.gpus_per_worker
    if device == "cpu":
        return 0.0
    return 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


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
