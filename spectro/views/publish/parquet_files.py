"""Tables as Parquet files that the hub's viewer and `load_dataset` read.

Row groups are limited by their size in memory: the viewer fails above 286 MiB, and the million rows
that pyarrow takes are more, of a wide χ. Lists of one length stay fixed_size_list.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PARTS = "part-*.parquet"
"""Glob of the files of a table."""
ROW_GROUP_BYTES = 100 << 20
FILE_BYTES = 1 << 30
"""In memory; a file is closed once it has so much."""


class ParquetFiles:
    """The files of one table, `<folder>/part-NNNNN.parquet`.

    Args:
        folder: made if absent.
        schema: of all rows.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = self._file_bytes = self._number = 0
        self._writer: pq.ParquetWriter | None = None
        self.num_rows = 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, table: pa.Table) -> None:
        """Append rows; they are on the disk once a row group is full, and after `close`."""
        self._waiting.append(table.cast(self._schema))
        self._waiting_bytes += table.nbytes
        self.num_rows += table.num_rows
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> int:
        """Write what is left; the number of rows in all. A table without rows has one file."""
        if self._waiting or not self._number:
            self._flush()
        self._end_file()
        return self.num_rows

    def _flush(self) -> None:
        rows = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        row_bytes = max(1, rows.nbytes // max(1, rows.num_rows))
        self._open().write_table(rows, row_group_size=max(1, ROW_GROUP_BYTES // row_bytes))
        self._file_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
        if self._file_bytes >= FILE_BYTES:
            self._end_file()

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            path = self._folder / f"part-{self._number:05d}.parquet"
            self._writer = pq.ParquetWriter(
                path, self._schema, compression="zstd", write_page_index=True
            )
            self._number += 1
        return self._writer

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._file_bytes = None, 0
