"""Lazy tables of a run for DuckDB, read only as far as a query needs.

DuckDB takes any `pyarrow.dataset.Dataset` and passes the columns and the filter of a query. `Lazy`
is one whose batches come from a *source*: only the needed Parquet columns are read, by ranges
(`storage/ranges.py`), row groups that cannot match are skipped, and derived columns (`text`,
`cluster_id`) are made only on demand.

Shapes: N tokens of the run, n of a batch, H components, V vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq

from spectro.formats.product import CHI, LABELS, measured_shards, part_name
from spectro.formats.shard_file import COMPONENTS
from spectro.storage.ranges import Meter, RangeReader
from spectro.storage.store import MissingObjectError, Store
from spectro.susceptibility.columns import influence_names, observables_in

TEXT, CLUSTER_ID = "text", "cluster_id"
"""Derived columns: text of y; its cluster, null outside, the smallest of several."""
BATCH_BYTES = 16 * 2**20
"""Memory of a batch with all columns."""
MIN_BATCH_ROWS = 1024


class QueryTable(Protocol):
    """Source of a lazy table."""

    schema: pa.Schema

    def batches(self, columns: Sequence[str], wanted: Any) -> Iterator[pa.RecordBatch]:
        """Some columns of the rows that satisfy `wanted`; None: of all rows."""


class Lazy(pds.InMemoryDataset):  # type: ignore[misc]
    """A source as a dataset for DuckDB."""

    def __init__(self, source: QueryTable) -> None:
        super().__init__([], schema=source.schema)
        self._source = source

    def scanner(
        self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any
    ) -> pds.Scanner:
        """Batches of these columns, in the order of the rows."""
        names = list(self._source.schema.names if columns is None else columns)
        schema = pa.schema([self._source.schema.field(name) for name in names])
        batches = self._source.batches(names, filter)
        return pds.Scanner.from_batches(batches, schema=schema, use_threads=False)


class Made:
    """A table made on first use, then kept."""

    def __init__(self, schema: pa.Schema, make: Callable[[], pa.Table]) -> None:
        self.schema, self._make = schema, make

    @cached_property
    def table(self) -> pa.Table:
        """All of it."""
        return self._make().select(self.schema.names).cast(self.schema)

    def batches(self, columns: Sequence[str], wanted: Any) -> Iterator[pa.RecordBatch]:
        """See `QueryTable`."""
        table = self.table if wanted is None else self.table.filter(wanted)
        yield from table.select(list(columns)).to_batches()


class TokenRows:
    """The measured tokens of a part of a run: labels, derived columns, χ."""

    def __init__(
        self,
        store: Store,
        *,
        meter: Meter,
        texts: Callable[[], pa.Array] | None,
        clusters: Callable[[], npt.NDArray[np.int32]] | None,
        threads: bool = False,
    ) -> None:
        """Reads two listings and one footer.

        Args:
            store: of the part of the run.
            meter: counts the reads.
            texts: display of every token of the vocabulary, [V]; None if unknown.
            clusters: cluster of every token of the run, −1 in none; None without clusters.
            threads: whether several threads decode columns.

        Raises ValueError if no shard has been measured, MissingObjectError if rows are lost.
        """
        self._store, self._meter, self._threads = store, meter, threads
        self._texts, self._clusters = texts, clusters
        self._sizes = measured_shards(store)
        self.shards = list(self._sizes)
        lost = [part_name(shard) for shard, size in self._sizes.items() if not size]
        if lost:
            raise MissingObjectError(
                f"{store.uri}/{lost[0]} does not exist, and its marker is there: spectro verify "
                "says what to do"
            )
        if not self.shards:
            raise ValueError(
                f"{store.uri} has no susceptibilities yet: measure them with spectro resume "
                f"run.uri={store.uri}"
            )
        first = pq.read_schema(self._open(self.shards[0]))
        names = (first.metadata or {}).get(COMPONENTS.encode(), b"[]")
        self.components: tuple[str, ...] = tuple(json.loads(names))
        self.observables = observables_in(first.names)
        self.schema = _schema(first, self.observables)

    def batches(self, columns: Sequence[str], wanted: Any) -> Iterator[pa.RecordBatch]:
        """See `QueryTable`; shard by shard, in the order of token ids."""
        mentioned = _mentioned(wanted, self.schema.names)
        names = {*columns, *mentioned}
        made = names & {TEXT, CLUSTER_ID}
        stored = names - made | ({"token"} if TEXT in made else set())
        stored |= {"token_id"} if CLUSTER_ID in made or not stored else set()
        ordered = [name for name in self.schema.names if name in stored]
        others = {TEXT, CLUSTER_ID, "subset", *self._lists}
        numbers_only = wanted is not None and not mentioned & others
        for shard in self.shards:
            for batch in self._scan(shard, ordered, wanted if numbers_only else None):
                rows = self._with_derived(batch, made)
                if wanted is not None and not numbers_only:
                    rows = rows.filter(wanted)
                yield rows.select(list(columns))

    def _scan(self, shard: int, columns: list[str], wanted: Any) -> Iterator[pa.RecordBatch]:
        fragment = pds.ParquetFileFormat().make_fragment(self._open(shard))
        scanner = fragment.scanner(
            columns=columns,
            filter=wanted,
            batch_size=self._batch_rows,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=self._threads,
        )
        yield from scanner.to_batches()

    def _with_derived(self, batch: pa.RecordBatch, made: set[str]) -> pa.RecordBatch:
        """The batch with plain subsets and derived columns."""
        columns = {name: batch.column(name) for name in batch.schema.names}
        if "subset" in columns:
            columns["subset"] = columns["subset"].cast(pa.string())
        if TEXT in made:
            columns[TEXT] = self._text_of(columns["token"])
        if CLUSTER_ID in made:
            columns[CLUSTER_ID] = self._cluster_of(np.asarray(columns["token_id"]))
        fields = [self.schema.field(name) for name in columns]
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))

    def _text_of(self, token_n: pa.Array) -> pa.Array:
        if self._texts is None:
            return pa.nulls(len(token_n), pa.string())
        return self._texts().take(token_n)

    def _cluster_of(self, token_id_n: npt.NDArray[np.int64]) -> pa.Array:
        if self._clusters is None:
            return pa.nulls(len(token_id_n), pa.int32())
        cluster_n = self._cluster_N[token_id_n]
        return pa.array(cluster_n, mask=cluster_n < 0)

    @cached_property
    def _cluster_N(self) -> npt.NDArray[np.int32]:
        assert self._clusters is not None
        return self._clusters()

    @property
    def _lists(self) -> dict[str, int]:
        """Column with a value per component → H."""
        return {
            f.name: f.type.list_size for f in self.schema if pa.types.is_fixed_size_list(f.type)
        }

    @cached_property
    def _batch_rows(self) -> int:
        row_bytes = 4 * sum(self._lists.values()) + 64
        return max(MIN_BATCH_ROWS, int(BATCH_BYTES // row_bytes))

    def _open(self, shard: int) -> pa.NativeFile:
        reader = RangeReader(self._store, part_name(shard), self._sizes[shard], self._meter)
        return pa.PythonFile(reader, mode="r")


def _schema(stored: pa.Schema, observables: Sequence[str]) -> pa.Schema:
    """Columns of `tokens`: stored and derived."""
    influences = influence_names(stored.names, observables)
    fields = {name: stored.field(name) for name in (*LABELS, CHI, *influences)}
    fields["subset"] = pa.field("subset", pa.string())
    fields[TEXT] = pa.field(TEXT, pa.string())
    fields[CLUSTER_ID] = pa.field(CLUSTER_ID, pa.int32())
    names = [*LABELS[:5], TEXT, CLUSTER_ID, *LABELS[5:], CHI, *influences]
    return pa.schema([fields[name].with_metadata(None) for name in names])


def _mentioned(wanted: Any, names: Sequence[str]) -> set[str]:
    """Columns named by an expression; a superset does no harm."""
    words = set() if wanted is None else set(re.findall(r"\w+", str(wanted)))
    return words & set(names)
