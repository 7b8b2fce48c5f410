"""`python -m tests.chaos.driver <log> <job> [key=value ...]`: a job that tells what it starts.

The log of a killed process is whole up to its last line, whatever storage the run is on.
"""

from __future__ import annotations

import importlib
import logging
import sys


def main() -> int:
    log, job, *arguments = sys.argv[1:]
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    for name in ("spectro.work", "spectro.storage"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)
    sys.argv = [job, *arguments]
    return int(importlib.import_module(f"jobs.{job}").main() or 0)


if __name__ == "__main__":
    sys.exit(main())
