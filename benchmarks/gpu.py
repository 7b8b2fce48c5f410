"""Checks and measures a GPU in ten minutes at most: `make gpu`.

    python -m benchmarks.gpu --out benchmarks/results --rates benchmarks/rates
    python -m benchmarks.gpu --device cpu --quick --out /tmp/gpu --rates /tmp/gpu

First the checks (gpu_checks.py), then the measures (gpu_measures.py). Every part runs in a
separate process, for as long as its budget and what is left of the whole allow; what fails is
reported and the others go on. The dated result goes to `--out`, a file of rates that
`spectro plan plan.rates=FILE` takes to `--rates`. Exit status: 1 if a check failed, did not end or
was not reached, 2 without such a device, else 0.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import common, gpu_measures
from benchmarks.gpu_checks import CHECKS, Setup
from spectro.planning.measure_rates import device_rates
from spectro.planning.rates import Rate, to_yaml

SECONDS = 600.0
"""Of all parts together."""
OK, FAILED, SKIPPED, BROKEN, LATE = "ok", "failed", "skipped", "error", "out of time"
Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something to check or to measure."""

    run: Callable[[Setup], Figures]
    seconds: float
    """Its budget; importing and the device's start, some ten seconds, included."""
    is_check: bool = False


PARTS: dict[str, Part] = {
    **{name: Part(run=check, seconds=75, is_check=True) for name, check in CHECKS.items()},
    **{
        f"rates-{shape}": Part(run=partial(gpu_measures.rates, shape=shape), seconds=90)
        for shape in gpu_measures.SHAPES
    },
    "devinterp": Part(run=gpu_measures.devinterp, seconds=120),
}


def options_of(arguments: Sequence[str] | None = None) -> Any:
    """Where, what, and where to."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    found.add_argument("--quick", action="store_true", help="tiny sizes: a test of the script")
    found.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts")
    found.add_argument("--out", type=Path, help="folder for the dated result")
    found.add_argument("--rates", type=Path, help="folder for the file of rates")
    found.add_argument("--commit", help="the commit measured, where the tree has no .git")
    found.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    found.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    return found.parse_args(arguments)


def in_process(name: str, options: Any, seconds: float) -> Figures:
    """Figures of a part and its status, from a separate process."""
    part, start = PARTS[name], time.monotonic()
    limit = min(part.seconds, seconds)
    if limit <= 0:
        return {"status": LATE, "seconds": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--device", options.device]
        command += ["--part", name, "--figures", str(file)] + ["--quick"] * options.quick
        try:
            done = subprocess.run(
                command,
                timeout=limit,
                stdout=sys.stderr,
                stderr=subprocess.PIPE,
                check=False,
                env={**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},  # deterministic products
            )
        except subprocess.TimeoutExpired:
            return {"status": LATE, "seconds": time.monotonic() - start}
        taken = time.monotonic() - start
        if done.returncode or not file.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return {"status": BROKEN, "seconds": taken, "why": said[-1] if said else "no message"}
        figures: Figures = json.loads(file.read_text())
    return {"status": _status(figures), "seconds": taken, **figures}


def _status(figures: Mapping[str, Any]) -> str:
    if "skipped" in figures:
        return SKIPPED
    return OK if figures.get("ok", True) else FAILED


def line_of(name: str, found: Mapping[str, Any]) -> str:
    """A part on one line: its status, and what there is to say."""
    if found["status"] == FAILED:
        bad = [row for row in found.get("rows", [found]) if not row.get("ok")]
        said = f"{len(bad)} wrong, such as {bad[0]}"
    elif "rates" in found:
        said = "; ".join(
            f"{rate['precision']}: scoring {rate['scoring_tflops']:.3g} TFLOP/s "
            f"({rate['scoring_share']:.0%}), stepping {rate['stepping_tflops']:.3g} "
            f"({rate['stepping_share']:.0%})"
            for rate in found["rates"]
        )
    elif "ratios" in found:
        together = found["ratios"]["engine"]["together"]["median"]
        said = f"devinterp takes {together:.3g} times as long"
    else:
        said = found.get("skipped") or found.get("why") or ""
    return f"{name:14} {found['status']:12} {found['seconds']:5.0f} s   {said}".rstrip()


def write_rates(results: Mapping[str, Figures], options: Any) -> Path | None:
    """The file of rates of all Pythia shapes that were measured; None if none was.

    Rates go by hidden size: that of the Llama is a Pythia's too.
    """
    fields = ("precision", "scoring_tflops", "stepping_tflops", "hidden_size")
    rates = tuple(
        Rate(**{field: found[field] for field in fields})
        for name, result in results.items()
        if name != f"rates-{gpu_measures.LLAMA_1B}"
        for found in result.get("rates", ())
    )
    if not rates or options.rates is None:
        return None
    found = device_rates(rates, torch.device(options.device))
    options.rates.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", found.device.lower()).strip("-")
    path: Path = options.rates / f"{name}.yaml"
    path.write_text(to_yaml(found), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """All parts, or one of them for the process that runs all."""
    options = options_of(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked or measured", file=sys.stderr)
        return 2
    if options.part:
        figures = PARTS[options.part].run(Setup(device=options.device, quick=options.quick))
        options.figures.write_text(json.dumps(figures, default=str))
        return 0
    start, results = time.monotonic(), {}
    for name in options.only:
        left = SECONDS - (time.monotonic() - start)
        results[name] = in_process(name, options, left)
        print(line_of(name, results[name]), flush=True)
    if path := write_rates(results, options):
        print(f"written: {path}; spectro plan plan.rates={path} takes it")
    options.threads = torch.get_num_threads()
    question = "does the engine compute on this device what it does on a CPU, and how fast?"
    common.write("gpu", options, {"question": question, "parts": results})
    checks = [found for name, found in results.items() if PARTS[name].is_check]
    return int(any(found["status"] not in (OK, SKIPPED) for found in checks))


if __name__ == "__main__":
    sys.exit(main())
