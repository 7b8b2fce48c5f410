"""Tables of `spectro across` of tokens: clusters of a token, and one token followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from spectro.tokens.display.context_text import TokenInContext
from spectro.tokens.display.terminal_text import plain as on_one_line

from .output import NOT_KNOWN, number, plain, table

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.analysis.followed_token import FollowedToken, TokenOfRun
    from spectro.analysis.token_clusters import Across, TokenCluster, TokenInRun

MAX_LINKS = 20
"""Links that a table shows; JSON has all."""


def run_table(run: TokenInRun) -> Table:
    """The clusters of one run, with random members."""
    share = f"{run.num_clustered / run.num_occurrences:.0%}" if run.num_occurrences else "–"
    title = (
        f"{run.name}: {run.num_occurrences:,} of {run.num_tokens:,} tokens, {share} of them in "
        f"clusters, {run.num_clusters} clusters with it among their most common tokens"
    )
    columns = ("cluster", "of it", "size", "share of it", "stability")
    texts = ("most common y", "random members")
    made = table(title, (*columns, *texts), map(_cells, run.clusters), left=texts)
    made.columns[-2].max_width, made.columns[-1].no_wrap = 28, True
    return made


def _cells(cluster: TokenCluster) -> list[str | Text]:
    return [
        f"#{cluster.cluster_id}",
        f"{cluster.count:,}",
        f"{cluster.size:,}",
        f"{cluster.share:.0%}",
        number(cluster.stability),
        "  ".join(on_one_line(token) for token in cluster.top_tokens),
        Text("\n").join(_in_context(each, 26, 16) for each in cluster.contexts),
    ]


def _in_context(token: TokenInContext, before: int, after: int) -> Text:
    """A token in its context, y in reverse; so many characters on either side."""
    left = on_one_line("".join(token.before))[-before:]
    right = on_one_line("".join(token.after))[:after]
    return Text.assemble(
        (left.rjust(before), "dim"), (on_one_line(token.y), "reverse"), (right, "dim")
    )


def links_table(found: Across) -> Table:
    """Clusters of two runs that share tokens, largest Jaccard index first."""
    rows = []
    for link in sorted(found.links, key=lambda link: -link.jaccard)[:MAX_LINKS]:
        (i, j), (a, b) = link.runs, link.clusters
        matched = "yes" if link.matched else ""
        jaccard = f"{link.jaccard:.2f}"
        rows.append((found.runs[i].name, f"#{a}", found.runs[j].name, f"#{b}", jaccard, matched))
    left_out = max(0, len(found.links) - MAX_LINKS)
    caption = (
        "Of the tokens that both runs measured; matched: each the other's best of all clusters, "
        f"J ≥ 0.5.{f' {left_out} more in format=json.' if left_out else ''}"
    )
    columns = ("run", "cluster", "run", "cluster", "Jaccard", "matched")
    return table("The same tokens", columns, rows, left=("run", "matched"), caption=caption)


def across_as_dict(found: Across) -> dict[str, Any]:
    """Everything; tokens as on a terminal, None for what is not known."""
    result: dict[str, Any] = plain(found)
    for run in result["runs"]:
        for cluster in run["clusters"]:
            cluster["top_tokens"] = [on_one_line(token) for token in cluster["top_tokens"]]
            for context in cluster["contexts"]:
                for side in ("before", "after"):
                    context[side] = on_one_line("".join(context[side]))
                context["y"] = on_one_line(context["y"])
    return result


def followed_tables(found: FollowedToken, max_rows: int) -> tuple[Table, Table]:
    """A row for each run; and χ of the components where it is largest, a column for each run."""
    heads = ("run", "step", "loss", "cluster", "size", "stability", "Jaccard", "correlation")
    runs = table(
        Text.assemble("Token in context: ", _in_context(found.token, 60, 30)),
        heads, [_followed_cells(own) for own in found.runs], left=("run", "cluster"),
        caption="Cluster: the smallest that has the token. Jaccard: of its members with that in "
        "the run before; correlation: of chi with the run before.",
    )  # fmt: skip
    largest = _largest(found)
    profiles = [
        (name, *(_chi_cell(own, name) for own in found.runs)) for name in list(largest)[:max_rows]
    ]
    left_out = max(0, len(largest) - max_rows)
    caption = (
        f"Largest of any run first; ± {found.interval}."
        f"{f' {left_out} more in format=json.' if left_out else ''}"
    )
    names = (
        "component",
        *(own.name if own.step is None else f"{own.step:,}" for own in found.runs),
    )
    return runs, table(
        f"Chi of the token, {found.unit}", names, profiles, left=("component",), caption=caption
    )


def _followed_cells(own: TokenOfRun) -> list[str]:
    cluster, size, stability = "not clustered" if not own.has_clusters else "none", "", ""
    if own.cluster is not None:
        cluster = f"#{own.cluster.cluster_id} {on_one_line(own.cluster.shown)}"
        size, stability = f"{own.cluster.size:,}", number(own.cluster.stability)
    step = NOT_KNOWN if own.step is None else f"{own.step:,}"
    before = number(own.jaccard_before), number(own.correlation_before)
    return [own.name, step, number(own.loss, ".3f"), cluster, size, stability, *before]


def _largest(found: FollowedToken) -> dict[str, float]:
    """Components of any run by their largest magnitude, largest first; NaN counts as 0."""
    largest: dict[str, float] = {}
    for own in found.runs:
        for name, size in zip(own.components, np.abs(np.nan_to_num(own.x_H)), strict=True):
            largest[name] = max(float(size), largest.get(name, 0.0))
    return dict(sorted(largest.items(), key=lambda item: -item[1]))


def _chi_cell(own: TokenOfRun, name: str) -> str:
    if name not in own.components:
        return ""
    column = own.components.index(name)
    value, width = float(own.x_H[column]), float(own.half_width_H[column])
    return number(value, "+.3g") + ("" if np.isnan(width) else f" ± {width:.2g}")


def followed_as_dict(found: FollowedToken) -> dict[str, Any]:
    """Everything; tokens as on a terminal, None for what is not known."""
    result: dict[str, Any] = plain(found)
    for side in ("before", "after"):
        result["token"][side] = on_one_line("".join(result["token"][side]))
    result["token"]["y"] = on_one_line(result["token"]["y"])
    for run in result["runs"]:
        if run["cluster"] is not None:
            run["cluster"]["shown"] = on_one_line(run["cluster"]["shown"])
    return result
