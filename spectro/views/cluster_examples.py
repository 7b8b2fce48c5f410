"""Members of a cluster that are shown: random ones, and those of highest rank.

Shapes: M members of all clusters together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CONTEXTS_KEY = 0x636F6E74  # keeps this stream apart from other uses of the same seed
Ints = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Token ids of a cluster's members that are shown."""

    random: Ints
    """Random ones."""
    central: Ints
    """Those of highest rank, highest first."""


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
