"""Peak memory of scoring and stepping, for sizing batches and for plans.

Upper bounds in bytes, counted over what is alive at once in `layer_group.py`, `edge_groups.py`,
`delta.py` and `chain.py`; the tests hold them against the allocator's real peak. A *row* is a
token position of one variant, a *position* is one of the batch, whatever the variants. With D
hidden, F inner size, H heads, s bytes of a number (4, or 8 in float64):

    row, scoring     s·(8D + 2F), or 15D if that is more (attention's copies): its terms, the joined
                     stream and its copies, one layer's norm, inner activation and its image
    row, stepping    scoring + 3F + 4D for the component's own, and for every layer above what its
                     backward pass reads: streams 2D, queries, keys, values, their copies and the
                     mixture 6D, and F; where all weights move also the products' inputs
    position         the clean states: s·(H + 6)D, a term per head; with top-K lists K·D more
    variant          its weights: draws, displaced copy, joined copies
    loss             the block of logits that exists at once, twice

Products of less than float32 (`product_bytes` 2) have results in float32: rounded operands come
on top, one layer's in scoring, all layers' in stepping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from spectro.models.components import Component, ComponentKind
from spectro.models.scoring import TOP_K_SHARE
from spectro.models.size import ModelSize
from spectro.models.token_loss import BLOCK
from spectro.models.top_k_softmax import LOSS_CHUNK, TOP_K_CHUNK

FLOAT_BYTES = 4
COPIES_OF_DRAW = 3
"""A draw, its displaced weights, and those joined with other draws'."""
COPIES_OF_STEP = 7
"""δ and V before and after the step, displaced weights, gradient, and one joined copy."""
TEMPORARIES_OF_STEP = 6
"""Noise and intermediate results of the update rule, of one component at a time."""
COPIES_OF_BLOCK = 2
"""Logits, which become exponentials in place, and those rounded."""
COPIES_OF_LOGITS = 3
"""Whole logits, their softmax, and the probabilities of the rest, where lists are made."""


def resident_bytes(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """The model: its weights, and a copy in the products' type where that is another."""
    copy = product_bytes if product_bytes < FLOAT_BYTES else 0
    return size.num_weights * (_stream_bytes(product_bytes) + copy)


def scoring_bytes_per_row(
    size: ModelSize, product_bytes: int = FLOAT_BYTES, list_size: int = 0
) -> int:
    """Bytes per row without gradients, where every row has a separate position.

    Clean states included: what a batch of one draw needs, which is the most that rows can need.
    With a top-K softmax a batch has one position for `TOP_K_SHARE` rows.
    """
    row, clean = _scoring_row(size, product_bytes), clean_bytes_per_position(size, product_bytes)
    lists = list_bytes_per_position(size, list_size, product_bytes) if list_size else 0
    return row + clean + math.ceil(lists / TOP_K_SHARE)


def stepping_bytes_per_row(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """Bytes per row with gradients where all weights move (`full`), clean states included."""
    own = _stream_bytes(product_bytes) * (3 * size.intermediate_size + 4 * size.hidden_size)
    saved = size.num_layers * _saved_by_layer(size, product_bytes, all_move=True)
    return scoring_bytes_per_row(size, product_bytes) + own + saved


def clean_bytes_per_position(size: ModelSize, product_bytes: int = FLOAT_BYTES) -> int:
    """What `prepare` keeps and makes beside the layer that it runs, per position."""
    return _stream_bytes(product_bytes) * size.hidden_size * (size.num_heads + 6)


def loss_bytes(size: ModelSize, num_rows: int, device_type: str = "cpu") -> int:
    """The block of logits of so many rows."""
    rows, columns = BLOCK.get(device_type, BLOCK["cuda"])
    return COPIES_OF_BLOCK * FLOAT_BYTES * min(rows, num_rows) * min(columns, size.vocab_size)


def list_bytes_per_position(
    size: ModelSize, list_size: int, product_bytes: int = FLOAT_BYTES
) -> int:
    """Top-K lists: the embeddings of K tokens, and what belongs to one position beside."""
    listed = min(list_size, size.vocab_size)
    copy = product_bytes if product_bytes < FLOAT_BYTES else 0
    rows = listed * size.hidden_size * (_stream_bytes(product_bytes) + copy)
    return rows + _stream_bytes(product_bytes) * (4 * listed + 4 * size.hidden_size)


def list_bytes(size: ModelSize, device_type: str = "cpu") -> int:
    """Whole logits while lists are made, and listed ones while they are used."""
    used = LOSS_CHUNK.get(device_type, LOSS_CHUNK["cuda"])
    return COPIES_OF_LOGITS * FLOAT_BYTES * (TOP_K_CHUNK * size.vocab_size + used)


def variant_bytes(size: ModelSize, component: Component) -> int:
    """Weights of one variant while it is scored."""
    return COPIES_OF_DRAW * FLOAT_BYTES * size.weights_of(component)


def scoring_bytes(
    size: ModelSize,
    components: Sequence[Component],
    *,
    num_positions: int,
    num_variants: int,
    list_size: int = 0,
    product_bytes: int = FLOAT_BYTES,
    device_type: str = "cpu",
) -> int:
    """Peak of one scoring pass of variants of these components, beyond the resident model."""
    rows = num_positions * (1 if _one_at_a_time(components[0]) else num_variants)
    clean = num_positions * clean_bytes_per_position(size, product_bytes)
    prepare = num_positions * _scoring_row(size, product_bytes)
    weights = num_variants * max(variant_bytes(size, c) for c in components)
    each = max(_passing_row(size, c, product_bytes) for c in components)
    passing = rows * each + weights
    lists = 0
    if list_size:
        each = list_bytes_per_position(size, list_size, product_bytes)
        lists = num_positions * each + list_bytes(size, device_type)
    loss = loss_bytes(size, max(rows, num_positions), device_type)
    return clean + lists + max(prepare, passing) + loss


def stepping_bytes(
    size: ModelSize,
    components: Sequence[Component],
    *,
    num_positions: int,
    num_chains: int = 1,
    product_bytes: int = FLOAT_BYTES,
    device_type: str = "cpu",
) -> int:
    """Peak of one step beyond the resident model: activations, and what moves.

    Args:
        size: the model.
        components: those of a group that step together.
        num_positions: of the minibatches of all chains, or of a micro-batch of them.
        num_chains: chains that step together.
        product_bytes: of the products' type.
        device_type: where it runs.
    """
    weights = [size.weights_of(component) for component in components]
    all_move = components[0].kind is ComponentKind.FULL
    above = size.layers_above(components[0])
    saved = above * _saved_by_layer(size, product_bytes, all_move=all_move)
    row = len(components) * (saved + _scoring_row(size, product_bytes))
    row += sum(_own_bytes(size, c, product_bytes) for c in components)
    row += clean_bytes_per_position(size, product_bytes)
    moving = COPIES_OF_STEP * num_chains * sum(weights) + TEMPORARIES_OF_STEP * max(weights)
    loss = loss_bytes(size, num_positions * len(components), device_type)
    return num_positions * row + FLOAT_BYTES * moving + loss


def _one_at_a_time(component: Component) -> bool:
    """Whether variants pass one after the other rather than as one batch."""
    return component.kind in (ComponentKind.FULL, ComponentKind.UNEMBED)


def _stream_bytes(product_bytes: int) -> int:
    return max(FLOAT_BYTES, product_bytes)


def _scoring_row(size: ModelSize, product_bytes: int) -> int:
    width, inner = size.hidden_size, size.intermediate_size
    numbers = 6 * width + max(2 * width + 2 * inner, 9 * width)
    return _stream_bytes(product_bytes) * numbers + _operand_bytes(size, product_bytes)


def _passing_row(size: ModelSize, component: Component, product_bytes: int) -> int:
    """A row of one component's variants; below no layer it never meets an inner activation."""
    is_narrow = component.kind is ComponentKind.HEAD and size.parallel_residual
    if size.layers_above(component) == 0 and is_narrow:
        narrow = _stream_bytes(product_bytes) * 8 * size.hidden_size
        return narrow + _operand_bytes(size, product_bytes)
    return _scoring_row(size, product_bytes)


def _operand_bytes(size: ModelSize, product_bytes: int) -> int:
    """Rounded operands of one product, twice: a CPU multiplies them in float32."""
    widest = max(size.intermediate_size, 3 * size.hidden_size)
    return (FLOAT_BYTES + product_bytes) * widest if product_bytes < FLOAT_BYTES else 0


def _own_bytes(size: ModelSize, component: Component, product_bytes: int) -> int:
    """What the backward pass of a component reads of the component itself, per row."""
    width, inner = size.hidden_size, size.intermediate_size
    if component.kind is ComponentKind.MLP:
        numbers = 3 * inner + 4 * width
    elif component.kind is ComponentKind.HEAD:
        numbers = 8 * size.head_size + 2 * width
        numbers += 0 if size.parallel_residual else inner + 4 * width
    else:
        numbers = 4 * width
    return _stream_bytes(product_bytes) * numbers


def _saved_by_layer(size: ModelSize, product_bytes: int, *, all_move: bool) -> int:
    width, inner = size.hidden_size, size.intermediate_size
    inputs = 3 * width + inner
    kept = 8 * width + inner + (inputs if all_move else 0)
    rounded = product_bytes * (inputs + 4 * width) if product_bytes < FLOAT_BYTES else 0
    return _stream_bytes(product_bytes) * kept + rounded
