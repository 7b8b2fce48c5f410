"""What a person sees of a run: progress, then a table of the largest clusters, then the page."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.environment import SET_ASIDE, restore_clusters
from jobs.log import run_log
from spectro.clustering.vectors.vector_reliability import report_lines
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.clusters.clusters import read_clusters
from spectro.formats.object_kinds import page_names
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.inspect.status import SILENT_SECONDS
from spectro.pipeline.run import Finished, Goal, run_pipeline
from spectro.storage import retry
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.credentials import redact
from spectro.storage.store import Store
from spectro.tokens.display.terminal_text import plain, plain_string
from spectro.views.cluster_tables import how_it_holds
from spectro.views.page.write import known_vocabulary
from spectro.work import environment
from spectro.work.progress import Progress, clock

ROWS = 15
TOP_TOKENS = 6
LOOSE = "◌"
"""Marks a cluster that does not hold."""
logger = logging.getLogger(__name__)


def run_and_tell(config: PipelineConfig, goal: Goal, *, renew_page: bool = False) -> Finished:
    """Run as far as the goal, show progress, and say what came out."""
    environment.check(config)
    if config.run.ray_address is not None:
        restore_clusters()
    console = Console(soft_wrap=True)
    store = Store(config.run.uri)
    with run_log(store), _retries_told(console):
        acting = environment.lines(config, ignored=SET_ASIDE)
        for line in acting:
            logger.info("%s", line)
        for line in (f"run {plain_string(config.run.uri)}", *acting, *others_at_work(store)):
            console.print(line, highlight=False, markup=False)
        with Progress(console) as progress, _renewed(store, config if renew_page else None):
            finished = run_pipeline(config, progress, goal=goal)
        _tell(console, config, finished, goal)
    return finished


@contextmanager
def _retries_told(console: Console) -> Iterator[None]:
    """What storage refuses for a while is told here too: nothing else may move meanwhile."""

    class RetryMessages(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = f"storage: {redact(record.getMessage())}"
            console.print(line, highlight=False, markup=False)

    handler, retries = RetryMessages(logging.WARNING), logging.getLogger(retry.__name__)
    retries.addHandler(handler)
    try:
        yield
    finally:
        retries.removeHandler(handler)


def others_at_work(store: Store) -> list[str]:
    """A line for every other driver that has given a sign of life of late."""
    beats = read_heartbeats(store, store.list(SESSIONS))
    alive = [b for b in beats if b.ended is None and time.time() - b.time < SILENT_SECONDS]
    return [
        f"another driver works on this run (host {beat.host}, process {beat.process}, seen "
        f"{clock(max(0.0, time.time() - beat.time))} ago): both go on, what one has done the other "
        "leaves, what both begin is done twice"
        for beat in alive
    ]


@contextmanager
def _renewed(store: Store, config: PipelineConfig | None) -> Iterator[None]:
    """Make way for a new page, if any; the old one comes back if none could be made."""
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


def _tell(console: Console, config: PipelineConfig, finished: Finished, goal: Goal) -> None:
    store = Store(config.run.uri)
    stages = ", ".join(f"{name} {clock(s)}" for name, s in finished.stage_seconds.items() if s)
    done = f"{finished.num_units} units" if finished.num_units else "nothing left to do"
    outcome = f"{done} in {clock(finished.seconds)}" + (f" ({stages})" if stages else "")
    logger.info("%s", outcome)
    if goal in (Goal.CLUSTER, Goal.REPORT):
        console.print(cluster_table(config, store))
        for line in vectors_lines(config, store):
            console.print(line, highlight=False, markup=False)
    console.print(outcome, highlight=False)
    for warning in _warnings(store):
        console.print(f"warning: {warning}", highlight=False, markup=False)
    if goal is Goal.REPORT:
        name, _ = page_names(config.run.clusters)
        page = Path(store.path(name)).resolve() if store.is_local else f"{store.uri}/{name}"
        console.print(f"page: {plain_string(str(page))}", highlight=False, markup=False)


def _warnings(store: Store) -> list[str]:
    """What the run's summary warns of; nothing before there is one."""
    if not store.exists(SUMMARY_NAME):
        return []
    return [str(line) for line in read_sealed(store, SUMMARY_NAME).get("warnings", ())]


def vectors_lines(config: PipelineConfig, store: Store) -> tuple[str, ...]:
    """What the clusters see of χ, and how reliable that is."""
    found = read_clusters(f"{store.uri}/{config.run.clusters}")
    return report_lines(found.transform, found.provenance["components"])


def cluster_table(config: PipelineConfig, store: Store) -> Table:
    """The largest clusters: size, conductance, subset, most common y."""
    found = read_clusters(f"{store.uri}/{config.run.clusters}").clusters
    held = how_it_holds(found)
    known = known_vocabulary(config.model, tokens.read_info(store).vocab_size)
    table = Table(title=_title(held["holds"]), title_justify="left")
    for name in ("cluster", "tokens", "conductance", "stability", "ceiling", "shared", "q"):
        table.add_column(name, justify="right")
    table.add_column("subset (share)")
    table.add_column("most common y", overflow="fold")
    for place, row in enumerate(found.slice(0, ROWS).to_pylist()):
        is_loose = held["holds"][place] == 0
        counts = row["subset_counts"]
        subset = row["subset_names"][counts.index(max(counts))]
        tops = [plain(known.show(token)) for token in row["top_tokens"][:TOP_TOKENS]]
        table.add_row(
            f"{LOOSE} {row['cluster_id']}" if is_loose else str(row["cluster_id"]),
            str(row["size"]),
            f"{row['conductance']:.3f}",
            *(_or_dash(held[name][place]) for name in ("stability", "repeatability")),
            _or_dash(held["shared_neighbours"][place], ".0%"),
            _or_dash(held["q_value"][place], ".3f"),
            Text(f"{plain_string(subset)} ({row['purity']:.0%})"),
            Text("  ".join(tops)),
            style="dim" if is_loose else None,
        )
    return table


def _title(holds_K: npt.NDArray[np.floating]) -> str:
    """How many clusters there are and how many hold; what the mark means, where it is used."""
    title, known = f"The largest of {holds_K.size} clusters", np.isfinite(holds_K)
    if not known.any():
        return title
    num_held = int(np.count_nonzero(holds_K[known]))
    title += f", {num_held} hold"
    if num_held == known.sum():
        return title
    return f"{title} ({LOOSE}: not found again by other seeds, or not known to other draws)"


def _or_dash(value: float, form: str = ".2f") -> str:
    return "–" if math.isnan(value) else format(value, form)
