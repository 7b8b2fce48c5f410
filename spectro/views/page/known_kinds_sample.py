"""Sample of whole sequences of a run, for `analysis/known_kinds.py`.

Shapes: S sequences, N tokens, M memberships.
"""

from __future__ import annotations

import numpy as np

from spectro.analysis.known_kinds import Sample
from spectro.views.cluster_tables import array, members
from spectro.views.run_view import RunView

MAX_TOKENS, MAX_SHARDS = 65_536, 32
"""What is read at most: sequences from the beginnings of shards spread over the run."""


def found_sample(view: RunView) -> Sample:
    """Sequences of a run with clusters, their χ as clusters see it, and who is in which cluster."""
    sequence_id_S = sampled_sequences(view)
    token_id_N = (sequence_id_S[:, None] * view.context + np.arange(view.context)).reshape(-1)
    transform, chi_NH = view.clusters.transform, view.chi(token_id_N)
    response_N = view.response(token_id_N)
    seen_ND = transform.apply(chi_NH, response_N)
    is_by_column = transform.num_dimensions == transform.kept_K.size == len(view.components)
    token_id_M, cluster_M = members(view)
    place_M = np.searchsorted(token_id_N, token_id_M).clip(max=token_id_N.size - 1)
    inside_M = token_id_N[place_M] == token_id_M
    return Sample(
        ids_ST1=view.sequences(sequence_id_S)[0],
        loss_N=array(view.labels_of(token_id_N, ["loss"])["loss"]),
        seen_ND=seen_ND,
        chi_NH=seen_ND if is_by_column else transform.standardise(chi_NH, response_N),
        components=view.components,
        token_M=place_M[inside_M],
        cluster_M=cluster_M[inside_M],
    )


def sampled_sequences(view: RunView) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Ascending ids: from each of the chosen shards equally many, from its beginning."""
    sizes = np.asarray(view.info.splits["probe"].shard_sizes)
    first = np.cumsum(sizes) - sizes
    chosen = np.unique(np.linspace(0, len(sizes) - 1, min(len(sizes), MAX_SHARDS)).astype(int))
    each = max(1, MAX_TOKENS // (view.context * len(chosen)))
    return np.concatenate([first[s] + np.arange(min(each, sizes[s])) for s in chosen])
