"""Makes names of a run's clusters: reads the sequences, block by block, and writes nothing.

Shapes: K clusters, M memberships, n sampled tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from spectro.analysis.naming.features import Ints, Lexicon, SequenceBlock
from spectro.analysis.naming.name_sets import MemberSets, SetName, name_sets
from spectro.analysis.naming.null_sets import random_sets, same_y_sets
from spectro.analysis.naming.recognisable import summary_of_names
from spectro.analysis.naming.rules import Rule, rule_text
from spectro.clustering.config import NUM_NEIGHBOURS
from spectro.formats.clusters.names import SCHEMA, StoredNames
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.terminal_text import plain
from spectro.tokens.display.vocabulary import display_name
from spectro.views.cluster_tables import members, ragged
from spectro.views.run_view import RunView
from spectro.views.sequence_blocks import sequence_blocks

MAX_NULL_SETS = 256
"""Clusters at most, a keyed sample, that random sets imitate."""
MAX_NULL_TOKENS = 1 << 20
"""Tokens at most, of a keyed sample of sequences, that sets of the same y are drawn from."""
_KEY = 0x6E756C6C  # keeps this stream apart from other uses of the same seed


def made_names(view: RunView, known: Vocabulary) -> StoredNames:
    """Rules and scores of all clusters, of neighbourhoods, and of random sets to compare with."""
    lexicon = lexicon_of(view, known)
    clusters = _clusters(view)
    imitated, random, same_y = _null_sets(view, clusters)
    around = _neighbourhoods(view, clusters)
    parts = (clusters, around, random, same_y)
    found = name_sets(lambda: blocks_of(view), MemberSets.joined(*parts), lexicon)
    named, of_around, of_random, of_same_y = _split(found, [part.num_sets for part in parts])
    summary = summary_of_names(named, of_random, of_same_y) | {"imitated": imitated}
    text = [name_text(name.rule, view, known) for name in named]
    return StoredNames(
        table=_table(named, text, of_around, view, known, lexicon, summary["chance_auc"]),
        summary=summary,
    )


def name_token_sets(view: RunView, known: Vocabulary, sets: MemberSets) -> list[str]:
    """Names that distinguish sets of clustered tokens from each other, in the display alphabet.

    Empty without a tokenizer.
    """
    if known.pieces is None or not sets.num_sets:
        return [""] * sets.num_sets
    found = name_sets(lambda: blocks_of(view), sets, lexicon_of(view, known), among_members=True)
    return [name_text(name.rule, view, known) for name in found]


def blocks_of(view: RunView) -> Iterator[SequenceBlock]:
    """The sequences of the tokens that the clusters were found among, in order."""
    num_tokens = int(view.clusters.provenance["statistics"]["num_tokens"])
    return sequence_blocks(view, num_tokens // view.context)


def lexicon_of(view: RunView, known: Vocabulary) -> Lexicon:
    assert known.pieces is not None
    return Lexicon.of(known.pieces, view.subset_names)


def _clusters(view: RunView) -> MemberSets:
    token_id_M, cluster_M = members(view)
    return MemberSets(
        token_id_M=token_id_M,
        set_M=cluster_M.astype(np.int64),
        num_sets=view.clusters.clusters.num_rows,
    )


def _neighbourhoods(view: RunView, clusters: MemberSets) -> MemberSets:
    """Every cluster together with its nearest clusters; a token counts once."""
    near_KM = ragged(view.clusters.clusters["neighbours"], NUM_NEIGHBOURS, np.int64, -1)
    near_KM = np.concatenate([np.arange(clusters.num_sets)[:, None], near_KM], axis=1)
    order_M = np.argsort(clusters.set_M, kind="stable")
    token_id_M = clusters.token_id_M[order_M]
    ends = np.searchsorted(clusters.set_M[order_M], np.arange(clusters.num_sets + 1))
    own = [
        np.unique(np.concatenate([token_id_M[ends[k] : ends[k + 1]] for k in row if k >= 0]))
        for row in near_KM.tolist()
    ]
    return MemberSets(
        token_id_M=np.concatenate(own),
        set_M=np.repeat(np.arange(len(own)), [len(each) for each in own]),
        num_sets=len(own),
    )


def _null_sets(view: RunView, clusters: MemberSets) -> tuple[int, MemberSets, MemberSets]:
    """How many clusters are imitated, by sets of their sizes, and by sets of their y."""
    num = min(clusters.num_sets, MAX_NULL_SETS)
    chosen = np.random.default_rng([0, _KEY]).permutation(clusters.num_sets)[:num]
    place_G = np.full(clusters.num_sets, -1)
    place_G[np.sort(chosen)] = np.arange(num)
    own_M = place_G[clusters.set_M] >= 0
    sampled = MemberSets(
        token_id_M=clusters.token_id_M[own_M],
        set_M=place_G[clusters.set_M[own_M]],
        num_sets=num,
    )
    y_M, y_n, token_id_n, num_tokens = _read_y(view, sampled.token_id_M)
    size_G = np.bincount(sampled.set_M, minlength=num)
    return (
        num,
        random_sets(size_G, num_tokens, seed=0),
        same_y_sets(y_M, sampled, y_n, token_id_n, seed=0),
    )


def _read_y(view: RunView, token_id_M: Ints) -> tuple[Ints, Ints, Ints, int]:
    """y of some tokens [M]; y and id of the tokens of sampled sequences [n]; number of tokens."""
    num_tokens = int(view.clusters.provenance["statistics"]["num_tokens"])
    num_sequences = num_tokens // view.context
    rng = np.random.default_rng([0, _KEY, 1])
    kept = rng.permutation(num_sequences)[: max(1, MAX_NULL_TOKENS // view.context)]
    is_kept_S = np.zeros(num_sequences, bool)
    is_kept_S[kept] = True
    order_M = np.argsort(token_id_M, kind="stable")
    sorted_M = token_id_M[order_M]
    y_M = np.empty(token_id_M.size, np.int64)
    y_n, token_id_n = [], []
    for block in blocks_of(view):
        y_N = block.ids_ST1[:, 1:].reshape(-1).astype(np.int64)
        first = block.first_token_id
        low, high = np.searchsorted(sorted_M, [first, first + y_N.size]).tolist()
        y_M[order_M[low:high]] = y_N[sorted_M[low:high] - first]
        own_N = np.flatnonzero(np.repeat(is_kept_S[block.sequence_id_S], view.context))
        y_n.append(y_N[own_N])
        token_id_n.append(own_N + first)
    return y_M, np.concatenate(y_n), np.concatenate(token_id_n), num_tokens


def _table(
    names: Sequence[SetName],
    text: Sequence[str],
    around: Sequence[SetName],
    view: RunView,
    known: Vocabulary,
    lexicon: Lexicon,
    chance_auc: float,
) -> pa.Table:
    scores = [name.score for name in names]
    columns: dict[str, Sequence[Any]] = {
        "cluster_id": range(len(names)),
        "name": [plain(each) or None for each in text],
        "rule": [
            None if n.rule is None else json.dumps(n.rule.to_dict(lexicon), ensure_ascii=False)
            for n in names
        ],
        "beyond_chance": [n.rule is not None and n.score.auc > chance_auc for n in names],
        **{name: [getattr(score, name) for score in scores]
           for name in ("precision", "recall", "f1", "auc", "base_rate")},
        "num_held_out": [score.num_members for score in scores],
        "neighbourhood": [plain(name_text(name.rule, view, known)) or None for name in around],
        "neighbourhood_f1": [name.score.f1 for name in around],
    }  # fmt: skip
    arrays = [
        pa.array(columns[field.name], field.type, from_pandas=True)  # NaN becomes null
        for field in SCHEMA
    ]
    return pa.table(arrays, SCHEMA)


def name_text(rule: Rule | None, view: RunView, known: Vocabulary) -> str:
    if rule is None or not rule.values:
        return ""
    return rule_text(rule, known.show, [display_name(name) for name in view.subset_names])


def _split(found: Sequence[SetName], sizes: Sequence[int]) -> Iterator[Sequence[SetName]]:
    first = 0
    for size in sizes:
        yield found[first : first + size]
        first += size
