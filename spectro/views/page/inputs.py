"""What the page is made of: plain arrays, no storage.

Tokens are named by token_id = sequence_id · T + position, clusters by their rows, largest first.
Shapes: S sequences that are shown, T context, H components, K clusters, E clusters with examples,
P subsets, n tokens drawn, s tokens shown in their contexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spectro.analysis.known_kinds import KnownKinds
from spectro.clustering.matching import BestMatches
from spectro.susceptibility.interval import Interval
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.page.ledger import Ledger

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Sequences that were measured, all or some."""

    sequence_id_S: Ints
    """Ascending sequence ids."""
    ids_ST1: Ints
    """Token ids [S, T+1]; y of position t is column t + 1."""
    subset_S: Ints
    """Index into subset_names."""
    subset_names: tuple[str, ...]
    """Names of the subsets."""

    def locate(self, token_id_N: Ints) -> tuple[Ints, Ints]:
        """Rows of ids_ST1 and positions t of these tokens.

        Raises ValueError if a token belongs to no probe sequence.
        """
        context = self.ids_ST1.shape[1] - 1
        sequence_N, position_N = np.divmod(np.asarray(token_id_N, dtype=np.int64), context)
        row_N = np.searchsorted(self.sequence_id_S, sequence_N)
        known_N = row_N < len(self.sequence_id_S)
        known_N[known_N] = self.sequence_id_S[row_N[known_N]] == sequence_N[known_N]
        if not known_N.all():
            raise ValueError(
                f"token_id {int(np.asarray(token_id_N)[~known_N][0])} is in none of the "
                f"{len(self.sequence_id_S)} probe sequences of {context} tokens: "
                "were clusters and tokens written by different runs?"
            )
        return row_N, position_N


@dataclass(frozen=True, kw_only=True)
class PageColumns:
    """One number per component; NaN where a column has none."""

    components: tuple[str, ...]
    """Component names, in column order."""
    reliability_H: Floats
    """Split-half reliability of each column."""
    centred_reliability_H: Floats | None = None
    """The same after standardising columns and centring rows, as clustering sees them."""
    standard_error_H: Floats | None = None
    """Standard error of χ, in the column's own units."""
    interval: Interval = Interval.over_chains(None)
    """What χ ± is."""
    mean_phi_H: Floats | None = None
    """E_C[φ], in nats."""
    threshold: float | None = None
    """Least centred reliability that the clustering asked of a column; None: it asked none."""
    left_out: tuple[str, ...] = ()
    """Components that the clusters were found without."""
    vectors: tuple[str, ...] = ()
    """What the clusters see of χ, and how reliable that is, in sentences."""
    warnings: tuple[str, ...] = ()
    """Why numbers should not be trusted as they are (susceptibility/warnings.py)."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Token ids of a cluster's members that are shown."""

    random: Ints
    """Random ones."""
    central: Ints
    """Those of highest rank, highest first."""


@dataclass(frozen=True, kw_only=True)
class PageClusters:
    """Clusters by id, largest first; K may be 0. NaN: not known."""

    size_K: Ints
    """Members."""
    conductance_K: Floats
    """In the whole graph."""
    stability_K: Floats
    """Across two halves of the chains."""
    repeatability_K: Floats
    """Best Jaccard index among clusters from other seeds: what stability can reach."""
    shared_neighbours_K: Floats
    """Share of the members' neighbours that two halves of the chains have in common."""
    q_value_K: Floats
    """That it is no more than its y, in other draws."""
    holds_K: Floats
    """1 where other seeds find it and other draws know it, else 0."""
    purity_K: Floats
    """Share of the commonest subset."""
    token_purity_K: Floats
    """Share of the commonest y."""
    mean_chi_KH: Floats
    """Mean standardised χ of the members."""
    top_tokens_KT: Ints
    """Most common y, commonest first; −1 beyond the last."""
    top_counts_KT: Ints
    """How often."""
    subset_counts_KP: Ints
    """Members per subset, columns in the order of Probe.subset_names."""
    neighbours_KM: Ints
    """Clusters of the nearest centroids, nearest first; −1 beyond the last."""
    num_clustered: int
    """Tokens that are in any of them."""
    examples_E: tuple[Examples, ...]
    """Of the first clusters: those that get a card."""

    def __len__(self) -> int:
        return len(self.size_K)

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        columns = {name: values for name, values in vars(self).items() if "_K" in name}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1 or len(self.examples_E) > len(self):
            raise ValueError(
                f"columns of clusters must be equally long, found {lengths} and examples of "
                f"{len(self.examples_E)}: were they read from different runs?"
            )


@dataclass(frozen=True, kw_only=True)
class MeasurementSummary:
    """One measurement and what was found in it: the run itself, or its control."""

    columns: PageColumns
    clusters: PageClusters


@dataclass(frozen=True, kw_only=True)
class Points:
    """The tokens of the page's map, and where they stand in the unit square."""

    xy_n2: Floats
    """Places."""
    cluster_n: Ints
    """Cluster, −1 outside; the smallest one where clusters overlap."""
    subset_n: Ints
    """Index into the subsets' names."""
    token_n: Ints
    """y."""
    centre_K2: Floats
    """Places of the clusters; NaN where no member is drawn."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything the page needs."""

    title: str
    """Name of the run."""
    facts: tuple[tuple[str, str], ...]
    """What the header says of the run: (label, value), in order, no dates."""
    provenance: str
    """Full resolved configuration and versions, as text."""
    ledger: Ledger = field(default_factory=Ledger)
    """What the run did, from its own records."""
    vocabulary: Vocabulary
    """How token ids are shown."""
    num_tokens: int
    """Tokens that were measured."""
    probe: Probe
    """The sequences of the tokens shown."""
    shown_token_id_s: Ints
    """Tokens that are shown in their contexts, ascending."""
    shown_loss_s: Floats
    """Their ℓ at w*, nats."""
    points: Points
    """The map."""
    real: MeasurementSummary
    """The run itself."""
    control: MeasurementSummary | None
    """The nβ = 0 control, None if it was not run."""
    found: tuple[KnownKinds, ...] = ()
    """Kinds of token that a reader knows; none without a tokenizer."""
    kind_K: Floats | None = None
    """Share of the commonest such kind among each cluster's sampled members; NaN: too few."""
    matches: BestMatches | None = None
    """Of each cluster the control's most alike, by the Jaccard index; None without a control."""

    def __post_init__(self) -> None:
        """Refuse parts that belong to different runs."""
        for name, side in (("run", self.real), ("control", self.control)):
            if side is not None:
                _check_widths(name, side, self.probe.subset_names)
        if self.matches is not None and len(self.matches.match_C) != len(self.real.clusters):
            raise ValueError(
                f"the run has {len(self.real.clusters)} clusters, {len(self.matches.match_C)} were "
                "matched with the control: are these the matches of another clustering?"
            )


def _check_widths(name: str, side: MeasurementSummary, subset_names: Sequence[str]) -> None:
    if not len(side.clusters):
        return
    num_components, width = len(side.columns.components), side.clusters.mean_chi_KH.shape[1]
    if width != num_components:
        raise ValueError(
            f"the {name} has {num_components} components, its clusters have {width}: "
            "were the clusters found in another run?"
        )
    num_subsets = side.clusters.subset_counts_KP.shape[1]
    if num_subsets != len(subset_names):
        raise ValueError(
            f"the {name} has {len(subset_names)} subsets, its clusters have {num_subsets}: "
            "were the clusters found in another run?"
        )
