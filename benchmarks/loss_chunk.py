"""How many rows of logits should the chunked loss hold at once? Time by size, in one run.

    python benchmarks/loss_chunk.py [--out benchmarks/results]

The plain loss (all logits, then cross-entropy) is measured in the same run; the table gives the
median over rounds of each size's time relative to it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torch.nn import functional

from spectro.models import loss

SHAPES = {"embedded": (128, 2048), "pythia-14m": (128, 50304), "pythia-70m": (512, 50304)}
SIZES = [16, 32, 64, 128, 160, 256, 512, 1024]
ROWS = 2048


def rounds(hidden: int, vocab: int, num_rounds: int) -> dict[str, list[float]]:
    """Seconds of one scoring pass by chunk size, `plain` being the unchunked loss."""
    states = torch.randn(ROWS, hidden)
    unembed, targets = torch.randn(vocab, hidden), torch.randint(0, vocab, (ROWS,))
    found: dict[str, list[float]] = {"plain": [], **{str(size): [] for size in SIZES}}
    for _ in range(num_rounds):
        for name, times in found.items():
            start = time.perf_counter()
            if name == "plain":
                functional.cross_entropy(states @ unembed.T, targets, reduction="none")
            else:
                loss.CHUNK_ROWS["cpu"] = int(name)
                loss.token_losses(states, unembed, targets)
            times.append(time.perf_counter() - start)
    return found


def commit() -> str:
    """The commit measured."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Measure every shape, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for the dated result")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ratios = {}
    for name, (hidden, vocab) in SHAPES.items():
        times = rounds(hidden, vocab, options.rounds)
        ratios[name] = {
            size: statistics.median(
                own / plain for own, plain in zip(values, times["plain"], strict=True)
            )
            for size, values in times.items()
        }
        print(name, {size: round(ratio, 2) for size, ratio in ratios[name].items()})
    result = {
        "question": "time relative to the unchunked loss, by rows of logits held at once",
        "ratios": ratios,
        "hardware": platform.processor() or platform.machine(),
        "threads": options.threads,
        "torch": torch.__version__,
        "commit": commit(),
    }
    if options.out:
        path = options.out / f"{datetime.date.today():%Y-%m-%d}-loss-chunk.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
