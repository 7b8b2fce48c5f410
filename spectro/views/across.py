"""One token in several runs: its clusters in each, and which of them are the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from spectro.analysis.token_clusters import (
    Across,
    Link,
    TokenCluster,
    TokenInRun,
    clusters_with,
    counts_of,
    ids_of,
    links,
)
from spectro.formats.clusters.clusterings import (
    StoredClustering,
    find_clustering,
    read_clustering,
    shared_rows,
)
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_examples import random_members
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens, required_pieces, vocabulary_of

NUM_TOP_TOKENS = 8
"""Common tokens of a cluster that are named."""


@dataclass(frozen=True, kw_only=True)
class _RunOfToken:
    """One run, read."""

    view: RunView
    stored: StoredClustering
    summary: TokenInRun
    written: str
    """How its tokenizer writes the token; "" where that is not known."""


def across(
    uris: Sequence[str],
    token: str,
    *,
    max_clusters: int = 6,
    num_contexts: int = 4,
    seed: int = 0,
) -> Across:
    """The clusters of one token in each run.

    Args:
        uris: runs, parts of runs or folders of clusters; one or more.
        token: its text; white space around y is ignored unless · ⏎ ⇥ stand for it (`ids_of`).
        max_clusters: shown of each run, most occurrences first.
        num_contexts: random members with that y shown of each cluster.
        seed: key of the random members.

    Raises ValueError, in one line, for a place without clusters, a run whose tokenizer is not at
    hand, and a token that no run's vocabulary has; DamagedObjectError.
    """
    runs = [_read(uri, token, max_clusters, num_contexts, seed) for uri in uris]
    if not any(run.summary.num_occurrences for run in runs):
        written = next((f"; {run.written}" for run in runs if run.written), "")
        raise ValueError(
            f"no token of {', '.join(uris)} is {token!r}: white space around it is ignored, "
            f"capitals are not; · ⏎ ⇥ stand for space, line break and tab{written}"
        )
    found, notes = _links(runs)
    return Across(
        token=token,
        runs=tuple(run.summary for run in runs),
        links=tuple(found),
        notes=tuple(notes),
        subset_names=tuple(dict.fromkeys(name for r in runs for name in r.view.subset_names)),
    )


def _read(uri: str, token: str, max_clusters: int, num_contexts: int, seed: int) -> _RunOfToken:
    view = RunView(uri)
    stored = read_clustering(find_clustering(uri))
    known = vocabulary_of(view)
    ids = ids_of(token, required_pieces(view, known, "spectro across"))
    ids = ids if ids.size else np.array(known.entry(token), np.int64)
    y_N = np.asarray(view.labels(["token"])["token"].combine_chunks())[: stored.num_tokens]
    is_token_N = np.isin(y_N, ids)
    tops = view.clusters.clusters["top_tokens"].to_pylist()
    counts = counts_of(is_token_N, stored.token_id_M, stored.cluster_M, len(tops))
    having = clusters_with(ids, tops)
    order = having[np.argsort(-counts[having], kind="stable")][:max_clusters]
    clusters = [
        _cluster(view, stored, index, is_token_N, int(counts[index]), known, (num_contexts, seed))
        for index in order.tolist()
    ]
    summary = TokenInRun(
        name=uri,
        num_tokens=stored.num_tokens,
        num_occurrences=int(is_token_N.sum()),
        num_clustered=int(np.unique(stored.token_id_M[is_token_N[stored.token_id_M]]).size),
        num_clusters=len(having),
        clusters=tuple(clusters),
    )
    return _RunOfToken(view=view, stored=stored, summary=summary, written=known.written(token))


def _cluster(
    view: RunView,
    stored: StoredClustering,
    index: int,
    is_token_N: npt.NDArray[np.bool_],
    count: int,
    known: Vocabulary,
    choice: tuple[int, int],
) -> TokenCluster:
    row = view.clusters.clusters.slice(index, 1).to_pylist()[0]
    num_contexts, seed = choice
    own = stored.token_id_M[stored.cluster_M == index]
    chosen = random_members(own[is_token_N[own]], index, num_contexts, seed)
    lit = lit_tokens(view, chosen, known)
    return TokenCluster(
        cluster_id=index,
        size=int(row["size"]),
        count=count,
        share=count / max(1, int(is_token_N.sum())),
        conductance=float(row["conductance"]),
        stability=float("nan") if row["stability"] is None else float(row["stability"]),
        top_tokens=tuple(map(known.show, row["top_tokens"][:NUM_TOP_TOKENS])),
        contexts=tuple(lit),
    )


def _links(runs: list[_RunOfToken]) -> tuple[list[Link], list[str]]:
    """Links of all pairs, and a sentence for each pair that has no tokens in common."""
    found: list[Link] = []
    notes: list[str] = []
    for (i, a), (j, b) in combinations(enumerate(runs), 2):
        try:
            row_a, row_b, num_rows = shared_rows(a.stored, b.stored)
        except ValueError as error:  # runs of other text can be looked at, not matched
            notes.append(f"Not matched: {error}.")
            continue
        shown = [[cluster.cluster_id for cluster in run.summary.clusters] for run in (a, b)]
        both = a.stored.among(row_a, num_rows), b.stored.among(row_b, num_rows)
        found += links(*both, (shown[0], shown[1]), (i, j))
    return found, notes
