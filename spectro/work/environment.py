"""Environment variables that act on a run: logged, ignored or refused.

Numbers depend on none of them. Threads of workers are the configuration's, whatever
OMP_NUM_THREADS, MKL_NUM_THREADS or OPENBLAS_NUM_THREADS say (`spectro/work/threads.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from spectro.config import PipelineConfig
from spectro.models.load import EMBEDDED
from spectro.storage.credentials import redact
from spectro.storage.places import place
from spectro.tokens.config import SourceKind

RAY_ADDRESS = "RAY_ADDRESS"
ABOUT_A_CLUSTER = r"RAY_[A-Z][A-Z0-9_]*"
"""As in `jobs/environment.py`, which acts before this file and all that it needs are imported."""
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
        name == EMBEDDED or os.path.exists(name)
    )
    on_s3 = place(config.run.uri).startswith("s3://")
    found = [OF_ARITHMETIC] if config.model.device == "cpu" else [OF_ARITHMETIC, OF_GPUS]
    if config.run.num_workers != 0:
        found.append(OF_RAY)
        found += [RAY_ADDRESS] if config.run.ray_address == "auto" else []
    found += [OF_S3] if on_s3 else []
    found += [OF_THE_HUB] if from_hub else []
    found += [PROXIES] if on_s3 or from_hub else []
    return found if config.run.scratch is not None else [*found, "TMPDIR"]
