"""Bytes of the resident model and of a row, by which batches are sized.

Upper bounds, whatever the component: what a plan says of a stage is counted by the real calls
(planning/call_memory.py), and the tests hold these bounds against them. A *row* is a token position
of one variant. With D hidden, F inner size, H heads, s bytes of a number (4, or 8 in float64):

    row, scoring     s·(8D + 2F), or 15D if that is more (attention's copies): its terms, the joined
                     stream and its copies, one layer's norm, inner activation and its image
    row, stepping    scoring + 3F + 4D for the component's own, and for every layer above what its
                     backward pass reads: streams 2D, queries, keys, values, their copies and the
                     mixture 6D, and F; where all weights move also the products' inputs
    position         the clean states: s·(H + 6)D, a term per head; with top-K lists K·D more

Products of less than float32 (`product_bytes` 2) have results in float32: rounded operands come
on top, one layer's in scoring, all layers' in stepping.
"""

from __future__ import annotations

import math

from spectro.models.cost.budget import CPU_ROWS, CPU_STEP_BYTES
from spectro.models.scoring import TOP_K_SHARE
from spectro.models.size import ModelSize

FLOAT_BYTES = 4
LOGIT_COPIES = 4
"""Logits, their float32 copy, log-probabilities and a temporary."""


def cpu_scoring_rows(size: ModelSize) -> int:
    """Rows of a scoring pass on a CPU."""
    if not size.is_universal:
        return CPU_ROWS
    return max(1, min(CPU_ROWS, CPU_STEP_BYTES // scoring_bytes_per_row(size)))


def cpu_stepping_rows(size: ModelSize) -> int:
    """Rows of a step on a CPU."""
    rows = max(1, CPU_STEP_BYTES // stepping_bytes_per_row(size))
    return min(CPU_ROWS, rows) if size.is_universal else rows


def resident_bytes(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """The model: its weights, and a copy in the products' type where that is another."""
    copy = product_bytes if product_bytes < FLOAT_BYTES else 0
    return size.num_weights * (_stream_bytes(product_bytes) + copy)


def require_fits(
    size: ModelSize, product_bytes: int, context: int, card_bytes: float, card: str
) -> None:
    """Raise ValueError, in one line, unless a card holds the model and a pass over one sequence.

    Args:
        size, product_bytes: the model, and bytes of a number in its products.
        context: T.
        card_bytes: all memory of one card.
        card: its name in the message.
    """
    model = resident_bytes(size, product_bytes)
    of_pass = context * scoring_bytes_per_row(size, product_bytes)
    if model + of_pass <= card_bytes:
        return
    copy = ", or tf32 products, which need no second copy" if product_bytes < FLOAT_BYTES else ""
    raise ValueError(
        f"the model does not fit one GPU: it takes {model / 1e9:,.1f} GB and a pass over one "
        f"sequence of {context} tokens {of_pass / 1e9:,.1f} GB, {card} has {card_bytes / 1e9:,.1f} "
        f"GB; a worker holds a whole model, so take a larger card{copy}"
    )


def scoring_bytes_per_row(
    size: ModelSize, product_bytes: int = FLOAT_BYTES, list_size: int = 0
) -> int:
    """Bytes per row without gradients, where every row has a separate position.

    Clean states included: what a batch of one draw needs, which is the most that rows can need.
    With a top-K softmax a batch has one position for `TOP_K_SHARE` rows. The universal engine has
    all logits of a row at once, beside which the rest is small.
    """
    if size.is_universal:
        return LOGIT_COPIES * size.vocab_size * FLOAT_BYTES
    row, clean = _scoring_row(size, product_bytes), clean_bytes_per_position(size, product_bytes)
    lists = list_bytes_per_position(size, list_size, product_bytes) if list_size else 0
    return row + clean + math.ceil(lists / TOP_K_SHARE)


def stepping_bytes_per_row(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """Bytes per row with gradients where all weights move (`full`), clean states included."""
    own = _stream_bytes(product_bytes) * (3 * size.intermediate_size + 4 * size.hidden_size)
    saved = size.num_layers * _saved_by_layer(size, product_bytes, all_move=True)
    if size.is_universal:
        own += 2 * LOGIT_COPIES * size.vocab_size * FLOAT_BYTES
    forward = _scoring_row(size, product_bytes) + clean_bytes_per_position(size, product_bytes)
    return forward + own + saved


def clean_bytes_per_position(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """What `prepare` keeps and makes beside the layer that it runs, per position."""
    return _stream_bytes(product_bytes) * size.hidden_size * (size.num_heads + 6)


def list_bytes_per_position(
    size: ModelSize, list_size: int, product_bytes: int = FLOAT_BYTES
) -> int:
    """Top-K lists: the embeddings of K tokens, and what belongs to one position beside."""
    listed = min(list_size, size.vocab_size)
    copy = product_bytes if product_bytes < FLOAT_BYTES else 0
    rows = listed * size.hidden_size * (_stream_bytes(product_bytes) + copy)
    return rows + _stream_bytes(product_bytes) * (4 * listed + 4 * size.hidden_size)


def _stream_bytes(product_bytes: int) -> int:
    return max(FLOAT_BYTES, product_bytes)


def _scoring_row(size: ModelSize, product_bytes: int) -> int:
    width, inner = size.hidden_size, size.intermediate_size
    numbers = 6 * width + max(2 * width + 2 * inner, 9 * width)
    return _stream_bytes(product_bytes) * numbers + _operand_bytes(size, product_bytes)


def _operand_bytes(size: ModelSize, product_bytes: int) -> int:
    """Rounded operands of one product, twice: a CPU multiplies them in float32."""
    widest = max(size.intermediate_size, 3 * size.hidden_size)
    return (FLOAT_BYTES + product_bytes) * widest if product_bytes < FLOAT_BYTES else 0


def _saved_by_layer(size: ModelSize, product_bytes: int, *, all_move: bool) -> int:
    width, inner = size.hidden_size, size.intermediate_size
    inputs = 3 * width + inner
    kept = 8 * width + inner + (inputs if all_move else 0)
    rounded = product_bytes * (inputs + 4 * width) if product_bytes < FLOAT_BYTES else 0
    return _stream_bytes(product_bytes) * kept + rounded
