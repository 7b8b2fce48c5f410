"""What the benchmarks share: options, alternating runs, ratios, and the dated result file."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from spectro.susceptibility.interval import t_quantile

T = TypeVar("T")
PACKAGES = ("torch", "transformers", "numpy", "devinterp")


def parser(doc: str | None, shapes: Sequence[str]) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    found = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--shape", choices=shapes, default="14m", help="whose weights")
    found.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    found.add_argument("--threads", type=int, default=1, help="of torch, for everything measured")
    found.add_argument("--rounds", type=int, default=3, help="alternations")
    found.add_argument("--toy", action="store_true", help="seconds-long self-test of the script")
    found.add_argument("--out", type=Path, help="folder for the dated result")
    found.add_argument("--commit", help="the commit measured, where the tree has no .git")
    return found


def parse(found: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> Any:
    """Options; `--toy` puts its own shape in place of the one asked for."""
    options = found.parse_args(arguments)
    if options.toy:
        options.shape, options.rounds = "toy", min(options.rounds, 2)
    if options.device == "cuda" and not torch.cuda.is_available():
        found.error("--device cuda, but torch sees no CUDA device here")
    torch.set_num_threads(options.threads)
    return options


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run the sides in turn, A B A B …: what drifts on a shared machine drifts for all.

    Each result goes to stderr at once: a long measurement that is broken off has shown some.
    """
    found: dict[str, list[T]] = {name: [] for name in sides}
    for index in range(rounds):
        for name, run in sides.items():
            found[name].append(run())
            print(f"round {index}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any] | None:
    """Ratio of each round with its median and range; None where there was nothing to divide."""
    if not all(value > 0 for value in (*numerators, *denominators)):
        return None
    found = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return {
        "median": statistics.median(found),
        "min": min(found),
        "max": max(found),
        "rounds": found,
    }


def show(name: str, found: Mapping[str, Any] | None) -> str:
    """One line for a ratio."""
    if found is None:
        return f"{name:48} –"
    return f"{name:48} {found['median']:8.2f}   ({found['min']:.2f} – {found['max']:.2f})"


def slope(sizes: Sequence[float], values: Sequence[float]) -> dict[str, float] | None:
    """Least squares of log value on log size: slope, standard error, half of its 95 % interval."""
    if len(set(sizes)) < 2 or min(values) <= 0:
        return None
    fitted = statistics.linear_regression(
        [math.log(s) for s in sizes], [math.log(v) for v in values]
    )
    logs = [(math.log(s), math.log(v)) for s, v in zip(sizes, values, strict=True)]
    residual = sum((v - fitted.slope * s - fitted.intercept) ** 2 for s, v in logs)
    spread = sum((s - statistics.mean(x for x, _ in logs)) ** 2 for s, _ in logs)
    free = len(logs) - 2
    error = math.sqrt(residual / free / spread) if free else float("nan")
    width = float(t_quantile(free)) * error
    return {"slope": fitted.slope, "standard_error": error, "half_width_95": width}


def environment(options: Any) -> dict[str, Any]:
    """Hardware, versions and commit, for the result file."""
    return {
        "hardware": {
            "processor": _processor(),
            "logical_cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
            "threads": options.threads,
            "load_average": os.getloadavg(),
        },
        "versions": {
            "python": platform.python_version(),
            "cuda": torch.version.cuda if options.device == "cuda" else None,
            **{name: _version(name) for name in PACKAGES},
        },
        "commit": options.commit or _commit(),
    }


def write(name: str, options: Any, result: Mapping[str, Any]) -> None:
    """Write the dated result if a folder was asked for."""
    if not options.out:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    suffix = "" if options.device == "cpu" else f"-{options.device}"
    path = options.out / f"{datetime.date.today():%Y-%m-%d}-{name}{suffix}.json"
    arguments = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(options).items()
        if key not in ("out", "commit")
    }
    whole = {**result, "options": arguments, **environment(options)}
    path.write_text(json.dumps(_plain(whole), indent=1, allow_nan=False) + "\n")
    print(f"written: {path}")


def _plain(value: Any) -> Any:
    """Four digits are more than a shared machine can give; JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(found) for found in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    root = Path(__file__).parent
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
