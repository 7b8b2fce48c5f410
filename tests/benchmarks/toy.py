"""Benchmarks run with --toy, each in a process of its own and there as `python -m` runs it.

The processes are forked from one that has imported what all of them need: importing takes longer
than most of them work.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import Any

SHARED = ["benchmarks.common", "benchmarks.shapes", "benchmarks.engine_side", "benchmarks.product"]
"""Imported once; none of them is run as a script, and none does anything when it is imported."""
MOST_SECONDS = 600
"""After which a hanging script is an error; nothing is asserted about time."""


def run_toy(name: str, out: Path, *arguments: str) -> dict[str, Any]:
    """The one result that a benchmark leaves in a folder; what it said is shown if it fails."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(SHARED)
    out.mkdir(parents=True, exist_ok=True)
    said, given = out / "said.txt", ["--toy", "--out", str(out), *arguments]
    child = processes.Process(target=_as_script, args=(f"benchmarks.{name}", given, said))
    child.start()
    child.join(MOST_SECONDS)
    if child.is_alive():
        child.kill()
    child.join()
    assert child.exitcode == 0, said.read_text()
    (path,) = out.glob("*.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def _as_script(module: str, arguments: list[str], said: Path) -> None:
    """`python -m <module> <arguments>`, with all that it says in a file."""
    with said.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
