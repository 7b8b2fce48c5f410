"""How far clusterings agree on the tokens that both were made of: adjusted Rand index, mutual
information, of every cluster the most similar one of the other (Jaccard), clusters that are each
other's best, and what shuffled tokens would give.

A place is a run, a part of one (<run>/control) or a folder of clusters (<run>/clusters-k30), local
or on S3. Runs of other models and seeds can be compared where they have sequences in common. More
than two places give a line for each pair. Reads storage alone.

  spectro compare runs/demo runs/demo/control
  spectro compare runs/seed1 runs/seed2 runs/seed3 compare.format=json
  spectro compare runs/a s3://bucket/b compare.out=agreement.parquet   a row for every cluster
  spectro compare runs/a runs/b compare.same_token=true   chance among tokens of the same y
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from spectro.clustering.config import MATCH_THRESHOLD
from spectro.storage.credentials import refuse_credentials
from spectro.tokens.display.terminal_text import plain_string

from .command import Command
from .output import NOT_KNOWN, number, print_json, say, show, table
from .reading import Format
from .rows import ENDINGS, write_table

if TYPE_CHECKING:  # loads scipy
    from spectro.cluster_stage.compare import ClusteringPair
    from spectro.clustering.compare import ComparedClustering
    from spectro.formats.clusters.clusterings import StoredClustering

QUANTILES = (0.5, 0.9)
"""Of the best Jaccard indices, shown for either side."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which clusterings, and how their agreement is printed."""

    places: tuple[str, ...] = ("runs/demo", "runs/demo/control")
    """Runs, parts of runs (`<run>/control`) or folders of clusters; two or more."""
    threshold: float = MATCH_THRESHOLD
    """Least Jaccard index of a matched pair of clusters, in (0, 1]."""
    same_token: bool = False
    """Chance is shuffled among tokens of the same y: what agrees beyond the token itself."""
    out: str | None = None
    """File for a row per cluster of every pair: .parquet or .csv; none if null."""
    format: Format = Format.TABLE
    """Output format; JSON is a list of objects, one for each pair."""
    seed: int = 0
    """Key of the shuffles."""
    debug: bool = False
    """Show tracebacks on the terminal."""

    def __post_init__(self) -> None:
        for place in self.places:
            refuse_credentials(place, "compare.places")
        if len(self.places) < 2:
            raise ValueError(
                f"compare.places must name at least two clusterings, found {len(self.places)}: "
                "spectro compare <run> <run>"
            )
        if not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"compare.threshold must be in (0, 1], found {self.threshold}")
        if self.out is not None and not self.out.endswith(ENDINGS):
            raise ValueError(f"compare.out must end in {' or '.join(ENDINGS)}, found {self.out}")
        if self.seed < 0:
            raise ValueError(f"compare.seed must not be negative, found {self.seed}")


@dataclass(frozen=True, kw_only=True)
class CompareJob:
    """Settings of `spectro compare`."""

    compare: CompareConfig = field(default_factory=CompareConfig)
    """Which clusterings."""


def _compare(job: CompareJob) -> None:
    from spectro.cluster_stage.compare import compare_all  # not for --help

    config = job.compare
    pairs = compare_all(
        config.places, threshold=config.threshold, seed=config.seed, same_token=config.same_token
    )
    if config.out is not None:
        write_table(_rows(pairs), config.out)
    if config.format is Format.JSON:
        print_json([_as_dict(pair) for pair in pairs])
        return
    show(_overview(pairs) if len(pairs) > 1 else _pair_table(pairs[0]))
    if config.out is not None:
        say(f"clusters: {config.out}")


COMMAND = Command(
    name="compare", config=CompareJob, run=_compare, positional=("compare.places",),
    any_number=True, usage="<place> <place> [<place> ...] [compare.key=value ...]",
)  # fmt: skip
main = COMMAND.main


def _pair_table(pair: ClusteringPair) -> Table:
    """One pair: counts of either side, scores, and the distribution of best indices."""
    from spectro.clustering.compare import EDGES  # as above

    found = pair.comparison
    (names, a), (_, b) = _side_column(found.a), _side_column(found.b)
    made = table(
        f"{plain_string(pair.a.place.name)} (A) and {plain_string(pair.b.place.name)} (B)",
        ("", "A", "B"), zip(names, a, b, strict=True), left=("",), caption=_scores(pair),
    )  # fmt: skip
    made.add_section()
    for low, high, *counts in zip(
        EDGES[:-1], EDGES[1:], found.a.histogram_B, found.a.null_histogram_B,
        found.b.histogram_B, found.b.null_histogram_B, strict=True,
    ):  # fmt: skip
        cells = [f"{n} ({null:.0f})" for n, null in (counts[:2], counts[2:])]
        made.add_row(f"best J {low:.1f}–{high:.1f} (by chance)", *cells)
    return made


def _side_column(side: ComparedClustering) -> tuple[list[str], list[str]]:
    """Names and values of the counts of one side."""
    best = {f"{q:.0%} quantile of best J": _quantile(side, q) for q in QUANTILES}
    cells = {
        "clusters": f"{side.num_clusters:,}",
        "tokens in clusters": f"{side.num_clustered:,}",
        "clusters matched": f"{int(side.matched_C.sum()):,} ({number(side.share_matched, '.0%')})",
        "best J reaches the threshold by chance": number(side.null_share_matched, ".0%"),
        **best,
    }
    return list(cells), list(cells.values())


def _overview(pairs: list[ClusteringPair]) -> Table:
    """A line for each pair."""
    columns = (
        "A", "B", "tokens", "clusters", "clustered", "in both", "ARI", "ARI both", "NMI both",
        "median best J", "matched", "by chance",
    )  # fmt: skip
    rows = []
    for pair in pairs:
        found = pair.comparison
        sides = (found.a, found.b)
        rows.append(
            [
                plain_string(pair.a.place.name),
                plain_string(pair.b.place.name),
                f"{found.num_common:,}",
                " / ".join(f"{side.num_clusters:,}" for side in sides),
                " / ".join(f"{side.num_clustered:,}" for side in sides),
                f"{found.num_both:,}",
                *(number(x, ".3f") for x in (found.ari_all, found.ari_both, found.nmi_both)),
                " / ".join(_quantile(side, 0.5) for side in sides),
                " / ".join(number(side.share_matched, ".0%") for side in sides),
                " / ".join(number(side.null_share_matched, ".0%") for side in sides),
            ]
        )
    return table(f"{len(pairs)} pairs of clusterings", columns, rows, left=("A", "B"))


def _scores(pair: ClusteringPair) -> str:
    found = pair.comparison
    return (
        f"{found.num_common:,} tokens in common, {found.num_both:,} clustered in both; matched: "
        f"best of each other with J ≥ {found.threshold:g}\n"
        f"adjusted Rand {number(found.ari_all, '.3f')} (unclustered tokens on their own), "
        f"{number(found.ari_both, '.3f')} (clustered in both)\n"
        f"mutual information {number(found.nmi_both, '.3f')} (clustered in both), "
        f"{number(found.nmi_all, '.3f')} (unclustered tokens as one class)"
    )


def _as_dict(pair: ClusteringPair) -> dict[str, Any]:
    """Everything but the rows of clusters."""
    found = pair.comparison
    return {
        "a": _side_as_dict(pair.a, found.a),
        "b": _side_as_dict(pair.b, found.b),
        "num_common": found.num_common,
        "num_both": found.num_both,
        "threshold": found.threshold,
        "num_matched": len(found.pairs_P2),
        **{n: getattr(found, n) for n in ("ari_all", "ari_both", "nmi_both", "nmi_all")},
    }


def _side_as_dict(clustering: StoredClustering, side: ComparedClustering) -> dict[str, Any]:
    return {
        "place": clustering.place.name,
        "num_clusters": side.num_clusters,
        "num_clustered": side.num_clustered,
        "share_matched": side.share_matched if side.num_clusters else None,
        "share_by_chance": side.null_share_matched,
        "best_jaccard_bins": side.histogram_B,
        "best_jaccard_bins_by_chance": side.null_histogram_B,
        "config": clustering.provenance.get("config"),
    }


def _rows(pairs: list[ClusteringPair]) -> pa.Table:
    """A row for each cluster of either side of every pair.

    clusters_of · against (places) · cluster_id · size · size_common (among the tokens of both) ·
    match_id (null where no cluster shares a token) · jaccard · jaccard_by_chance · matched.
    """
    sides = [
        side
        for pair in pairs
        for side in (
            (pair.a, pair.comparison.a, pair.b.place.name),
            (pair.b, pair.comparison.b, pair.a.place.name),
        )
    ]
    return pa.concat_tables(
        pa.table(
            {
                "clusters_of": pa.array([own.place.name] * side.num_clusters, pa.string()),
                "against": pa.array([against] * side.num_clusters, pa.string()),
                "cluster_id": np.arange(side.num_clusters, dtype=np.int32),
                "size": own.size_C,
                "size_common": side.size_C,
                "match_id": pa.array(side.best.match_C, mask=side.best.match_C < 0),
                "jaccard": side.best.jaccard_C,
                "jaccard_by_chance": side.null_C,
                "matched": side.matched_C,
            }
        )
        for own, side, against in sides
    )


def _quantile(side: ComparedClustering, q: float) -> str:
    return f"{np.quantile(side.best.jaccard_C, q):.2f}" if side.num_clusters else NOT_KNOWN


if __name__ == "__main__":
    raise SystemExit(main())
