"""SQL over a run: its tables in a DuckDB that can reach nothing else (ADR 039).

    tokens      token_id · sequence_id · position · subset · token · text · cluster_id · loss ·
                full_response · chi FLOAT[H]
    chi         the same, with a column per component instead of `chi`
    influence_<observable>  of a run with further observables: the same with their influence by
                component, its errors (l0h1, l0h1_error) and that of all weights (full_model);
                as lists also in `tokens`
    components  a row per column of χ: its statistics in the run's summary
    clusters, members       clusters/*.parquet; `clusters` with `top_text`, and with
                names where `spectro names` or a report has put them
    features    a row per cluster and each of its best features of an autoencoder, after `spectro
                sae`; all_features: a row per feature with its best cluster (feature_tables.py)
    vocabulary  token · text · string (null where the bytes are not UTF-8) · bytes
    control_tokens, control_chi, control_components, control_clusters, control_members, …
                the same of the control, where there is one
    moved, moved_tokens     what the run has beyond its control, by component and for the tokens of
                the largest differences (views/change_from_control.py)

`text` is how a token is shown (`tokens/display/terminal_text.py`): ␣ is a space. Tables are read
when a query asks for them and as far as it does (`query_sources.py`), from local folders and S3
alike. The database is in memory, reads no file, loads no extension and takes one query at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats import run_dir
from spectro.formats.clusters.clusters import CLUSTERS, MEMBERS, PROVENANCE, read_table
from spectro.formats.product import CHI, moments_name
from spectro.formats.run_parts import CONTROL
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.ranges import Meter
from spectro.storage.store import Store
from spectro.susceptibility.columns import INFLUENCE, influence_names
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain_token
from spectro.views.change_from_control import (
    MOVED,
    MOVED_TOKENS,
    MovedData,
    moved_data,
    moved_table,
    moved_tokens_table,
)
from spectro.views.cluster_names import cluster_names
from spectro.views.cluster_tables import members, smallest_cluster
from spectro.views.query.config import Limits
from spectro.views.query.feature_tables import feature_tables
from spectro.views.query.sources import Lazy, Made, TokenRows
from spectro.views.query.tables import (
    COMPONENTS,
    MEMBER_COLUMNS,
    VOCABULARY,
    clusters_schema,
    components_table,
    vocabulary_table,
    with_texts,
)
from spectro.views.run_view import RunView

NO_WORDS = Vocabulary(pieces=None)
"""Names that are stored are read, none are made."""
OUT_ROWS = 10_000
"""Rows per batch of an answer."""
ASKS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""Read-only statements; DESCRIBE and SUMMARIZE are SELECTs."""


class Query:
    """Tables of a run, its control or a folder of clusters; close it."""

    def __init__(
        self,
        view: RunView,
        known_of: Callable[[], Vocabulary] = lambda: Vocabulary(pieces=None),
        limits: Limits | None = None,
    ) -> None:
        """Read listings and footers only.

        Args:
            view: the run.
            known_of: gives the vocabulary; called when a query needs text.
            limits: memory and threads.

        Raises ValueError, in one line, if nothing has been measured.
        """
        self.view, self.meter, self._known_of = view, Meter(), known_of
        self._limits = limits or Limits()
        self._scratch = TemporaryDirectory(prefix="spectro-query-")
        self._database = _database(self._limits, self._scratch.name)
        self._shown: dict[int, str] = {}  # tokens repeat
        self._sources: dict[str, Lazy] = {}  # the database holds no reference to them
        self.rows = self._add_part(view, "")
        for control in _control_of(view):
            self._add_part(control, f"{CONTROL}_")
            self._add("moved", Made(MOVED, lambda: moved_table(self._moved)))
            self._add("moved_tokens", Made(MOVED_TOKENS, lambda: moved_tokens_table(self._moved)))
        self._add("vocabulary", Made(VOCABULARY, lambda: vocabulary_table(self.pieces)))
        _lock(self._database)

    def __enter__(self) -> Query:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release memory and scratch."""
        self._database.close()
        self._scratch.cleanup()

    @cached_property
    def known(self) -> Vocabulary:
        """The vocabulary."""
        return self._known_of()

    @property
    def pieces(self) -> Sequence[bytes | None] | None:
        """Bytes of every token; None without a tokenizer."""
        return self.known.pieces

    @property
    def tables(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Names and types of the columns of every table."""
        columns = self._database.execute(
            "select table_name, column_name, data_type from duckdb_columns() "
            "where not internal order by table_name, column_index"
        ).fetchall()
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for table, column, kind in columns:
            found[table] = (*found.get(table, ()), (column, kind))
        return found

    def sql(self, text: str, *parameters: Any) -> pa.RecordBatchReader:
        """The answer to one SELECT (or DESCRIBE, SUMMARIZE, EXPLAIN), batch by batch.

        Raises ValueError, in one line, for an invalid query, here or while batches are read.
        """
        try:
            statements = self._database.extract_statements(text)
            if len(statements) != 1:
                raise ValueError(f"expected one statement of SQL, found {len(statements)}")
            if statements[0].type not in ASKS:
                raise ValueError(
                    f"expected {' or '.join(kind.name for kind in ASKS)}, found "
                    f"{statements[0].type.name}: the tables of a run are only read"
                )
            found = self._database.sql(statements[0], params=list(parameters) or None)
            reader = found.to_arrow_reader(OUT_ROWS)
        except duckdb.Error as error:
            raise self._error(error) from None
        return pa.RecordBatchReader.from_batches(reader.schema, self._translated(reader))

    def table(self, text: str, *parameters: Any) -> pa.Table:
        """The whole answer to a query; errors as `sql`."""
        return self.sql(text, *parameters).read_all()

    def _translated(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The same batches, with errors translated."""
        try:
            yield from reader
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._error(error) from None

    def _error(self, error: BaseException) -> ValueError:
        """The database's message on one line, with a hint."""
        lines = [line.strip() for line in str(error).splitlines()]
        kept = [line for line in lines if line and not re.fullmatch(r"LINE \d+:.*|\^+", line)]
        hint = ""
        if isinstance(error, duckdb.OutOfMemoryException):
            hint = f"; query.limits.memory_gib is {self._limits.memory_gib:g}"
        elif isinstance(error, duckdb.CatalogException | duckdb.BinderException):
            hint = f"; tables: {', '.join(self.tables)}"
        elif isinstance(error, duckdb.PermissionException):
            hint = "; a query reads the tables of the run alone, no files and no settings"
        return ValueError(" ".join(kept) + hint)

    def _add(self, name: str, source: TokenRows | Made) -> None:
        self._sources[name] = Lazy(source)
        self._database.register(name, self._sources[name])

    def _add_part(self, view: RunView, prefix: str) -> TokenRows:
        """Register the tables of a part of the run."""
        folder = view.store.child(view.folder)
        provenance = read_sealed(folder, PROVENANCE) if view.has_clusters else {}
        stored = Made(MEMBER_COLUMNS, lambda: read_table(folder, MEMBERS, provenance))

        def cluster_of_tokens() -> npt.NDArray[np.int32]:
            return smallest_cluster(*members(view, stored.table), view.num_tokens)

        rows = TokenRows(
            view.store,
            meter=self.meter,
            texts=lambda: self._texts,
            clusters=cluster_of_tokens if provenance else None,
            threads=self._limits.threads > 1,
        )
        self._add(f"{prefix}tokens", rows)
        for view_of_lists in _list_views(prefix, rows):
            self._database.execute(view_of_lists)
        components = Made(COMPONENTS, lambda: components_table(view, rows.components))
        self._add(f"{prefix}components", components)
        if provenance:
            self._add(f"{prefix}members", stored)
            schema = clusters_schema(folder, self.meter)
            clusters = Made(
                schema,
                lambda: with_texts(
                    read_table(folder, CLUSTERS, provenance),
                    cluster_names(view, NO_WORDS).to_table(),
                    self._texts,
                ),
            )
            self._add(f"{prefix}clusters", clusters)
        for name, table in feature_tables(view).items():
            self._add(f"{prefix}{name}", table)
        return rows

    def text_of(self, token: int) -> str:
        """Text of a token; its number without a vocabulary."""
        if token not in self._shown:
            pieces = self.pieces
            if pieces is None or token >= len(pieces):
                self._shown[token] = f"⟨{token}⟩"
            else:
                self._shown[token] = plain_token(pieces[token])
        return self._shown[token]

    @cached_property
    def _moved(self) -> MovedData:
        """The run minus its control."""
        return moved_data(self.view)

    @cached_property
    def _texts(self) -> pa.Array:
        """Display of every token."""
        if self.pieces is None:
            return pa.nulls(self.view.info.vocab_size, pa.string())
        return pa.array([self.text_of(token) for token in range(len(self.pieces))], pa.string())


def _control_of(view: RunView) -> Iterator[RunView]:
    """The control of a run, if measured."""
    store = Store(f"{view.uri}/{CONTROL}")
    if store.exists(run_dir.NAME) and store.exists(moments_name(0)):
        yield RunView(store.uri)


def _list_views(prefix: str, rows: TokenRows) -> Iterator[str]:
    """SQL of the views with a column per component: of χ, and of the influence on observables."""
    names = influence_names(rows.schema.names, rows.observables)
    lists = ", ".join([CHI, *names])

    def by_component(column: str, ending: str = "") -> list[str]:
        return [
            f'{column}[{index}] as "{name.replace(chr(34), chr(34) * 2)}{ending}"'
            for index, name in enumerate(rows.components, start=1)
        ]

    def view(name: str, columns: Sequence[str]) -> str:
        return (
            f"create view {prefix}{name} as select * exclude ({lists}), {', '.join(columns)} "
            f"from {prefix}tokens"
        )

    yield view(CHI, by_component(CHI))
    for q in rows.observables:
        own = f"{INFLUENCE}_{q}"
        columns = [*by_component(own), *by_component(f"{own}_error", "_error")]
        if f"full_{own}" in names:
            columns += [f"full_{own} as full_model", f"full_{own}_error as full_model_error"]
        yield view(own, columns)


def _database(limits: Limits, scratch: str) -> duckdb.DuckDBPyConnection:
    """An empty in-memory database without extensions or environment variables."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{limits.memory_gib * 1024:.0f}MiB",
            "threads": limits.threads,
            "temp_directory": scratch,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )


def _lock(database: duckdb.DuckDBPyConnection) -> None:
    """Disable files, network, other databases and settings."""
    database.execute("set enable_external_access = false")
    database.execute("set lock_configuration = true")
