"""One token in its context, in several runs: χ by component and its cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from spectro.analysis.followed_token import (
    ClusterOfToken,
    FollowedToken,
    TokenOfRun,
    correlation,
)
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import UNITS, Scaling
from spectro.formats import tokens
from spectro.formats.clusters.clusterings import find_clustering, read_clustering, shared_rows
from spectro.views.cluster_names import NUM_COMMON, cluster_names
from spectro.views.cluster_tables import floats, ragged
from spectro.views.columns import run_columns
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens, vocabulary_of
from spectro.views.token_places import cluster_of_tokens
from spectro.views.training import step_of_run


def follow_token(
    uris: Sequence[str], token_id: int, *, scaling: Scaling = Scaling.STANDARDISED
) -> FollowedToken:
    """χ and the cluster of one token of the first run, in all of them.

    A token of two runs is the same if its whole sequence is: runs of other texts are refused,
    runs that have the sequence at another place are not.

    Args:
        uris: runs, parts of runs or folders of clusters, of any models with one tokenizer; two or
            more.
        token_id: in the first run: sequence_id · T + position.
        scaling: units, of each run by itself.

    Raises ValueError, in one line, for one run, an id that no token has, a run without the
    token's sequence; DamagedObjectError.
    """
    if len(uris) < 2:
        raise ValueError(
            "a token is followed through at least two runs; of one: spectro query <run> "
            f"show={token_id}"
        )
    views = [RunView(uri) for uri in uris]
    if token_id >= views[0].num_tokens:
        raise ValueError(
            f"{uris[0]} has no token {token_id}: its ids are 0 to {views[0].num_tokens - 1}"
        )
    places = [token_id, *(_place_in(view, views[0], token_id) for view in views[1:])]
    found = [
        _of_run(view, uri, place, scaling)
        for view, uri, place in zip(views, uris, places, strict=True)
    ]
    for index, (before, own) in enumerate(pairwise(found), 1):
        found[index] = dataclasses.replace(
            own,
            jaccard_before=_jaccard((uris[index - 1], before), (uris[index], own)),
            correlation_before=correlation(own.x_H, own.components, before.x_H, before.components),
        )
    return FollowedToken(
        token=lit_tokens(views[0], np.array([token_id]), vocabulary_of(views[0]))[0],
        position=token_id % views[0].context,
        unit=UNITS[scaling],
        interval=views[0].interval.words,
        runs=tuple(found),
    )


def token_id_of(uri: str, sequence: int, position: int) -> int:
    """Id of the token at a position (from 0) of a sequence; ValueError where there is none."""
    context = RunView(uri).context
    if position >= context:
        raise ValueError(f"{uri} has contexts of {context} tokens, found position {position}")
    return sequence * context + position


def _place_in(view: RunView, first: RunView, token_id: int) -> int:
    """Id of the same token in another run."""
    sequence_id, position = divmod(token_id, first.context)
    ids_T1 = first.sequences(np.array([sequence_id]))[0][0]
    same: list[int] = []
    for shard in range(view.num_shards if view.context == first.context else 0):
        sequence_id_S, sequences = tokens.read_shard(view.root, "probe", shard, view.info)
        same += sequence_id_S[(sequences.ids_ST1 == ids_T1).all(axis=1)].tolist()
    if same:  # of repeated sequences that at the same place
        return (sequence_id if sequence_id in same else same[0]) * view.context + position
    raise ValueError(
        f"{view.uri} does not have the sequence of token {token_id} of {first.uri}: measure both "
        "on the same text, with the same tokenizer and context"
    )


def _of_run(view: RunView, uri: str, token_id: int, scaling: Scaling) -> TokenOfRun:
    chi_1H = view.chi(np.array([token_id]))
    columns = run_columns(view).columns
    scale = ResponseScale(
        kind=scaling,
        mean_H=columns.mean_C.astype(np.float64),
        deviation_H=columns.deviation_C.astype(np.float64),
    )
    varies_H = columns.deviation_C > 0
    half_width_H = view.interval.half_width(columns.error_C) / scale.unit_H
    cluster = _cluster(view, token_id) if view.has_clusters else None
    return TokenOfRun(
        name=uri,
        step=_step(view),
        token_id=token_id,
        loss=float(view.labels_of(np.array([token_id]), ["loss"])["loss"][0].as_py()),
        components=view.components,
        x_H=np.where(varies_H, scale.apply(chi_1H)[0], np.nan),
        half_width_H=np.where(varies_H, half_width_H, np.nan),
        has_clusters=view.has_clusters,
        cluster=cluster,
        jaccard_before=float("nan"),
        correlation_before=float("nan"),
    )


def _step(view: RunView) -> int | None:
    """Runs of other models have no training step in their names."""
    try:
        return step_of_run(view)
    except ValueError:
        return None


def _cluster(view: RunView, token_id: int) -> ClusterOfToken | None:
    cluster = int(cluster_of_tokens(view)[token_id])
    if cluster < 0:
        return None
    table = view.clusters.clusters
    tops_KT = ragged(table["top_tokens"], NUM_COMMON, np.int64, -1)
    known = vocabulary_of(view)
    return ClusterOfToken(
        cluster_id=cluster,
        size=int(table["size"][cluster].as_py()),
        stability=float(floats(table["stability"])[cluster]),
        shown=cluster_names(view, known).or_common(known, tops_KT)[cluster],
    )


def _jaccard(first: tuple[str, TokenOfRun], second: tuple[str, TokenOfRun]) -> float:
    """Of the token's clusters in two runs, among the tokens of both."""
    clusters = [own.cluster for _, own in (first, second)]
    if clusters[0] is None or clusters[1] is None:
        return float("nan")
    stored = [read_clustering(find_clustering(uri)) for uri, _ in (first, second)]
    row_a, row_b, _ = shared_rows(stored[0], stored[1])
    own = [
        _rows_of(rows, each.token_id_M[each.cluster_M == cluster.cluster_id])
        for rows, each, cluster in zip((row_a, row_b), stored, clusters, strict=True)
        if cluster is not None
    ]
    shared = np.intersect1d(own[0], own[1]).size
    return shared / max(1, own[0].size + own[1].size - shared)


def _rows_of(
    row_N: npt.NDArray[np.int64], token_id_n: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    row_n = row_N[token_id_n]
    return row_n[row_n >= 0]
