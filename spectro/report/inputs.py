"""What a page is made of: plain arrays, no storage.

Shapes: N measured tokens, S probe sequences, T context, H components, K clusters,
M members of all clusters together, P subsets, D coordinates the clustering saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The sequences that were measured; token_id = sequence_id · T + position."""

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
class Columns:
    """One number per component; NaN where a column has none."""

    components: tuple[str, ...]
    """Component names, in column order."""
    reliability_H: Floats
    """Split-half reliability of each column."""
    centred_reliability_H: Floats | None = None
    """The same after standardising columns and centring rows, as clustering sees them."""
    standard_error_H: Floats | None = None
    """Standard error of χ, in the column's own units."""
    mean_phi_H: Floats | None = None
    """E_C[φ], in nats."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Clusters and their members; K may be 0."""

    cluster_id_K: Ints
    size_K: Ints
    conductance_K: Floats
    purity_K: Floats
    """Share of the commonest subset."""
    mean_chi_KH: Floats
    """Mean standardised χ of the members."""
    top_tokens_K: tuple[tuple[tuple[int, int], ...], ...]
    """Most common y of each cluster: (token id, count), commonest first."""
    subset_counts_KP: Ints
    """Members per subset, columns in the order of Probe.subset_names."""
    member_token_id_M: Ints
    member_cluster_id_M: Ints
    neighbours_K: tuple[tuple[int, ...], ...] | None = None
    """Ids of the clusters with the nearest centroids, nearest first; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement and what was found in it: the run itself, or its control."""

    columns: Columns
    clusters: Clusters


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything the page needs."""

    title: str
    """Name of the run."""
    facts: tuple[tuple[str, str], ...]
    """What the header says of the run: (label, value), in order, no dates."""
    provenance: str
    """Full resolved configuration and versions, as text."""
    vocabulary: Sequence[bytes | None]
    """Bytes of each token id; None where the tokenizer has no such id."""
    probe: Probe
    token_id_N: Ints
    """Every measured token, ascending."""
    loss_N: Floats
    """ℓ at w*, nats."""
    points_ND: Floats
    """Preprocessed χ, as the clustering saw it."""
    real: Measurement
    control: Measurement | None
    """The nβ = 0 control, None if it was not run."""

    def __post_init__(self) -> None:
        """Refuse parts that belong to different runs."""
        found = {len(self.token_id_N), len(self.loss_N), len(self.points_ND)}
        if len(found) != 1:
            raise ValueError(
                f"token_id, loss and points must be equally long, found lengths {sorted(found)}: "
                "were they read from different runs?"
            )
        for name, side in (("run", self.real), ("control", self.control)):
            if side is not None:
                _check_width(name, side)


def _check_width(name: str, side: Measurement) -> None:
    num_components = len(side.columns.components)
    width = side.clusters.mean_chi_KH.shape[1]
    if len(side.clusters.cluster_id_K) and width != num_components:
        raise ValueError(
            f"the {name} has {num_components} components, its clusters have {width}: "
            "were the clusters found in another run?"
        )
