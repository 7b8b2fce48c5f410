"""The training stream: token arrays per group, and the order in which sequences are seen."""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from spectro.tokens.keys import keyed_rng

_BATCH_DOCUMENTS = 256


def tokenize(tokenizer: Tokenizer, documents: list[str], eot_id: int = 0) -> NDArray[np.uint16]:
    """Concatenated ids of the documents, each followed by `eot_id`; uint16 [num_tokens]."""
    parts: list[NDArray[np.uint16]] = []
    for start in range(0, len(documents), _BATCH_DOCUMENTS):
        for encoding in tokenizer.encode_batch_fast(documents[start : start + _BATCH_DOCUMENTS]):
            parts.append(np.asarray([*encoding.ids, eot_id], dtype=np.uint16))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint16)


def sequence_order(
    seed: int, counts: dict[str, int], weights: dict[str, float], num_total: int
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Group and index of each training sequence, both [num_total].

    Groups are drawn by weight; within a group every sequence is seen once per epoch, in an order
    keyed by (seed, group, epoch). The order for a larger `num_total` begins with the order for a
    smaller one, so that a resumed run may change its budget.
    """
    names = list(counts)
    share = np.array([weights[n] for n in names])
    group_S = keyed_rng(seed, "mixture").choice(len(names), size=num_total, p=share / share.sum())
    index_S = np.zeros(num_total, dtype=np.int32)
    for g, name in enumerate(names):
        if counts[name] == 0:
            raise ValueError(f"group {name!r} holds less text than one training sequence")
        slots = np.flatnonzero(group_S == g)
        num_epochs = -(-len(slots) // counts[name])
        epochs = [
            keyed_rng(seed, "epoch", name, str(e)).permutation(counts[name])
            for e in range(num_epochs)
        ]
        if epochs:
            index_S[slots] = np.concatenate(epochs)[: len(slots)]
    return group_S.astype(np.int16), index_S


def gather(
    streams: list[NDArray[np.uint16]],
    group_S: NDArray[np.int16],
    index_S: NDArray[np.int32],
    context: int,
) -> NDArray[np.int64]:
    """Sequences by (group, index); int64 [S, context + 1]."""
    rows = [
        streams[g][i * context : i * context + context + 1]
        for g, i in zip(group_S.tolist(), index_S.tolist(), strict=True)
    ]
    return np.stack(rows).astype(np.int64)
