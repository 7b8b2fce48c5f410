"""Members of a cluster that are shown, random and most central ones, and tokens in their contexts.

Shapes: M members of all clusters together.
"""

from collections.abc import Iterable

import numpy as np

from spectro.tokens.display.context_text import Context
from spectro.views.page.config import ReportConfig
from spectro.views.page.inputs import Examples, Ints, Probe

_CONTEXTS_KEY = 0x636F6E74  # keeps this stream apart from other uses of the same seed


def examples(
    token_id_M: Ints,
    cluster_M: Ints,
    clusters: Iterable[int],
    *,
    num_random: int,
    num_central: int,
    seed: int,
) -> tuple[Examples, ...]:
    """Random members and those of highest rank of some clusters; the same in every view.

    Args:
        token_id_M, cluster_M: members by cluster and falling rank, as they are stored.
        clusters: ids of those that are asked for.
        num_random, num_central: members of each kind, fewer if the cluster is smaller.
        seed: key of the random ones.
    """
    found = []
    for cluster in clusters:
        start, stop = np.searchsorted(cluster_M, [cluster, cluster + 1])
        own_m = token_id_M[start:stop]
        random = random_members(own_m, cluster, num_random, seed)
        found.append(Examples(random=random, central=own_m[:num_central]))
    return tuple(found)


def random_members(member_M: Ints, cluster_id: int, number: int, seed: int) -> Ints:
    """Some of a cluster's members, or of a part of them, uniformly without replacement.

    Keyed by (seed, cluster id): the choice does not depend on which others are made.
    """
    rng = np.random.default_rng([seed, _CONTEXTS_KEY, cluster_id])
    return rng.permutation(np.sort(member_M))[:number]


def contexts(probe: Probe, token_ids: Ints, config: ReportConfig) -> list[Context]:
    """These tokens with what stands around them in their sequences."""
    rows, positions = probe.locate(token_ids)
    return [
        _context(probe, int(token_id), int(row), int(position), config)
        for token_id, row, position in zip(token_ids, rows, positions, strict=True)
    ]


def _context(probe: Probe, token_id: int, row: int, position: int, config: ReportConfig) -> Context:
    ids = probe.ids_ST1[row]
    target = position + 1
    start = max(0, target - config.tokens_before)
    return Context(
        token_id=token_id,
        subset=int(probe.subset_S[row]),
        position=position,
        before=tuple(ids[start:target].tolist()),
        y=int(ids[target]),
        after=tuple(ids[target + 1 : target + 1 + config.tokens_after].tolist()),
        clipped=start > 0,
    )
