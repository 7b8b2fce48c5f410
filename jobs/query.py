"""Asks a measured run in SQL (DuckDB), or for what is wanted most often.

A run is the run itself, its control (<run>/control) or a folder of clusters (<run>/clusters-k30),
local or on S3. Only columns that are asked for are read; nothing can be written, and no other file
be read. Without a question: the tables that there are.

  spectro query runs/demo "select subset, avg(loss) from tokens group by 1"
  spectro query runs/demo "select text, avg(l0h1) from chi where subset = 'docs' group by 1"
  spectro query runs/demo "select * from tokens" out=tokens.parquet      all rows, all of χ
  spectro query runs/demo near=17 k=5        the tokens with the most similar χ
  spectro query runs/demo show=17            one token: context, cluster, χ by component
  spectro query runs/demo cluster=3          the members of a cluster, most central first
  spectro query runs/demo find=" the"        tokens whose y is, or contains, a text
  spectro query runs/demo "select cluster_id, feature, f1, auc from features order by f1 desc"

A .csv file has ' before text that begins with = + - @ or a tab, which spreadsheets would run as a
formula; .json and .parquet files are exact.

tokens: token_id, sequence_id, position, subset, token, text, cluster_id, loss, full_response, chi;
chi: the same, a column per component; components, clusters, members, vocabulary; after spectro sae:
features (best features of every cluster) and all_features (the best cluster of every feature); of
the control: control_tokens, control_chi, control_components, control_clusters, control_members; of
the run less its control: moved (by component), moved_tokens (the largest differences). text is y as
it is shown (␣ a space, ⏎ a line end); chi[1] is the first component.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.query.config import Limits, Window

from .command import Command
from .output import say, show, table, wide_console
from .reading import StoredRun
from .rows import write_rows

if TYPE_CHECKING:  # load DuckDB and numba
    from spectro.views.query.lookups import Answer
    from spectro.views.query.query import Query

QUESTIONS = ("sql", "near", "show", "cluster", "find")
MAX_ELEMENTS = 6
"""Elements of a list that a terminal's cell shows."""
MAX_COLUMNS = 32
"""Columns of a table that are named where all tables are listed."""
HIGHLIGHT = "bold black on bright_yellow"


class QueryFormat(Enum):
    """Output format."""

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
    """The question and the output; exactly one question, or none for the tables there are."""

    sql: str | None = None
    """A SELECT."""
    near: int | None = None
    """Token whose nearest tokens are shown."""
    k: int = 20
    """Number of nearest tokens."""
    show: int | None = None
    """Token that is shown."""
    cluster: int | None = None
    """Cluster whose members are shown."""
    find: str | None = None
    """Text that y is or contains."""
    format: QueryFormat | None = None
    """Output format; null: by the ending of `out`, a table without."""
    out: str | None = None
    """File for all rows, local or a URI; one that exists is replaced. Null: the terminal."""
    limit: int = 40
    """Rows of a table on the terminal, ≥ 1; files have all."""
    window: Window = field(default_factory=Window)
    """How much of a context is shown."""
    limits: Limits = field(default_factory=Limits)
    """Memory and threads."""

    def __post_init__(self) -> None:
        given = [name for name in QUESTIONS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"query.{given[0]} is one question and query.{given[1]} another: ask one at a time"
            )
        if self.limit < 1:
            raise ValueError(f"query.limit must be at least 1, found {self.limit}")
        refuse_credentials(self.out or "", "query.out")
        if self.out is not None and self.written is QueryFormat.TABLE:
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
        known = {each.value: each for each in QueryFormat}
        return known.get((self.out or "").rpartition(".")[2], QueryFormat.TABLE)


@dataclass(frozen=True, kw_only=True)
class QueryJob:
    """Settings of `spectro query`."""

    run: StoredRun = field(default_factory=StoredRun)
    """A run, its control or a folder of clusters."""
    query: QueryConfig = field(default_factory=QueryConfig)
    """The question and the output."""


def _query(job: QueryJob) -> None:
    from spectro.views.query.query import Query  # DuckDB: not for --help
    from spectro.views.run_view import RunView

    config, view = job.query, RunView(job.run.uri)

    def vocabulary() -> Vocabulary:
        from spectro.views.token_contexts import vocabulary_of  # transformers, for columns of text

        return vocabulary_of(view)

    with Query(view, vocabulary, config.limits) as query:
        if all(getattr(config, name) is None for name in QUESTIONS):
            show(_tables_of(query), min_width=0)
            return
        answer = None if config.sql is not None else _lookup(query, config)
        reader = query.sql(config.sql or "") if answer is None else answer.rows
        if config.out is None and config.written is QueryFormat.TABLE:
            _print_first_rows(reader, answer, config.limit)
            return
        rows = write_rows(reader, config.written.value, config.out)
        if config.out is not None:
            say(f"{rows:,} rows: {config.out}")


COMMAND = Command(
    name="query", config=QueryJob, run=_query,
    usage='<run> ["select ..."] [near=<token> k=20 | show=<token> | cluster=<id> | find="text"]',
    positional=("run.uri", "query.sql"), as_typed=("query.sql", "query.find"),
    short={
        name: f"query.{name}" for name in (*QUESTIONS, "k", "format", "out", "limit")
    },
)  # fmt: skip
main = COMMAND.main


def _lookup(query: Query, config: QueryConfig) -> Answer:
    from spectro.views.query import lookups  # as above

    if config.near is not None:
        return lookups.nearest(query, config.near, config.k, config.window)
    if config.show is not None:
        return lookups.of_token(query, config.show, config.window)
    if config.cluster is not None:
        return lookups.of_cluster(query, config.cluster, config.window)
    assert config.find is not None
    return lookups.find(query, config.find, config.window)


def _tables_of(query: Query) -> Table:
    """The tables that can be asked, with their columns."""
    rows = []
    for name, columns in query.tables.items():
        names = [f"{column} {kind.lower()}" for column, kind in columns]
        if len(names) > MAX_COLUMNS:
            names[MAX_COLUMNS:] = [f"… {len(columns)} columns"]
        rows.append((name, ", ".join(names)))
    heads = ("table", "columns")
    caption = 'spectro query <run> "select subset, avg(loss) from tokens group by 1"'
    made = table(
        f"Tables of {plain_string(query.view.uri)}", heads, rows, left=heads, caption=caption
    )
    made.show_lines = True
    return made


def _print_first_rows(reader: pa.RecordBatchReader, answer: Answer | None, limit: int) -> None:
    """The first rows, and how many there are."""
    from spectro.views.query.contexts import CONTEXT_COLUMNS  # as above

    rows, more = _first(reader, limit)
    console, names = wide_console(), reader.schema.names
    in_context = answer is not None and set(CONTEXT_COLUMNS) <= set(names)
    shown = [name for name in names if not (in_context and name in CONTEXT_COLUMNS)]
    kinds = [reader.schema.field(name).type for name in shown]
    heads = [plain_string(name) for name in shown]
    is_number = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds]
    left = [head for head, number in zip(heads, is_number, strict=True) if not number]
    cells: list[list[str | Text]] = [[_cell(row[name]) for name in shown] for row in rows]
    if in_context:
        heads, left = [*heads, "context, y lit"], [*left, "context, y lit"]
        for row, line in zip(rows, cells, strict=True):
            line.append(_highlighted([row[name] for name in CONTEXT_COLUMNS], console))
    if answer is not None and answer.context is not None:
        console.print(_highlighted(answer.context, console))
    console.print(table((answer and answer.title) or "", heads, cells, left=left))
    total = answer.num_rows if answer is not None else None
    for note in (*(answer.notes if answer else ()), *_counted(len(rows), more, total)):
        console.print(Text(note))


def _first(reader: pa.RecordBatchReader, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The first rows, and whether there are more."""
    rows: list[dict[str, Any]] = []
    for batch in reader:
        rows += batch.slice(0, limit + 1 - len(rows)).to_pylist()
        if len(rows) > limit:
            return rows[:limit], True
    return rows, False


def _counted(shown: int, more: bool, total: int | None) -> list[str]:
    if not more:
        return [] if shown else ["no rows"]
    of = "more" if total is None else f"{total:,}"
    return [f"the first {shown:,} rows; there are {of}: limit=…, or out=answer.csv for all"]


def _highlighted(context: Sequence[str], console: Console) -> Text:
    """A context with its y highlighted; in brackets where there is no colour."""
    before, y, after = (plain_string(part) for part in context)
    return Text.assemble(before, (y if console.color_system else f"⟦{y}⟧", HIGHLIGHT), after)


def _cell(value: Any) -> str:
    """One value on one line; control characters are shown, never sent to the terminal."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, list):
        shown = ", ".join(_cell(each) for each in value[:MAX_ELEMENTS])
        return f"[{shown}{f', … {len(value)}' if len(value) > MAX_ELEMENTS else ''}]"
    return plain_string(str(value))


if __name__ == "__main__":
    raise SystemExit(main())
