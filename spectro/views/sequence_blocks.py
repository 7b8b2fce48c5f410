"""The sequences of a run, a bounded number of tokens at a time."""

from __future__ import annotations

from collections.abc import Iterator

from spectro.analysis.naming.features import SequenceBlock
from spectro.formats import tokens
from spectro.views.run_view import RunView

BLOCK_TOKENS = 1 << 16
"""Tokens in a block; a shard is read whole."""


def sequence_blocks(view: RunView, num_sequences: int | None = None) -> Iterator[SequenceBlock]:
    """All sequences, or the first ones, in order; each shard is read once."""
    total = view.info.splits["probe"].num_sequences if num_sequences is None else num_sequences
    first, step = 0, max(1, BLOCK_TOKENS // view.context)
    for shard in range(view.num_shards):
        if first >= total:
            return
        _, found = tokens.read_shard(view.root, "probe", shard, view.info)
        num = min(len(found), total - first)
        for start in range(0, num, step):
            part = slice(start, min(start + step, num))
            yield SequenceBlock(
                first_sequence=first + start,
                ids_ST1=found.ids_ST1[part],
                subset_S=found.subset_S[part],
            )
        first += num
