"""Names of clusters: what distinguishes their tokens, and how well it predicts who is in them.

A name is a rule over y, the tokens before it, kinds of token, repetition, subset and position,
chosen on half of the sequences. F1 says how well it predicts, in the other half, who is in the
cluster; the same is done for random sets. The names are put beside the clusters, where the page,
the map and query read them. They need the model's tokenizer.

out=<file> writes examples and a prompt for each cluster as JSON lines, for those who would have
a person or a language model name them; nothing is called. names=<file> reads names, JSON lines with
cluster_id and name (and named_by), which are then shown first; they replace those of an earlier
file, and a file without names removes them.

  spectro names runs/demo
  spectro names runs/demo out=examples.jsonl
  spectro names runs/demo names=named.jsonl
  spectro names runs/demo/control format=json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from spectro.storage.credentials import refuse_credentials
from spectro.storage.locations import local_path
from spectro.tokens.display.terminal_text import plain_string

from .command import Command
from .output import number, print_json, say, show, table
from .reading import Format, StoredRun

if TYPE_CHECKING:  # loads torch
    from spectro.views.cluster_names import ClusterNames

MAX_EXAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class NamesJob:
    """Settings of `spectro names`."""

    run: StoredRun = field(default_factory=StoredRun)
    """Run, a part of one, or a folder of clusters."""
    out: str | None = None
    """File for examples and prompts, one line of JSON for each cluster; replaced if it exists."""
    names: str | None = None
    """File of names to read, one line of JSON for each cluster that has one."""
    num_examples: int = 10
    """Members in a prompt, and as many tokens that are not in the cluster."""
    limit: int = 40
    """Clusters in the table, largest first."""
    format: Format = Format.TABLE
    """Output format: a table, or all names as one object."""

    def __post_init__(self) -> None:
        refuse_credentials(self.out or "", "out")
        if self.names is not None:
            local_path(self.names, "names", recorded=False)
        if not 1 <= self.num_examples <= MAX_EXAMPLES:
            raise ValueError(
                f"num_examples must be 1 to {MAX_EXAMPLES:,}, found {self.num_examples}: a prompt "
                "holds them all"
            )
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, found {self.limit}")


def _names(job: NamesJob) -> None:
    from spectro.formats.clusters.names import put_given_names  # not for --help
    from spectro.formats.out_file import replaced
    from spectro.views.cluster_names import cluster_names, put_cluster_names
    from spectro.views.name_examples import example_lines, read_given
    from spectro.views.run_view import RunView
    from spectro.views.token_contexts import required_pieces, vocabulary_of

    view = RunView(job.run.uri)
    known = vocabulary_of(view)
    required_pieces(view, known, "names of clusters")
    if job.names is not None:
        given = read_given(_lines(job.names), view)
        put_given_names(view.store.child(view.folder), given)
    put_cluster_names(view, known)
    names = cluster_names(view, known)
    if job.out is not None:
        with replaced(job.out) as sink:
            for line in example_lines(view, known, names, job.num_examples):
                sink.write(line.encode("ascii") + b"\n")
    if job.format is Format.JSON:
        print_json({"summary": names.summary, "clusters": _rows(names)})
        return
    sizes = view.clusters.clusters["size"].to_pylist()
    show(_table(names, job, sizes))
    say(*summary_lines(names.summary) if sizes else ("There are no clusters to name.",))
    if job.out is not None:
        say(f"examples: {job.out}")


COMMAND = Command(
    name="names", config=NamesJob, run=_names, positional=("run.uri",),
    usage="<run> [out=examples.jsonl] [names=named.jsonl] [key=value ...]",
)  # fmt: skip
main = COMMAND.main


def summary_lines(
    summary: dict[str, Any] | None, control: dict[str, Any] | None = None
) -> tuple[str, ...]:
    """How many clusters are recognisable by their names, of random sets, and of the control."""
    if summary is None:
        return ()
    if not summary["judged"]:
        return (
            f"None of {summary['sets']} clusters could be judged by its name: names are chosen on "
            f"one half of the sequences and judged by at least {summary['least_held_out']} members "
            "in the other.",
        )
    chance = ", ".join(
        f"{_share(summary[key])} of random sets of {what}"
        for key, what in (("random", "the same sizes"), ("same_y", "the same y"))
    )
    if control is not None and control["judged"]:
        chance += f"; of the control's clusters {_share(control)}"
    return (
        f"Recognisable by their names: {summary['recognisable']} of {summary['judged']} clusters "
        f"({_share(summary)}; F1 at least {summary['threshold']:g} on held-out sequences, median "
        f"{number(summary['median_f1'])}); by chance {chance}.",
    )


def _share(part: dict[str, Any]) -> str:
    return f"{part['recognisable'] / part['judged']:.0%}" if part["judged"] else "–"


def _lines(place: str) -> list[str]:
    path = Path(local_path(place, "names", recorded=False))
    if path.is_dir():
        raise ValueError(f"names={place} is a folder: give a file of JSON lines")
    try:
        return path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"names={place}: expected UTF-8 text, found another byte at {error.start}"
        ) from None


def _rows(names: ClusterNames) -> list[dict[str, Any]]:
    rates = names.table.select(["cluster_id", "auc", "base_rate", "num_held_out"]).to_pylist()
    rows = names.to_table().to_pylist()
    return [rate | row for rate, row in zip(rates, rows, strict=True)]


def _table(names: ClusterNames, job: NamesJob, size_K: list[int]) -> Table:
    """Names and held-out scores of the largest clusters; their sources where not all are rules."""
    shown = _rows(names)[: job.limit]
    has_source = any(row["name_source"] not in (None, "rule") for row in shown)
    rows = []
    for cluster, row in enumerate(shown):
        source = row["name_source"] or "–"
        by = f"{source}: {row['named_by']}" if row["named_by"] else source
        cells = (
            str(cluster), f"{size_K[cluster]:,}", row["name"] or "–", *([by] * has_source),
            *(number(row[f"name_{score}"]) for score in ("f1", "precision", "recall")),
            number(row["base_rate"], ".3f"),
            row["neighbourhood"] or "–",
        )  # fmt: skip
        rows.append(cells)
    columns = ("cluster", "tokens", "name", *(["from"] * has_source), "F1", "P", "R", "chance")
    caption = (
        "F1, precision (P) and recall (R) of the name by a rule, on sequences that it was not "
        "chosen on; chance: the precision of any token. –: no name predicts better than chance."
    )
    title = f"Names of the clusters of {plain_string(job.run.uri)}"
    return table(
        title, (*columns, "neighbourhood"), rows,
        left=("name", "from", "neighbourhood"), caption=caption,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
