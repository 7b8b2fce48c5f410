"""Runs as far as a goal, with progress and a log, and prints the outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from spectro.config import PipelineConfig
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.formats.object_kinds import page_names
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_parts import CONTROL
from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.inspect.status import SILENT_SECONDS
from spectro.pipeline.run import Finished, Goal, run_pipeline
from spectro.storage import retry
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.credentials import redact
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain_string
from spectro.work import environment
from spectro.work.progress import Progress, clock

from .cluster_table import cluster_table, stored_names, vectors_lines
from .log import run_log
from .names import summary_lines
from .output import say, show

logger = logging.getLogger(__name__)


def run_goal(config: PipelineConfig, goal: Goal, *, renew_page: bool = False) -> Finished:
    """Run as far as the goal, show progress, and print the outcome."""
    environment.check(config)
    if config.run.ray_address is not None:
        environment.restore_clusters()
    console = Console(soft_wrap=True)
    store = Store(config.run.uri)
    with run_log(store), _retries_shown(console):
        acting = environment.lines(config, ignored=environment.SET_ASIDE)
        for line in acting:
            logger.info("%s", line)
        say(f"run {plain_string(config.run.uri)}", *acting, *others_at_work(store))
        with Progress(console) as progress, _page_renewed(store, config if renew_page else None):
            finished = run_pipeline(config, progress, goal=goal)
        _show_outcome(config, finished, goal)
    return finished


@contextmanager
def _retries_shown(console: Console) -> Iterator[None]:
    """Print storage's retries: nothing else may move meanwhile."""

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = f"storage: {redact(record.getMessage())}"
            console.print(line, highlight=False, markup=False)

    handler, retries = Shown(logging.WARNING), logging.getLogger(retry.__name__)
    retries.addHandler(handler)
    try:
        yield
    finally:
        retries.removeHandler(handler)


def others_at_work(store: Store) -> list[str]:
    """A line for every other driver with a recent heartbeat."""
    beats = read_heartbeats(store, store.list(SESSIONS))
    alive = [b for b in beats if b.ended is None and time.time() - b.time < SILENT_SECONDS]
    return [
        f"another driver works on this run (host {beat.host}, process {beat.process}, seen "
        f"{clock(max(0.0, time.time() - beat.time))} ago): both go on, what one has done the other "
        "leaves, what both begin is done twice"
        for beat in alive
    ]


@contextmanager
def _page_renewed(store: Store, config: PipelineConfig | None) -> Iterator[None]:
    """Remove the page, so that it is made again; put the old one back if that fails."""
    known = () if config is None else reversed(page_names(config.run.clusters))
    names = [name for name in known if store.exists(name)]
    old = {name: store.read(name) for name in names}
    for name in old:
        store.delete(name)
    try:
        yield
    except BaseException:
        for name, data in reversed(old.items()):
            store.put_if_absent(name, data)
        raise


def _show_outcome(config: PipelineConfig, finished: Finished, goal: Goal) -> None:
    store = Store(config.run.uri)
    stages = ", ".join(f"{name} {clock(s)}" for name, s in finished.stage_seconds.items() if s)
    done = f"{finished.num_units} units" if finished.num_units else "nothing left to do"
    outcome = f"{done} in {clock(finished.seconds)}" + (f" ({stages})" if stages else "")
    logger.info("%s", outcome)
    if goal in (Goal.CLUSTER, Goal.REPORT):
        show(cluster_table(config, store))
        say(*_recognisable(store, config.run.clusters))
        say(*vectors_lines(config, store))
    say(outcome, *(f"warning: {warning}" for warning in _warnings(store)))
    if goal is Goal.REPORT:
        name, _ = page_names(config.run.clusters)
        page = Path(store.path(name)).resolve() if store.is_local else f"{store.uri}/{name}"
        say(f"page: {plain_string(str(page))}")


def _recognisable(store: Store, clusters: str) -> tuple[str, ...]:
    """How many clusters are recognisable by the names that are stored, here and in the control."""
    control = store.child(CONTROL)
    has_control = control.exists(f"{clusters}/{PROVENANCE}")
    of_control = stored_names(control, clusters).summary if has_control else None
    return summary_lines(stored_names(store, clusters).summary, of_control)


def _warnings(store: Store) -> list[str]:
    """Warnings of the run's summary; none before there is one."""
    if not store.exists(SUMMARY_NAME):
        return []
    return [str(line) for line in read_sealed(store, SUMMARY_NAME).get("warnings", ())]
