"""How one token across runs is told: a table for each run, one of links, plain values."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from jobs.shown import lit_line, on_one_line
from spectro.analysis.token_clusters import Across, TokenCluster, TokenInRun

MOST_LINKS = 20
"""Links that a table shows; JSON has all."""


def run_table(run: TokenInRun) -> Table:
    """The clusters of one run, with random members lit."""
    share = _share(run.num_clustered, run.num_occurrences)
    table = Table(
        title=Text(
            f"{run.name}: {run.num_occurrences:,} of {run.num_tokens:,} tokens, {share} of them in "
            f"clusters, {run.num_clusters} clusters with it among their most common tokens"
        ),
        title_justify="left",
    )
    for name in ("cluster", "of it", "size", "share of it", "stability"):
        table.add_column(name, justify="right")
    table.add_column("most common y", overflow="fold", max_width=28)
    table.add_column("random members", no_wrap=True)
    for cluster in run.clusters:
        table.add_row(*_cells(cluster))
    return table


def _cells(cluster: TokenCluster) -> list[str | Text]:
    lines = [lit_line(lit, 26, 16) for lit in cluster.contexts]
    return [
        f"#{cluster.cluster_id}",
        f"{cluster.count:,}",
        f"{cluster.size:,}",
        f"{cluster.share:.0%}",
        "–" if math.isnan(cluster.stability) else f"{cluster.stability:.2f}",
        Text("  ".join(on_one_line(token) for token in cluster.top_tokens)),
        Text("\n").join(lines),
    ]


def links_table(found: Across) -> Table:
    """Clusters of two runs that share tokens, largest Jaccard index first."""
    table = Table(title="The same tokens", title_justify="left")
    for name in ("run", "cluster", "run", "cluster"):
        table.add_column(name, overflow="fold", justify="right" if name == "cluster" else "left")
    table.add_column("Jaccard", justify="right")
    table.add_column("matched")
    for link in sorted(found.links, key=lambda link: -link.jaccard)[:MOST_LINKS]:
        (i, j), (a, b) = link.runs, link.clusters
        table.add_row(
            Text(found.runs[i].name), f"#{a}", Text(found.runs[j].name), f"#{b}",
            f"{link.jaccard:.2f}", "yes" if link.matched else "",
        )  # fmt: skip
    left_out = max(0, len(found.links) - MOST_LINKS)
    table.caption = (
        "Of the tokens that both runs measured; matched: each the other's best of all clusters, "
        f"J ≥ 0.5.{f' {left_out} more in format=json.' if left_out else ''}"
    )
    table.caption_justify = "left"
    return table


def as_dict(found: Across) -> dict[str, Any]:
    """The same as plain values; tokens as on a terminal, None for what is not known."""
    plain: dict[str, Any] = asdict(found)
    for run in plain["runs"]:
        for cluster in run["clusters"]:
            cluster["top_tokens"] = [on_one_line(token) for token in cluster["top_tokens"]]
            for name in ("stability", "conductance"):
                if math.isnan(cluster[name]):
                    cluster[name] = None
            for lit in cluster["contexts"]:
                lit["before"] = on_one_line("".join(lit["before"]))
                lit["after"] = on_one_line("".join(lit["after"]))
                lit["y"] = on_one_line(lit["y"])
    return plain


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
