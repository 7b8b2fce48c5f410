"""Random sets of tokens, whose names say what score a name has by chance.

Shapes: G sets, n sampled tokens, M memberships.
"""

from __future__ import annotations

import numpy as np

from spectro.analysis.naming.features import Ints
from spectro.analysis.naming.name_sets import MemberSets

_KEY = 0x6E616D65  # keeps this stream apart from other uses of the same seed


def random_sets(size_G: Ints, num_tokens: int, seed: int) -> MemberSets:
    """A random set of tokens for every size."""
    sizes = np.minimum(size_G, num_tokens).tolist()
    chosen = [
        np.random.default_rng([seed, _KEY, number]).choice(num_tokens, size, replace=False)
        for number, size in enumerate(sizes)
    ]
    return _joined(chosen)


def same_y_sets(y_M: Ints, sets: MemberSets, y_n: Ints, token_id_n: Ints, seed: int) -> MemberSets:
    """For every set a random one with as many tokens of every y, from sampled tokens.

    The null hypothesis of `draw_same_y` (clustering/significance.py), which is compiled, for many
    sets per cluster drawn from all tokens. Names need one set per cluster, and what reads names
    does without numba.

    Args:
        y_M: y of the members of `sets`.
        sets: those that are imitated.
        y_n, token_id_n: y and id of the tokens to draw from; of a y that has fewer, all are taken.
        seed: key of the draws.
    """
    order_n = np.argsort(y_n, kind="stable")
    sorted_n = y_n[order_n]
    chosen = []
    for number in range(sets.num_sets):
        rng = np.random.default_rng([seed, _KEY, number, 1])
        y, count = np.unique(y_M[sets.set_M == number], return_counts=True)
        low, high = (np.searchsorted(sorted_n, y, side=side) for side in ("left", "right"))
        drawn = [
            rng.permutation(order_n[first:last])[:wanted]
            for first, last, wanted in zip(low, high, count, strict=True)
        ]
        chosen.append(token_id_n[np.concatenate([*drawn, np.empty(0, np.int64)])])
    return _joined(chosen)


def _joined(chosen: list[Ints]) -> MemberSets:
    return MemberSets(
        token_id_M=np.concatenate([*chosen, np.empty(0, np.int64)]).astype(np.int64),
        set_M=np.repeat(np.arange(len(chosen)), [len(each) for each in chosen]),
        num_sets=len(chosen),
    )
