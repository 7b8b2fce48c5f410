"""The response matrix of a run: which tokens are a row, read shard by shard.

Shapes: N tokens, H components, R rows, M memberships, P pattern types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectro.analysis.patterns import NAMES, Traits, pattern_types
from spectro.analysis.principal_axes import AxesData, End, ends, principal
from spectro.analysis.response_matrix import ResponseMatrix, TokenBlock, moments_of, response_matrix
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.vocabulary import display_name
from spectro.views.cluster_names import NUM_COMMON, cluster_names
from spectro.views.cluster_tables import ragged
from spectro.views.config import MAX_ROWS, MatrixRows
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens, required_pieces, vocabulary_of

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TokenSets:
    """The rows of a matrix, and who is in them."""

    names: tuple[str, ...]
    """In the display alphabet."""
    members: Callable[[int, npt.NDArray[np.int32], npt.NDArray[np.int16]], tuple[Ints, Ints]]
    """(first token id, sequences [S, T + 1], their subsets [S]) → (row, token of the block)."""


def matrix(
    view: RunView,
    rows: MatrixRows = MatrixRows.SUBSETS,
    *,
    scaling: Scaling = Scaling.STANDARDISED,
    max_rows: int = MAX_ROWS,
    known: Vocabulary | None = None,
) -> ResponseMatrix:
    """The response matrix of a run, in two passes over its shards.

    Args:
        view: the run.
        rows: what the rows are.
        scaling: units.
        max_rows: clusters at most, largest first.
        known: the vocabulary, read here if not given.

    Raises ValueError, in one line, where there are no clusters, or no tokenizer to tell patterns;
    for more rows than memory is meant for, and for tokens that are not measured yet.
    """
    return matrix_of(view, sets_of(view, rows, max_rows, known or vocabulary_of(view)), scaling)


def matrix_of(view: RunView, sets: TokenSets, scaling: Scaling) -> ResponseMatrix:
    """The response matrix of some sets of tokens."""
    return response_matrix(
        lambda: blocks_of(view, sets),
        sets.names,
        view.components,
        scaling,
        num_strata=len(view.subset_names),
    )


def principal_axes(
    view: RunView,
    *,
    scaling: Scaling = Scaling.STANDARDISED,
    num_axes: int = 3,
    num_ends: int = 5,
    known: Vocabulary | None = None,
) -> AxesData:
    """Principal axes of the responses of all tokens, with the tokens at both ends."""
    known = known or vocabulary_of(view)
    nobody = TokenSets(names=(), members=lambda *_: (np.empty(0, np.int64), np.empty(0, np.int64)))
    moments = moments_of(lambda: blocks_of(view, nobody), covariances=True)
    found = principal(moments, ResponseScale.of(moments, scaling), view.components, num_axes)
    strongest = ends(lambda: blocks_of(view, nobody), found, num_ends)
    sides = [
        tuple(
            _ends(view, ids, scores, known)
            for ids, scores in zip(token_id_AK, score_AK, strict=True)
        )
        for token_id_AK, score_AK in (
            (strongest.high_token_id_AK, strongest.high_score_AK),
            (strongest.low_token_id_AK, strongest.low_score_AK),
        )
    ]
    return AxesData(principal=found, high=sides[0], low=sides[1])


def types_of(view: RunView, token_id_n: Ints, known: Vocabulary) -> list[tuple[str, ...]]:
    """Pattern types of some tokens; none without a tokenizer."""
    if known.pieces is None:
        return [()] * len(token_id_n)
    sequence_id, row_n = np.unique(token_id_n // view.context, return_inverse=True)
    types = pattern_types(Traits.of(known.pieces), view.sequences(sequence_id)[0])
    found_nP = types[row_n, token_id_n % view.context]
    return [tuple(NAMES[index] for index in np.flatnonzero(row)) for row in found_nP]


def _ends(
    view: RunView, token_id_K: Ints, score_K: npt.NDArray[np.float64], known: Vocabulary
) -> tuple[End, ...]:
    lit = lit_tokens(view, token_id_K, known)
    types = types_of(view, token_id_K, known)
    return tuple(
        End(lit=each, score=float(score), types=own)
        for each, score, own in zip(lit, score_K, types, strict=True)
    )


def blocks_of(view: RunView, sets: TokenSets) -> Iterator[TokenBlock]:
    """All tokens, shard by shard, with their rows."""
    for first_token_id, chi_NH in view.shards():
        first = first_token_id // view.context
        ids_ST1, subset_S = view.sequences(np.arange(first, first + len(chi_NH) // view.context))
        row_M, token_M = sets.members(first_token_id, ids_ST1, subset_S)
        yield TokenBlock(
            chi_NH=chi_NH,
            first_token_id=first_token_id,
            stratum_S=subset_S.astype(np.int64),
            row_M=row_M,
            token_M=token_M,
        )


def sets_of(view: RunView, rows: MatrixRows, max_rows: int, known: Vocabulary) -> TokenSets:
    """The rows of a matrix; errors as `matrix`."""
    view.require_measured()
    if rows is MatrixRows.SUBSETS:
        return TokenSets(names=tuple(map(display_name, view.subset_names)), members=_of_subsets)
    if rows is MatrixRows.PATTERNS:
        traits = Traits.of(required_pieces(view, known, "rows=patterns"))
        return TokenSets(names=NAMES, members=lambda _, ids_ST1, __: _of_patterns(traits, ids_ST1))
    return _clusters(view, max_rows, known)


def _of_subsets(
    _: int, ids_ST1: npt.NDArray[np.int32], subset_S: npt.NDArray[np.int16]
) -> tuple[Ints, Ints]:
    row_M = np.repeat(subset_S.astype(np.int64), ids_ST1.shape[1] - 1)
    return row_M, np.arange(row_M.size)


def _of_patterns(traits: Traits, ids_ST1: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    token_M, row_M = np.nonzero(pattern_types(traits, ids_ST1).reshape(-1, len(NAMES)))
    return row_M, token_M


def _clusters(view: RunView, max_rows: int, known: Vocabulary) -> TokenSets:
    """The largest clusters; members by token id, so that a shard's are a stretch of them."""
    stored = view.clusters
    sizes = np.asarray(stored.clusters["size"].combine_chunks())
    chosen = np.argsort(-sizes, kind="stable")[:max_rows]
    row_of_C = np.full(len(sizes), -1, np.int64)
    row_of_C[chosen] = np.arange(len(chosen))
    row_M = row_of_C[np.asarray(stored.members["cluster_id"].combine_chunks())]
    token_id_M = np.asarray(stored.members["token_id"].combine_chunks()).astype(np.int64)
    row_M, token_id_M = row_M[row_M >= 0], token_id_M[row_M >= 0]
    order = np.argsort(token_id_M, kind="stable")
    row_M, token_id_M = row_M[order], token_id_M[order]
    tops_KT = ragged(stored.clusters["top_tokens"], NUM_COMMON, np.int64, -1)
    shown_K = cluster_names(view, known).or_common(known, tops_KT)

    def members(
        first: int, ids_ST1: npt.NDArray[np.int32], _: npt.NDArray[np.int16]
    ) -> tuple[Ints, Ints]:
        last = first + len(ids_ST1) * view.context
        low, high = np.searchsorted(token_id_M, [first, last])
        return row_M[low:high], token_id_M[low:high] - first

    names = tuple(f"#{index} {shown_K[index]}" for index in chosen.tolist())
    return TokenSets(names=names, members=members)
