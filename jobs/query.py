"""`spectro query <run> "select ..."`: SQL over a run, and what is asked of it most often."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum

from rich.console import Console

from jobs.launch import launch
from jobs.look import StoredRun
from jobs.query_output import Told, tables_of, tell, write
from spectro.storage.credentials import refuse_credentials
from spectro.views.query.config import Limits, Window
from spectro.views.query.lookups import Answer, find, nearest, of_cluster, of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of

ASKED = ("sql", "near", "show", "cluster", "find")


class QueryFormat(Enum):
    """How an answer is told."""

    TABLE = "table"
    """For people: the first rows."""
    CSV = "csv"
    """All rows; lists as JSON; ' before text that a spreadsheet would run as a formula."""
    JSON = "json"
    """All rows, a list of objects."""
    PARQUET = "parquet"
    """All rows; a file only."""


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """What is asked, and how it is told; exactly one question, or none for the tables there are."""

    sql: str | None = None
    """A SELECT."""
    near: int | None = None
    """Token whose nearest are asked for."""
    k: int = 20
    """How many of them."""
    show: int | None = None
    """Token that is shown."""
    cluster: int | None = None
    """Cluster whose members are shown."""
    find: str | None = None
    """Text that y is or contains."""
    format: QueryFormat | None = None
    """`table`, `csv`, `json` or `parquet`; None: by the ending of `out`, a table without."""
    out: str | None = None
    """File for all rows, local or a URI; one that is there is replaced. None: the terminal."""
    limit: int = 40
    """Rows of a table on the terminal, ≥ 1; files have all."""
    window: Window = field(default_factory=Window)
    """How much of a context is shown."""
    limits: Limits = field(default_factory=Limits)
    """Memory and threads."""

    def __post_init__(self) -> None:
        given = [name for name in ASKED if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"query.{given[0]} is one question and query.{given[1]} another: ask one at a time"
            )
        if self.limit < 1:
            raise ValueError(f"query.limit must be at least 1, found {self.limit}")
        refuse_credentials(self.out or "", "query.out")
        if self.out is not None and self.written not in (
            QueryFormat.CSV, QueryFormat.JSON, QueryFormat.PARQUET
        ):  # fmt: skip
            raise ValueError(
                f"query.out must end in .csv, .json or .parquet, or query.format say which; found "
                f"{self.out}"
            )
        if self.out is None and self.format is QueryFormat.PARQUET:
            raise ValueError("query.format=parquet needs a file: give out=answer.parquet")

    @property
    def written(self) -> QueryFormat:
        """The format that is meant."""
        if self.format is not None:
            return self.format
        ending = (self.out or "").rpartition(".")[2]
        known = {each.value: each for each in QueryFormat}
        return known.get(ending, QueryFormat.TABLE)


@dataclass(frozen=True, kw_only=True)
class QueryJob:
    """Which run, and what is asked of it."""

    run: StoredRun
    """A run, its control or a folder of clusters."""
    query: QueryConfig = field(default_factory=QueryConfig)
    """What is asked."""


def main() -> int:
    """Compose, answer; returns the exit status."""
    return launch("query", "query_job", QueryJob, _query)


def _query(job: QueryJob) -> None:
    config, view = job.query, RunView(job.run.uri)
    with Query(view, lambda: vocabulary_of(view), config.limits) as query:
        if all(getattr(config, name) is None for name in ASKED):
            Console().print(tables_of(query))
            return
        told = _answer(query, config)
        if config.out is None and config.written is QueryFormat.TABLE:
            tell(told, config.limit)
            return
        rows = write(told.reader, config.written.value, config.out)
        if config.out is not None:
            Console(soft_wrap=True).print(
                f"{rows:,} rows: {config.out}", highlight=False, markup=False
            )


def _answer(query: Query, config: QueryConfig) -> Told:
    if config.sql is not None:
        return Told(title=None, reader=query.sql(config.sql))
    answer = _lookup(query, config)
    return Told(
        title=answer.title,
        reader=answer.rows,
        notes=answer.notes,
        total=answer.num_rows,
        context=answer.context,
    )


def _lookup(query: Query, config: QueryConfig) -> Answer:
    if config.near is not None:
        return nearest(query, config.near, config.k, config.window)
    if config.show is not None:
        return of_token(query, config.show, config.window)
    if config.cluster is not None:
        return of_cluster(query, config.cluster, config.window)
    assert config.find is not None
    return find(query, config.find, config.window)


if __name__ == "__main__":
    sys.exit(main())
