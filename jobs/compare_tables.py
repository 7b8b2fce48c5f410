"""How a comparison of clusterings is told: tables for people, plain values, rows for files."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from spectro.cluster_stage.compare import ClusteringPair
from spectro.clustering.compare import EDGES, ComparedClustering
from spectro.formats.clusters.clusterings import StoredClustering
from spectro.formats.out_file import put_file
from spectro.tokens.display.terminal_text import plain_string

FOR_FILES = (".parquet", ".csv")
BEST_OF = (0.5, 0.9)
"""Quantiles of the best Jaccard indices that are told."""


def table_of(pair: ClusteringPair) -> Table:
    """One pair: counts of either side, scores, and the distribution of best indices."""
    found = pair.comparison
    title = f"{plain_string(pair.a.place.name)} (A) and {plain_string(pair.b.place.name)} (B)"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("")
    for name in ("A", "B"):
        table.add_column(name, justify="right")
    for name, a, b in zip(*_side_columns(found.a), _side_columns(found.b)[1], strict=True):
        table.add_row(name, a, b)
    table.add_section()
    for low, high, *counts in zip(
        EDGES[:-1], EDGES[1:], found.a.histogram_B, found.a.null_histogram_B,
        found.b.histogram_B, found.b.null_histogram_B, strict=True,
    ):  # fmt: skip
        told = [f"{n} ({null:.0f})" for n, null in (counts[:2], counts[2:])]
        table.add_row(f"best J {low:.1f}–{high:.1f} (by chance)", *told)
    table.caption = _scores(pair)
    table.caption_justify = "left"
    return table


def overview(pairs: list[ClusteringPair]) -> Table:
    """A line for each pair."""
    table = Table(title=f"{len(pairs)} pairs of clusterings", title_justify="left")
    table.add_column("A", overflow="fold")
    table.add_column("B", overflow="fold")
    for name in (
        "tokens", "clusters", "clustered", "in both", "ARI", "ARI both", "NMI both",
        "median best J", "matched", "by chance",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for pair in pairs:
        found = pair.comparison
        sides = (found.a, found.b)
        table.add_row(
            Text(plain_string(pair.a.place.name)),
            Text(plain_string(pair.b.place.name)),
            f"{found.num_common:,}",
            " / ".join(f"{side.num_clusters:,}" for side in sides),
            " / ".join(f"{side.num_clustered:,}" for side in sides),
            f"{found.num_both:,}",
            *(_number(x) for x in (found.ari_all, found.ari_both, found.nmi_both)),
            " / ".join(_quantile(side, 0.5) for side in sides),
            " / ".join(_share(side.share_matched) for side in sides),
            " / ".join(_share(side.null_share_matched) for side in sides),
        )
    return table


def as_dict(pair: ClusteringPair) -> dict[str, Any]:
    """The same as plain values; what has no value is None."""
    found = pair.comparison
    scores = {n: getattr(found, n) for n in ("ari_all", "ari_both", "nmi_both", "nmi_all")}
    return {
        "a": _plain(pair.a, found.a),
        "b": _plain(pair.b, found.b),
        "num_common": found.num_common,
        "num_both": found.num_both,
        "threshold": found.threshold,
        "num_matched": len(found.pairs_P2),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
    }


def clusters_of(pairs: list[ClusteringPair], out: str) -> None:
    """Put a row for each cluster of either side of every pair: Parquet or CSV, by its ending.

    clusters_of · against (places) · cluster_id · size · size_common (among the tokens of both) ·
    match_id (null where no cluster shares a token) · jaccard · jaccard_by_chance · matched.
    A file that is there is replaced; errors as `replaced` of formats/out_file.py.
    """
    rows = [
        _rows(own, side, against.place.name)
        for pair in pairs
        for own, side, against in (
            (pair.a, pair.comparison.a, pair.b),
            (pair.b, pair.comparison.b, pair.a),
        )
    ]
    table, sink = pa.concat_tables(rows), io.BytesIO()
    if out.endswith(".csv"):
        pyarrow.csv.write_csv(table, sink)
    else:
        pq.write_table(table, sink, compression="zstd")
    put_file(out, sink.getvalue())


def _rows(own: StoredClustering, side: ComparedClustering, against: str) -> pa.Table:
    match = pa.array(side.best.match_C, mask=side.best.match_C < 0)
    return pa.table(
        {
            "clusters_of": pa.array([own.place.name] * side.num_clusters, pa.string()),
            "against": pa.array([against] * side.num_clusters, pa.string()),
            "cluster_id": np.arange(side.num_clusters, dtype=np.int32),
            "size": own.size_C,
            "size_common": side.size_C,
            "match_id": match,
            "jaccard": side.best.jaccard_C,
            "jaccard_by_chance": side.null_C,
            "matched": side.matched_C,
        }
    )


def _side_columns(side: ComparedClustering) -> tuple[list[str], list[str]]:
    best = {f"{q:.0%} quantile of best J": _quantile(side, q) for q in BEST_OF}
    told = {
        "clusters": f"{side.num_clusters:,}",
        "tokens in clusters": f"{side.num_clustered:,}",
        "clusters matched": f"{int(side.matched_C.sum()):,} ({_share(side.share_matched)})",
        "best J reaches the threshold by chance": _share(side.null_share_matched),
        **best,
    }
    return list(told), list(told.values())


def _scores(pair: ClusteringPair) -> str:
    found = pair.comparison
    return (
        f"{found.num_common:,} tokens in common, {found.num_both:,} clustered in both; matched: "
        f"best of each other with J ≥ {found.threshold:g}\n"
        f"adjusted Rand {_number(found.ari_all)} (unclustered tokens on their own), "
        f"{_number(found.ari_both)} (clustered in both)\n"
        f"mutual information {_number(found.nmi_both)} (clustered in both), "
        f"{_number(found.nmi_all)} (unclustered tokens as one class)"
    )


def _plain(clustering: StoredClustering, side: ComparedClustering) -> dict[str, Any]:
    return {
        "place": clustering.place.name,
        "num_clusters": side.num_clusters,
        "num_clustered": side.num_clustered,
        "share_matched": side.share_matched if side.num_clusters else None,
        "share_by_chance": side.null_share_matched,
        "best_jaccard_bins": side.histogram_B.tolist(),
        "best_jaccard_bins_by_chance": side.null_histogram_B.tolist(),
        "config": json.loads(json.dumps(clustering.provenance.get("config"))),
    }


def _quantile(side: ComparedClustering, q: float) -> str:
    return f"{np.quantile(side.best.jaccard_C, q):.2f}" if side.num_clusters else "–"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"
