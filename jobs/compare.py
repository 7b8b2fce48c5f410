"""`spectro compare A B [C ...] [compare.key=value ...]`: how far clusterings agree.

Reads storage alone. Two places give a table of both directions, more give one line for each pair.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum

from rich.console import Console

from jobs.compare_tables import FOR_FILES, as_dict, clusters_of, overview, table_of
from jobs.launch import launch
from spectro.cluster_stage.compare import ClusteringPair, compare_all
from spectro.clustering.config import MATCH_THRESHOLD
from spectro.storage.credentials import refuse_credentials

LEAST_WIDTH = 130


class CompareFormat(Enum):
    """How it is told."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """A list of objects, one for each pair."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which clusterings, and how their agreement is told."""

    places: tuple[str, ...] = ()
    """Runs, parts of runs (`<run>/control`) or folders of clusters; two or more."""
    threshold: float = MATCH_THRESHOLD
    """Least Jaccard index of a matched pair of clusters, in (0, 1]."""
    same_token: bool = False
    """Chance is shuffled among tokens of the same y: what agrees beyond the token itself."""
    out: str | None = None
    """File for a row per cluster of every pair: .parquet or .csv; none if null."""
    format: CompareFormat = CompareFormat.TABLE
    """`table` or `json`."""
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
        if self.out is not None and not self.out.endswith(FOR_FILES):
            raise ValueError(f"compare.out must end in {' or '.join(FOR_FILES)}, found {self.out}")
        if self.seed < 0:
            raise ValueError(f"compare.seed must not be negative, found {self.seed}")


@dataclass(frozen=True, kw_only=True)
class CompareJob:
    """Which clusterings."""

    compare: CompareConfig
    """Which, and how they are told."""


def main() -> int:
    """Compose, tell; returns the exit status."""
    return launch("compare", "compare_job", CompareJob, _compare)


def _compare(job: CompareJob) -> None:
    config = job.compare
    pairs = compare_all(
        config.places,
        threshold=config.threshold,
        seed=config.seed,
        same_token=config.same_token,
    )
    if config.out is not None:
        clusters_of(pairs, config.out)
    if config.format is CompareFormat.JSON:
        print(json.dumps([as_dict(pair) for pair in pairs], indent=1, ensure_ascii=False))
        return
    _tell(pairs, config.out)


def _tell(pairs: list[ClusteringPair], out: str | None) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(LEAST_WIDTH, console.width))
    if len(pairs) > 1:
        console.print(overview(pairs))
    else:
        console.print(table_of(pairs[0]))
    if out is not None:
        console.print(f"clusters: {out}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
