"""How do time and memory grow with tokens, draws, components and context?

    python -m benchmarks.growth --shape 14m --out benchmarks/results

One whole measurement per point. Slopes are of least squares in log-log, with their standard
errors: 1 is linear. Memory is the high-water mark above what the model and the inputs take: of
the CUDA allocator, or of the resident set of a process of its own per point. The outputs (χ, its
errors, the sums per chain and the draws) grow by themselves; `excess` is what lies beyond them
and should be flat in tokens and draws.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import spectro
from benchmarks import common, meter, shapes
from benchmarks.engine_side import EXACT, Engine
from benchmarks.work import PHASES, PILOT, Work
from spectro.models.config import ScoringConfig
from spectro.susceptibility.estimator import EstimatorKind
from spectro.susceptibility.interval import t_quantile


@dataclass(frozen=True, kw_only=True)
class Point:
    """Sizes of one measurement."""

    probe: int = 8
    """Sequences measured."""
    draws: int = 4
    """Per chain; 2 chains."""
    heads: int = 2
    """Components of the middle layer besides its MLP: its heads."""
    context: int = 64


BASE = Point()
AXES: dict[str, list[Point]] = {
    "tokens": [replace(BASE, probe=n) for n in (4, 8, 16, 32)],
    "draws": [replace(BASE, draws=n) for n in (2, 4, 8, 16)],
    "components": [replace(BASE, heads=n) for n in (0, 1, 3)],
    # as many tokens at every context, so that what remains is the cost of length
    "context": [replace(BASE, context=64 * n, probe=16 // n) for n in (1, 2, 4, 8)],
}
TOY_AXES = {
    "tokens": [replace(BASE, probe=n, draws=2, context=16) for n in (2, 4)],
    "draws": [replace(BASE, probe=4, draws=n, context=16) for n in (2, 4)],
}
NUM_CHAINS, BATCH = 2, 4


def engine_of(*, lists: bool) -> Engine:
    """Without the unrestricted chain: its draws, each a whole model, would hide everything else."""
    scoring = ScoringConfig() if lists else EXACT
    return Engine(kind=EstimatorKind.ONE_CHAIN, scoring=scoring)


def enlarged(point: Point, scale: int) -> Point:
    """More tokens and draws: a fast model needs them for time to be more than overhead."""
    return replace(point, probe=point.probe * scale, draws=point.draws * scale)


def size_of(axis: str, point: Point) -> int:
    """The number that grows along an axis."""
    sizes = {
        "tokens": point.probe * point.context,
        "draws": point.draws,
        "components": point.heads + 1,
        "context": point.context,
    }
    return sizes[axis]


def work_of(point: Point, shape: str, device: str) -> Work:
    """The measurement of a point."""
    model = shapes.model_of(shape, device)
    layer = model.config.num_hidden_layers // 2
    return Work(
        model=model,
        splits=shapes.ids_of(
            model, shape, sampling=16, evaluation=2, probe=point.probe, context=point.context
        ),
        components=[f"l{layer}mlp", *(f"l{layer}h{head}" for head in range(point.heads))],
        sampler=spectro.Exponential(gamma=300.0, nbeta=3.0, step_size=1e-3),
        num_chains=NUM_CHAINS,
        num_draws=point.draws,
        batch_size=BATCH,
    )


def measure_point(point: Point, shape: str, device: str, engine: Engine) -> dict[str, Any]:
    """Seconds by phase, bytes above the start, and bytes of the outputs."""
    work = work_of(point, shape, device)
    # the first call of a size allocates what the libraries keep for themselves
    engine(replace(work, num_draws=1, num_chains=1))
    with HighWater(device) as memory:
        seconds = meter.timed(lambda clock: engine(work, clock), device)
    return {
        "seconds": {**seconds, "whole_call": sum(seconds.values())},
        "bytes": memory.bytes_above_start,
        "output_bytes": output_bytes(work),
    }


def output_bytes(work: Work) -> int:
    """χ and its standard error, the sums per chain, and the draws of the one group."""
    num_tokens = work.splits.probe[:, 1:].numel()
    num_columns = len(work.components)
    of_tokens = 4 * num_tokens * num_columns * (2 + 2 * work.num_chains)
    hidden = work.model.config.hidden_size
    head = 4 * hidden * hidden // work.model.config.num_attention_heads
    weights = 8 * hidden * hidden + (num_columns - 1) * head
    return of_tokens + 4 * weights * work.num_chains * work.num_draws


class HighWater:
    """Peak memory within a block, above its start."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self.bytes_above_start = 0

    def __enter__(self) -> HighWater:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
            return self
        self._start = self._peak = _resident_bytes()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            self.bytes_above_start = torch.cuda.max_memory_allocated() - self._start
            return
        self._done.set()
        self._watch.join()
        self.bytes_above_start = max(self._peak, _resident_bytes()) - self._start

    def _sample(self) -> None:
        while not self._done.is_set():
            self._peak = max(self._peak, _resident_bytes())
            time.sleep(0.002)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def in_own_process(point: Point, options: Any) -> dict[str, Any]:
    """`measure_point` where no earlier point has left memory behind."""
    call = json.dumps(asdict(point))
    command = [sys.executable, "-m", "benchmarks.growth", "--point", call, "--shape", options.shape]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--toy"] if options.toy else []
    command += ["--lists"] if options.lists else ["--no-lists"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"point {call} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


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


def along(axis: str, points: Sequence[Point], found: Sequence[Sequence[dict[str, Any]]]) -> Any:
    """All values along one axis, and their slopes."""
    sizes = [size_of(axis, point) for point in points]
    flat = [(size, one) for size, rounds in zip(sizes, found, strict=True) for one in rounds]
    values = {
        name: [one["seconds"].get(name, 0.0) for _, one in flat]
        for name in (*PHASES, PILOT, "whole_call")
    }
    values["bytes"] = [float(one["bytes"]) for _, one in flat]
    excess = [float(one["bytes"] - one["output_bytes"]) for _, one in flat]
    return {
        "sizes": [size for size, _ in flat],
        **values,
        "output_bytes": [one["output_bytes"] for _, one in flat],
        "excess_bytes": excess,
        "slopes": {name: slope([s for s, _ in flat], v) for name, v in values.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every axis, print slopes, and write if asked."""
    found = common.parser(__doc__, [*shapes.NAMES, "toy"])
    found.set_defaults(rounds=2)
    found.add_argument("--point", help="sizes of one point as JSON; prints its result as JSON")
    found.add_argument("--scale", type=int, default=1, help="times all tokens and draws")
    found.add_argument(
        "--lists",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="short lists as a user gets them, or the exact loss",
    )
    options = common.parse(found, arguments)
    if options.point:
        point = Point(**json.loads(options.point))
        engine = engine_of(lists=options.lists)
        print(json.dumps(measure_point(point, options.shape, options.device, engine)))
        return
    axes = TOY_AXES if options.toy else AXES
    axes = {axis: [enlarged(p, options.scale) for p in own] for axis, own in axes.items()}
    points = list(dict.fromkeys(point for axis in axes.values() for point in axis))
    sides = {str(i): lambda p=p: in_own_process(p, options) for i, p in enumerate(points)}
    measured = common.alternate(sides, options.rounds)
    by_point = {point: measured[str(i)] for i, point in enumerate(points)}
    result = {axis: along(axis, own, [by_point[p] for p in own]) for axis, own in axes.items()}
    for axis, values in result.items():
        for name, fitted in values["slopes"].items():
            if fitted:
                width = fitted["half_width_95"]
                print(f"{axis:12} {name:12} slope {fitted['slope']:6.2f} ± {width:.2f} (95 %)")
    suffix = "" if options.lists else "-exact"
    question = "log-log slopes of time and peak memory; 1 is linear"
    common.write(f"growth-{options.shape}{suffix}", options, {"question": question, "axes": result})


if __name__ == "__main__":
    main()
