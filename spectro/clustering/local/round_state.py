"""State between rounds of seeds, and its checkpoint arrays.

Shapes: N tokens, C clusters, M members of all clusters in their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.clustering.local.seed_proposal import Proposal, packed, unpacked


@dataclass(kw_only=True)
class SelectionState:
    """Everything a resume needs."""

    removed: NDArray[np.uint8]
    """1 for tokens of found clusters (always 0 with overlap), [N]."""
    tried: NDArray[np.uint8]
    """1 for tokens that were seeds or removed, [N]."""
    clusters: list[Proposal] = field(default_factory=list)
    """Clusters in order of acceptance; with overlap all proposals until the last round."""
    num_rounds: int = 0
    """Rounds done."""
    num_edges: int = 0
    """Edges visited by all pushes."""
    num_duplicates: int = 0
    """ProposalPool that are a better one's tokens again, or nearly (only with overlap)."""

    def __post_init__(self) -> None:
        self.num_removed = int(self.removed.sum())
        self.num_tried = int(self.tried.sum())

    @classmethod
    def start(cls, num_tokens: int) -> "SelectionState":
        """Before the first round."""
        return cls(removed=np.zeros(num_tokens, np.uint8), tried=np.zeros(num_tokens, np.uint8))

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.tried.size

    def mark_tried(self, seed: int) -> None:
        """Mark a seed as tried; idempotent."""
        self.num_tried += 1 - int(self.tried[seed])
        self.tried[seed] = 1

    def remove(self, tokens: NDArray[np.int32]) -> None:
        """Remove a cluster's tokens, none of them removed yet, and mark them tried."""
        self.num_removed += tokens.size
        self.num_tried += tokens.size - int(self.tried[tokens].sum())
        self.removed[tokens] = 1
        self.tried[tokens] = 1

    def num_members(self) -> int:
        inside = np.zeros(self.num_tokens, bool)
        for cluster in self.clusters:
            inside[cluster.tokens] = True
        return int(inside.sum())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Checkpoint arrays: `packed` clusters, bits of removed and tried uint8 [N/8], counters
        int64 [4].
        """
        counters = [self.num_tokens, self.num_rounds, self.num_edges, self.num_duplicates]
        return {
            "removed": np.packbits(self.removed),
            "tried": np.packbits(self.tried),
            **packed(self.clusters),
            "counters": np.array(counters, np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "SelectionState":
        """Inverse of `to_arrays`; KeyError if an array is missing."""
        num_tokens, num_rounds, num_edges, num_duplicates = arrays["counters"].tolist()
        return cls(
            removed=np.unpackbits(arrays["removed"], count=num_tokens),
            tried=np.unpackbits(arrays["tried"], count=num_tokens),
            clusters=unpacked(arrays),
            num_rounds=num_rounds,
            num_edges=num_edges,
            num_duplicates=num_duplicates,
        )
