"""What the environment must not break, made right before anything else is imported.

Requests to this machine go through no proxy; caches have a folder that can be written; what a
terminal cannot show is written as an escape (`\\u2423`), so that no character ends a job.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
ABOUT_A_CLUSTER = r"RAY_[A-Z][A-Z0-9_]*"
"""Variables by which Ray finds, describes or joins a cluster; those of its own settings go on in
small letters (`RAY_metrics_report_interval_ms`)."""
CACHES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
"""Variables that say where a library keeps what it has made, which need a home otherwise."""


SET_ASIDE: dict[str, str] = {}
"""Variables about a Ray cluster that this process has removed from its environment."""


def prepare() -> None:
    """Make it right; may be called again."""
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
    if joins or {"leave", "jobs.leave"} & set(command):
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
