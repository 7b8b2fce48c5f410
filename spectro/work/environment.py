"""Environment variables: logged where they act on a run, set aside where they would break it.

`prepare` acts before Ray, numba and matplotlib are imported: requests to this machine go through no
proxy; caches have a folder that can be written; what a terminal cannot show is written as an escape
(`\\u2423`), so that no character ends a command.

Numbers depend on none of them. Threads of workers are the configuration's, whatever
OMP_NUM_THREADS, MKL_NUM_THREADS or OPENBLAS_NUM_THREADS say (`spectro/work/threads.py`).
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spectro.models.config import PACKAGED
from spectro.storage.credentials import redact
from spectro.storage.locations import is_uri, resolve_location
from spectro.tokens.config import SourceKind

if TYPE_CHECKING:  # prepare() comes before all else
    from spectro.config import PipelineConfig

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
CACHES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
"""Variables that say where a library keeps what it has made, which need a home otherwise."""
SET_ASIDE: dict[str, str] = {}
"""Variables about a Ray cluster that this process has removed from its environment."""
RAY_ADDRESS = "RAY_ADDRESS"
ABOUT_A_CLUSTER = r"RAY_[A-Z][A-Z0-9_]*"
"""Variables by which Ray finds, describes or joins a cluster; those of its own settings go on in
small letters (`RAY_metrics_report_interval_ms`)."""
OF_RAY = r"RAY_[a-z]\w*"
OF_S3 = (
    r"AWS_(ENDPOINT_URL(_S3)?|PROFILE|DEFAULT_PROFILE|REGION|DEFAULT_REGION|CONFIG_FILE|"
    r"SHARED_CREDENTIALS_FILE|CA_BUNDLE|USE_DUALSTACK_ENDPOINT|USE_FIPS_ENDPOINT|"
    r"IGNORE_CONFIGURED_ENDPOINT_URLS)|SPECTRO_S3_TIMEOUT_SECONDS"
)
OF_THE_HUB = (
    r"HF_(HOME|HUB_CACHE|HUB_OFFLINE|ENDPOINT|DATASETS_CACHE|DATASETS_OFFLINE)|"
    r"HUGGINGFACE_HUB_CACHE|TRANSFORMERS_(CACHE|OFFLINE)"
)
OF_TRACKERS = {
    "mlflow": r"MLFLOW_(TRACKING_URI|EXPERIMENT_NAME)",
    "tensorboard": "TENSORBOARD_LOGGING_DIR",
    "wandb": r"WANDB_(BASE_URL|DIR|ENTITY|MODE|PROJECT)",
}
"""By name in `run.trackers`; keys and passwords are not among them."""
PROXIES = r"(?i:(https?|all|no)_proxy)"
OF_GPUS = r"CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER"
OF_ARITHMETIC = (
    r"MKL_(CBWR|ENABLE_INSTRUCTIONS)|ATEN_CPU_CAPABILITY|OPENBLAS_CORETYPE|(ONE)?DNN_MAX_CPU_ISA|"
    r"NUMBA_(DISABLE_JIT|CPU_NAME|CPU_FEATURES)|PYTHONOPTIMIZE"
)
"""Of the last bits of sums."""
ROUNDS_PRODUCTS = "NVIDIA_TF32_OVERRIDE"
"""Has products of float32 on a GPU rounded, or not, whatever the configuration says."""


def lines(
    config: PipelineConfig,
    environment: Mapping[str, str] = os.environ,
    ignored: Collection[str] = (),
) -> list[str]:
    """A line for each variable that acts on a run, and one for those that a local run ignores.

    Args:
        config: of the run.
        environment: of this process.
        ignored: names of variables about Ray clusters that were removed from it.
    """
    acting = _acting(config)
    found = [
        redact(f"environment: {name}={environment[name]} acts")
        for name in sorted(environment)
        if any(re.fullmatch(pattern, name) for pattern in acting)
    ]
    if config.run.num_workers != 0 and config.run.ray_address is None and ignored:
        found.append(
            f"environment: {', '.join(sorted(ignored))} ignored: run.ray_address is null, so this "
            "run starts a Ray of its own"
        )
    return found


def check(config: PipelineConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Raise ValueError, in one line, if a variable would replace what the configuration says."""
    if ROUNDS_PRODUCTS in environment and config.model.device != "cpu":
        raise ValueError(
            f"{ROUNDS_PRODUCTS}={environment[ROUNDS_PRODUCTS]} of the environment would replace "
            f"model.precision={config.model.precision.value} on a GPU: unset it"
        )


@contextmanager
def without_clusters() -> Iterator[None]:
    """No variable of this process, or of those that it starts, is about another Ray cluster."""
    before = _taken_out()
    try:
        yield
    finally:
        _taken_out()
        os.environ.update(before)


def _taken_out() -> dict[str, str]:
    names = [name for name in os.environ if re.fullmatch(ABOUT_A_CLUSTER, name)]
    return {name: os.environ.pop(name) for name in names}


def _acting(config: PipelineConfig) -> list[str]:
    """Patterns of the names of variables that act on a run."""
    sources = [*config.tokens.subsets.values()]
    if config.more is not None:
        sources += config.more.subsets.values()
    name = config.model.name_or_path
    from_hub = any(source.kind is SourceKind.HUB for source in sources) or not (
        name in PACKAGED or is_uri(name) or os.path.exists(name)
    )
    places = [resolve_location(config.run.uri), name, *(source.path or "" for source in sources)]
    on_s3 = any(place.startswith("s3://") for place in places)
    found = [OF_ARITHMETIC] if config.model.device == "cpu" else [OF_ARITHMETIC, OF_GPUS]
    if config.run.num_workers != 0:
        found.append(OF_RAY)
        found += [RAY_ADDRESS] if config.run.ray_address == "auto" else []
    found += [OF_S3] if on_s3 else []
    found += [OF_THE_HUB] if from_hub else []
    found += [OF_TRACKERS[name] for name in config.run.trackers]
    found += [PROXIES] if on_s3 or from_hub or config.run.trackers else []
    return found if config.run.scratch is not None else [*found, "TMPDIR"]


def prepare() -> None:
    """Prepare this process, before Ray, numba and matplotlib are imported; may be repeated."""
    _set_aside_clusters(sys.orig_argv)
    _exempt_this_machine()
    _give_caches()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _set_aside_clusters(command: Sequence[str]) -> None:
    """Ray reads some of its variables when it is imported, so a run that starts its own must have
    none of a cluster's by then."""
    joins = any(re.match(r"\+*run\.ray_address=(?!null$)", text) for text in command)
    if joins or "leave" in command:
        return
    for name in [name for name in os.environ if re.fullmatch(ABOUT_A_CLUSTER, name)]:
        SET_ASIDE[name] = os.environ.pop(name)


def restore_clusters() -> None:
    """Undo that, for a run whose file of settings names a cluster."""
    os.environ.update(SET_ASIDE)
    SET_ASIDE.clear()


def _exempt_this_machine() -> None:
    """Servers and workers of this machine are behind no proxy."""
    if not any(re.fullmatch(r"(?i:(https?|all|grpc)_proxy)", name) for name in os.environ):
        return
    known = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = [host.strip() for host in (known[0] or known[1]).split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in THIS_MACHINE if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def _give_caches() -> None:
    """A folder among the temporary files, where the home cannot be written."""
    if _can_write(Path(os.path.expanduser("~"))):
        return
    base = Path(tempfile.gettempdir()) / f"spectro-caches-{os.getuid()}"
    for variable, name in CACHES.items():
        os.environ.setdefault(variable, str(base / name))


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder; permissions do not say so for root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
