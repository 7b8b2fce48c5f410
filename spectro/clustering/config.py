"""Configuration of the clustering stage, and the published values."""

from dataclasses import dataclass
from enum import Enum

from spectro.settings import refuse_without_effect

MATCH_THRESHOLD = 0.5
"""Least Jaccard index of a matched pair; above 1/2 a disjoint cluster has but one such partner."""
NUM_NEIGHBOURS = 5
"""Nearest other clusters that are stored of each cluster."""


class Preprocess(Enum):
    """Transform from χ to the vectors that distances are taken of."""

    RESTRICTED = "restricted"
    """Columns without the uniform mode E[φ]·B, each at unit variance (ADR 065)."""
    STANDARDISE = "standardise"
    """Unit variance per column over tokens, then zero mean per row [G]."""
    WHITEN = "whiten"
    """Principal components of the standardised columns, each at unit variance [S]."""


class ToleranceKind(Enum):
    """Unit of the push's tolerance; ε is always per unit of degree."""

    REACH = "reach"
    """ε = 1 / (reach · mean degree): independent of the number of tokens."""
    VOLUME = "volume"
    """ε = tolerance / vol(graph): a seed may spread over vol(graph) / tolerance."""
    DEGREE = "degree"
    """ε = tolerance, the published reading (1e-7)."""


class NeighbourSearch(Enum):
    """Nearest-neighbour search (ADR 025)."""

    EXACT = "exact"
    """All pairs."""
    APPROXIMATE = "approximate"
    """Random projection trees, then NN-descent; recall is measured and stored."""
    AUTO = "auto"
    """Exact up to a million tokens, approximate above."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Settings of one clustering, which depends on nothing else but χ."""

    preprocess: Preprocess = Preprocess.RESTRICTED
    """Transform of χ before distances are taken."""
    whiten_variance: float = 0.99
    """Share of the variance whose principal components are kept (only `whiten`)."""
    whiten_reliability: float | None = None
    """Keep the principal directions that are at least this reliable, from -1 to 1, instead of a
    share of the variance (only `whiten`; needs the halves of the chains); None goes by variance."""
    min_reliability: float | None = None
    """Columns whose centred split-half reliability is below this are dropped; None keeps all."""
    weigh_by_reliability: bool = False
    """Multiply each standardised column (`whiten`: each whitened direction) by √reliability, its
    share of signal."""
    num_neighbours: int = 45
    """k of the nearest-neighbour graph; published 45."""
    neighbour_search: NeighbourSearch = NeighbourSearch.AUTO
    """`exact`, `approximate`, or `auto`: exact up to a million tokens."""
    neighbour_rows: int = 2_000_000
    """Rows of a block: with more tokens than this, approximate search goes by pairs of blocks."""
    alpha: float = 0.001
    """Teleport probability of the *lazy* walk of Andersen, Chung and Lang; published 0.001."""
    tolerance_kind: ToleranceKind = ToleranceKind.REACH
    """What sets the push's tolerance ε: `reach` (default), `volume` or `degree` (published)."""
    tolerance: float = 1e-7
    """Used by `degree` (published 1e-7) and `volume`; not by `reach`."""
    reach: int = 1000
    """Nodes of mean degree over which one seed's mass may spread (only `reach`), at most half of
    the graph; also the largest cluster that can be found."""
    max_pushes: int | None = 10_000
    """Stop a seed's push after this many nodes, None never: mass locked in a tight cluster would go
    round it 1/alpha times. `localgraphclustering` stops at 100 000."""
    min_size: int = 20
    """Clusters with fewer tokens are rejected; published 20."""
    max_fraction: float = 0.99
    """Clusters with more than this share of what is left are rejected (the main body)."""
    min_rise: float = 1.1
    """Conductance must rise by this factor within twice the cluster's volume, or the seed is in
    the main body; 1 takes the least conductance of all, as published."""
    max_conductance: float = 0.8
    """Clusters that send more of their edge weight out than this are rejected; 1 accepts all."""
    overlap: bool = True
    """True tries every seed on the whole graph [S], and the order of the seeds does not matter;
    False removes each found cluster [G], and it does."""
    same_jaccard: float = 0.5
    """With `overlap`, a set of tokens whose Jaccard index with a cluster of less conductance is at
    least this is that cluster found again; 1 keeps all that differ in one token."""
    round_size: int | None = None
    """Seeds tried against the same state of the graph, None: 1/2000 of the tokens and at least
    256; the result depends on it, and not on how many workers share a round."""
    untried_fraction: float = 0.001
    """Stop when fewer than this share of the tokens have not been tried; published 0.001."""
    stability: bool = True
    """Also cluster each half of the chains, for every cluster's stability, shared neighbours and
    q-value; about three times the work. Without effect where there are no halves."""
    seed: int = 0
    """Key of the order in which tokens are tried."""

    def __post_init__(self) -> None:
        _check_range("whiten_variance", self.whiten_variance, 0.0, 1.0, include_low=False)
        _check_range("alpha", self.alpha, 0.0, 1.0, include_low=False)
        _check_range("max_fraction", self.max_fraction, 0.0, 1.0, include_low=False)
        _check_range("max_conductance", self.max_conductance, 0.0, 1.0, include_low=False)
        _check_range("same_jaccard", self.same_jaccard, 0.0, 1.0, include_low=False)
        _check_range("untried_fraction", self.untried_fraction, 0.0, 1.0)
        for name in ("min_reliability", "whiten_reliability"):
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), -1.0, 1.0)
        if self.whiten_reliability is not None and self.preprocess is not Preprocess.WHITEN:
            raise ValueError(
                "cluster.whiten_reliability needs cluster.preprocess: whiten, found "
                f"{self.preprocess.value}: there are no directions to choose from"
            )
        if not 0.0 < self.tolerance < float("inf"):
            raise ValueError(f"cluster.tolerance must be positive, found {self.tolerance}")
        for name in (
            "num_neighbours", "neighbour_rows", "reach", "min_size", "max_pushes", "round_size",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None:
                _check_at_least_one(name, value)
        if not 1.0 <= self.min_rise < float("inf"):
            raise ValueError(f"cluster.min_rise must be at least 1, found {self.min_rise}")
        if self.seed < 0:
            raise ValueError(f"cluster.seed must not be negative, found {self.seed}")
        if self.reach < self.min_size:
            raise ValueError(
                f"cluster.reach must be at least min_size ({self.min_size}), found {self.reach}: "
                "no cluster could be found"
            )
        refuse_without_effect(self, "cluster.", self._inert())

    def _inert(self) -> dict[str, str]:
        """Settings that do nothing with the others as they are → why."""
        found = {}
        if self.preprocess is not Preprocess.WHITEN:
            found["whiten_variance"] = f"with cluster.preprocess {self.preprocess.value}"
        elif self.whiten_reliability is not None:
            found["whiten_variance"] = "where cluster.whiten_reliability chooses the directions"
        if self.tolerance_kind is ToleranceKind.REACH:
            found["tolerance"] = "with cluster.tolerance_kind reach, which takes cluster.reach"
        if not self.overlap and self.same_jaccard != 1.0:  # 1, as published, is the plain rule
            found["same_jaccard"] = "with cluster.overlap false: found clusters are removed"
        return found

    @classmethod
    def published(cls, *, overlap: bool = False, seed: int = 0) -> "ClusterConfig":
        """The values of [G] as printed: tolerance 1e-7 · degree, no bound on conductance."""
        return cls(
            preprocess=Preprocess.STANDARDISE,
            tolerance_kind=ToleranceKind.DEGREE,
            tolerance=1e-7,
            max_pushes=100_000,
            min_rise=1.0,
            max_conductance=1.0,
            overlap=overlap,
            same_jaccard=1.0,
            seed=seed,
        )


def _check_range(
    name: str, value: float, low: float, high: float, *, include_low: bool = True
) -> None:
    if not (low <= value <= high) or (value == low and not include_low):
        bracket = "[" if include_low else "("
        raise ValueError(f"cluster.{name} must be in {bracket}{low:g}, {high:g}], found {value}")


@dataclass(frozen=True, kw_only=True)
class AssignConfig:
    """How new tokens are assigned."""

    num_neighbours: int | None = None
    """k old tokens that are asked; None: as many as the clusters' graph has."""
    min_share: float = 0.0
    """Least share of the weight that a token's cluster must have, in [0, 1); it must have more
    than lies in no cluster, whatever this is."""

    def __post_init__(self) -> None:
        if self.num_neighbours is not None and self.num_neighbours < 1:
            raise ValueError(
                f"assign.num_neighbours must be at least 1, found {self.num_neighbours}"
            )
        if not 0.0 <= self.min_share < 1.0:
            raise ValueError(f"assign.min_share must be in [0, 1), found {self.min_share}")


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"cluster.{name} must be at least 1, found {value}")
