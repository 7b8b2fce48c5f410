"""Look-ups of single tokens and clusters, without SQL.

nearest        the tokens nearest to one, exactly, shard by shard
of_token       one token: context, cluster, χ by component with errors
of_cluster     a cluster's members in their contexts
find           tokens whose y is a text, or contains it

Shapes: N tokens of a batch, K neighbours, H components, D dimensions of the clusters' space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.clustering.vectors.moments import Moments, merge
from spectro.clustering.vectors.transform import Transform
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.formats.deviations import read_deviations
from spectro.formats.halves import NoHalvesError, read_half
from spectro.formats.product import CHI, RESPONSE, SUMMARY_NAME
from spectro.formats.shard_file import matrix
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.tokens.display.terminal_text import plain_token
from spectro.views.autoencoder.stored import NUM_FEATURES, stored_match
from spectro.views.query.config import Window
from spectro.views.query.contexts import AFTER, BEFORE, Y, contexts, labelled
from spectro.views.query.query import Query

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A table with title and notes."""

    title: str
    rows: pa.RecordBatchReader
    """All rows, made once as they are read; with `CONTEXT_COLUMNS` for tokens in context."""
    num_rows: int
    notes: tuple[str, ...] = ()
    """Sentences."""
    context: tuple[str, str, str] | None = None
    """Context of a single token: before y, y, after it."""

    @cached_property
    def table(self) -> pa.Table:
        """The rows not read yet."""
        return self.rows.read_all()


def nearest(query: Query, token_id: int, k: int, window: Window) -> Answer:
    """The k tokens nearest to one, itself left out; ties by token id.

    Euclidean distance in the space of the clusters here (their transform), or of standardised χ
    without clusters. Compares every token, batch by batch.

    Raises ValueError for a token that does not exist or is not measured.
    """
    if k < 1:
        raise ValueError(f"query.k must be at least 1, found {k}")
    own = _row_of(query, token_id)
    place, space = _space(query)
    own_D = place(own)[0]
    best_id, best = np.empty(0, np.int64), np.empty(0)
    for batch in query.rows.batches(["token_id", RESPONSE, CHI], None):
        ids_N = np.asarray(batch.column("token_id"))
        gap_ND = place(pa.Table.from_batches([batch])).astype(np.float64) - own_D
        distance_N = np.sqrt((gap_ND**2).sum(axis=1))
        others_N = ids_N != token_id
        best_id = np.concatenate([best_id, ids_N[others_N]])
        best = np.concatenate([best, distance_N[others_N]])
        order = np.lexsort((best_id, best))[:k]
        best_id, best = best_id[order], best[order]
    found = pa.table({"token_id": best_id, "distance": best})
    return Answer(
        title=f"{found.num_rows} tokens nearest to {token_id} {_shown(query, token_id)}",
        rows=labelled(query, found, window),
        num_rows=found.num_rows,
        notes=(f"Euclidean distance between {space}; exact.",),
    )


def of_token(query: Query, token_id: int, window: Window) -> Answer:
    """One token: a row per component, strongest first; its context, its cluster and the features
    of this are notes.

    `half_width_95` is the column's (root mean square over tokens), half the width of the 95 %
    interval of χ by Student's t over the chains; in its place predicted χ has `deviation`, the
    standard deviation of the error of each number. `standardised` is χ less the column's mean over
    its deviation, where clusters know them; `first_half` and `second_half` are χ from disjoint
    halves of the chains, where they are stored.

    Raises ValueError for a token that is not there, or has not been measured.
    """
    own = _row_of(query, token_id)
    chi_H = matrix(own[CHI])[0]
    labels = labelled(query, pa.table({"token_id": [token_id]}), window)
    (row,) = labels.read_all().to_pylist()
    summary = with_nan(query.view.summary) if query.view.store.exists(SUMMARY_NAME) else {}
    unknown_H = [float("nan")] * chi_H.size
    error, error_words = _error(query, token_id, summary.get("standard_error", unknown_H))
    columns: dict[str, Any] = {
        "component": list(query.rows.components),
        CHI: chi_H,
        **error,
        "standardised": _standardised(query, own),
        "first_half": _half(query, token_id, 0),
        "second_half": _half(query, token_id, 1),
        "reliability": np.array(summary.get("reliability", unknown_H), np.float32),
    }
    kept = {name: values for name, values in columns.items() if values is not None}
    order = np.argsort(-np.abs(kept.get("standardised", chi_H)), kind="stable")
    cluster = "no cluster" if row["cluster_id"] is None else f"cluster {row['cluster_id']}"
    notes = (
        f"subset {row['subset']}, sequence {row['sequence_id']}, position {row['position']}; loss "
        f"{row['loss']:.3f} nats; {cluster}",
        *_features(query, row["cluster_id"]),
        "χ below the column's mean: the component supports y; above: it suppresses y. "
        + error_words,
    )
    return Answer(
        title=f"token {token_id}",
        rows=pa.table(kept).take(order).to_reader(),
        num_rows=chi_H.size,
        notes=notes,
        context=(row[BEFORE], row[Y], row[AFTER]),
    )


def _error(
    query: Query, token_id: int, standard_error: list[float]
) -> tuple[dict[str, Float32], str]:
    """The column of errors of a token's χ, and a sentence."""
    interval = query.view.interval
    if query.view.is_predicted:
        shard, row = _place(query, token_id)
        said = f"χ ± {interval.quantile:.2f} deviation is the 95 % interval of each prediction."
        return {"deviation": read_deviations(query.view.store, shard)[row]}, said
    said = f"χ ± half_width_95 is the column's over all tokens: {interval.words}."
    return {"half_width_95": interval.half_width(standard_error).astype(np.float32)}, said


def of_cluster(query: Query, cluster_id: int, window: Window) -> Answer:
    """The members of a cluster, most central first.

    Raises ValueError without clusters, or for an unknown id.
    """
    _require_clusters(query)
    facts = query.table("select * from clusters where cluster_id = ?", cluster_id).to_pylist()
    if not facts:
        number = query.table("select count(*) as n from clusters").to_pylist()[0]["n"]
        last = f"its ids are 0 to {number - 1}" if number else "it found none"
        raise ValueError(
            f"{query.view.uri}/{query.view.folder} has no cluster {cluster_id}: {last}"
        )
    found = query.table(
        "select token_id, rank, cluster_id from members where cluster_id = ? "
        "order by rank desc, token_id",
        cluster_id,
    )
    (fact,) = facts
    tops = zip(fact["top_text"], fact["top_tokens"], fact["top_counts"], strict=True)
    common = "  ".join(f"{text or token} ×{count}" for text, token, count in tops)
    return Answer(
        title=f"cluster {cluster_id}: {fact['size']} tokens{_named(fact)}",
        rows=labelled(query, found, window),
        num_rows=found.num_rows,
        notes=(
            f"conductance {fact['conductance']:.3f}, {_evidence_words(fact)}; {common}",
            *_features(query, cluster_id),
        ),
    )


def _features(query: Query, cluster_id: int | None) -> tuple[str, ...]:
    """Sentence on a cluster's best features; none where clusters are not matched to any."""
    found = None if cluster_id is None else stored_match(query.view)
    if found is None or cluster_id is None:
        return ()
    own = found.features_of(cluster_id, NUM_FEATURES)
    said = "; ".join(f"{each.text} (F1 {each.f1:.2f}, AUC {each.auc:.2f})" for each in own)
    return (
        f"best features of cluster {cluster_id} ({found.title}): "
        f"{said or 'none is active on its tokens'}",
    )


def _named(fact: Mapping[str, Any]) -> str:
    """The name, and where it is from."""
    if fact.get("name") is None:
        return ""
    f1 = fact.get("name_f1")
    score = "not judged" if f1 is None else f"F1 {f1:.2f}"
    by = "from a file" if fact["name_source"] == "file" else f"by a rule, {score}"
    return f", {fact['name']} ({by})"


def _evidence_words(fact: Mapping[str, Any]) -> str:
    """Sentence on a cluster's stability and repeatability."""
    names = {
        "stability": "stability", "repeatability": "repeatability",
        "shared_neighbours": "shared neighbours", "q_value": "q",
    }  # fmt: skip
    known = [
        f"{said} {'not known' if fact.get(name) is None else format(fact[name], '.2f')}"
        for name, said in names.items()
    ]
    if fact.get("holds") is not None:
        known.append("holds" if fact["holds"] else "does not hold")
    return ", ".join(known)


def find(query: Query, text: str, window: Window) -> Answer:
    """Tokens whose y is a text (`match`), then those whose y contains it.

    Raises ValueError for an empty text, or an unknown vocabulary.
    """
    if not text:
        raise ValueError('query.find is empty: give a part of a token, as in find=" the"')
    if query.pieces is None:
        raise ValueError(
            "query.find needs the vocabulary, and the model's tokenizer is not there: "
            'ask by number, as in "select * from tokens where token = 17"'
        )
    exact, holding = query.known.spelled(text)
    found = query.table(
        "select token_id, if(list_contains($1::int[], token), 'is', 'contains') as match "
        "from tokens where token in (select unnest($2::int[])) order by match desc, token_id",
        exact, holding,
    )  # fmt: skip
    return Answer(
        title=f"{found.num_rows} tokens whose y is or contains {plain_token(text.encode())}",
        rows=labelled(query, found, window),
        num_rows=found.num_rows,
        notes=(_found(query, text, len(holding), len(exact)),),
    )


def _found(query: Query, text: str, num_holding: int, num_exact: int) -> str:
    """Numbers of vocabulary entries that contain and equal a text; else how it is encoded."""
    if not num_holding:
        written = query.known.written(text)
        return f"No entry of the vocabulary contains it{written and f'; {written}'}."
    exact = {0: "none is it", 1: "one is it"}.get(num_exact, f"{num_exact} are it")
    return f"{num_holding} entries of the vocabulary contain it, {exact}."


def _row_of(query: Query, token_id: int) -> pa.Table:
    if not 0 <= token_id < query.view.num_tokens:
        last = query.view.num_tokens - 1
        raise ValueError(f"{query.view.uri} has no token {token_id}: its ids are 0 to {last}")
    found = query.table("select full_response, chi from tokens where token_id = ?", token_id)
    if not found.num_rows:
        raise ValueError(
            f"{query.view.uri}: token {token_id} has not been measured yet; go on with spectro "
            f"resume run.uri={query.view.uri}"
        )
    return found


def _given(rows: pa.Table) -> tuple[Float32, Float32]:
    """χ and B of some rows, as input of a transform."""
    return matrix(rows[CHI]), np.asarray(rows[RESPONSE], np.float32)


def _space(query: Query) -> tuple[Callable[[pa.Table], Float32], str]:
    """Transform of rows to the compared vectors, and its name."""
    transform = _transform(query)
    if transform is not None:
        name = query.view.folder

        def place(rows: pa.Table) -> Float32:
            return transform.apply(*_given(rows))

        return place, f"preprocessed χ, as {name} have it ({transform.kind.value})"
    moments: Moments | None = None
    for batch in query.rows.batches([CHI], None):
        own = Moments.of(matrix(pa.chunked_array([batch.column(CHI)])), covariances=False)
        moments = own if moments is None else merge(moments, own)
    assert moments is not None
    scale_H = np.where(moments.scale_H > 0, moments.scale_H, 1.0)
    mean_H = moments.mean_H

    def standardised(rows: pa.Table) -> Float32:
        return ((matrix(rows[CHI]) - mean_H) / scale_H).astype(np.float32)

    return standardised, "standardised χ"


def _transform(query: Query) -> Transform | None:
    if not query.view.has_clusters:
        return None
    provenance = read_sealed(query.view.store.child(query.view.folder), PROVENANCE)
    return Transform.from_dict(with_nan(provenance["transform"]))


def _standardised(query: Query, row: pa.Table) -> Float32 | None:
    transform = _transform(query)
    return None if transform is None else transform.standardise(*_given(row))[0]


def _half(query: Query, token_id: int, half: Any) -> Float32 | None:
    """χ of a token from one half of the chains, [H]; None without halves."""
    shard, row = _place(query, token_id)
    try:
        own_H: Float32 = read_half(query.view.store, shard, half)[row]
    except (NoHalvesError, FileNotFoundError):
        return None
    return own_H


def _place(query: Query, token_id: int) -> tuple[int, int]:
    """Shard and row of a token."""
    shard = query.view.shard_of(token_id // query.view.context)
    first = sum(query.view.info.splits["probe"].shard_sizes[:shard])
    return shard, token_id - first * query.view.context


def _shown(query: Query, token_id: int) -> str:
    return str(contexts(query, np.array([token_id]), Window(before=0, after=0))[Y][0])


def _require_clusters(query: Query) -> None:
    if not query.view.has_clusters:
        raise ValueError(
            f"{query.view.uri} has no clusters yet: make them with spectro cluster "
            f"run.uri={query.view.uri}"
        )
