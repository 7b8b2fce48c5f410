"""Flops of every call of a `GroupModel`, exactly (design §3).

Counted are matrix products and attention, two flops per multiply-add; what is elementwise
(norms, activations, rotary, softmax, noise, updates) is not. Causal attention is counted as the
full T × T, as torch's own counter does: the two products of a forward pass, and the five of a
backward pass that recomputes the scores. `flop_counter.counting()` counts a real call by the same
convention, and the tests hold the two equal.

With N = B·T rows, D hidden, F inner and K head size, V vocabulary, a layer's forward costs
    2N·D·3D + 4B·H·T²K + 2N·D·D  (attention)   +   2·2N·D·F  (MLP)
and the output 2N·D·V. Backward passes: through weights that stay, as much as the forward; into
weights that move, as much again for their own gradient. The loss takes the stream's gradient in
the forward pass where the output matrix stays (models/loss.py).

Everything is per variant (R = 1) and linear in variants and in sequences.
"""

from __future__ import annotations

from spectro.models.components import Component, ComponentKind, Group
from spectro.models.size import ModelSize


def product_flops(rows: int, inputs: int, outputs: int) -> int:
    """[rows, inputs] @ [inputs, outputs]."""
    return 2 * rows * inputs * outputs


def attention_flops(num_heads: int, num_seq: int, num_pos: int, head_size: int) -> int:
    """Scores and mixing of causal attention, counted as the full T × T."""
    return num_seq * num_heads * 2 * product_flops(num_pos, head_size, num_pos)


def attention_backward_flops(num_heads: int, num_seq: int, num_pos: int, head_size: int) -> int:
    """Scores again, and gradients of scores, values, queries and keys: five products for two."""
    return attention_flops(num_heads, num_seq, num_pos, head_size) * 5 // 2


def layer_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """Forward of one whole layer."""
    return (
        _layer_products(size, num_seq * num_pos)
        + attention_flops(size.num_heads, num_seq, num_pos, size.head_size)
    )  # fmt: skip


def output_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """One product of all rows with the output matrix."""
    return product_flops(num_seq * num_pos, size.hidden_size, size.vocab_size)


def model_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """Forward of the whole model and its losses."""
    return size.num_layers * layer_flops(size, num_seq, num_pos) + output_flops(
        size, num_seq, num_pos
    )


def prepare_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int) -> int:
    """`prepare`: the layers below, a layer itself, and each head of the group by itself."""
    kind = group.components[0].kind
    layer = layer_flops(size, num_seq, num_pos)
    if kind is ComponentKind.UNEMBED:
        return size.num_layers * layer
    if kind in (ComponentKind.EMBED, ComponentKind.FULL):
        return 0
    index = group.components[0].layer
    assert index is not None
    num_heads = sum(c.kind is ComponentKind.HEAD for c in group.components)
    return (index + 1) * layer + num_heads * _head_flops(size, num_seq, num_pos)


def clean_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int) -> int:
    """`clean_losses`: from what `prepare` keeps, through the layers above, to the losses."""
    return _suffix_flops(size, group.components[0], num_seq, num_pos)


def losses_flops(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    """`losses` of one variant, without gradient."""
    own = _own_forward(size, component, num_seq, num_pos)
    return own + _suffix_flops(size, component, num_seq, num_pos)


def gradient_flops(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    """`losses` of one variant with gradient, and its backward pass into the component alone."""
    rows, kind = num_seq * num_pos, component.kind
    output = output_flops(size, num_seq, num_pos)
    forward = losses_flops(size, component, num_seq, num_pos)
    if kind is ComponentKind.UNEMBED:
        return forward + 2 * output  # logits again, then the matrix's gradient
    above = size.layers_above(component)
    back = _layer_backward(size, num_seq, num_pos)
    if kind is ComponentKind.FULL:
        weights = above * _layer_products(size, rows)
        return forward + above * back + weights + 3 * output  # logits again, both gradients
    return forward + output + above * back + _own_backward(size, component, num_seq, num_pos)


def lists_flops(size: ModelSize, group: Group, num_seq: int, num_pos: int) -> int:
    """Short lists of a batch in `prepare`: its stream to the top, the logits, the rest's mean.

    They hold ℓ(w*) too, so `clean_losses` then takes nothing.
    """
    above = size.layers_above(group.components[0]) * layer_flops(size, num_seq, num_pos)
    return above + 2 * output_flops(size, num_seq, num_pos)


def listed_losses_flops(
    size: ModelSize, component: Component, num_seq: int, num_pos: int, list_size: int
) -> int:
    """`losses` of one variant from short lists of K: K logits, the rest's mean and covariance."""
    rows, width = num_seq * num_pos, size.hidden_size
    instead = product_flops(rows, width, min(list_size, size.vocab_size) + width + 2)
    output = output_flops(size, num_seq, num_pos)
    return losses_flops(size, component, num_seq, num_pos) - output + instead


def shortlisting_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """`fit_top_k`, once per worker: the covariance outside the lists of some sequences."""
    width = size.hidden_size
    covariance = product_flops(width + 1, size.vocab_size, width)
    return model_flops(size, num_seq, num_pos) + covariance


def sums_flops(num_tokens: int) -> int:
    """Both running sums of one draw over tokens (susceptibility/score.py)."""
    return product_flops(num_tokens, 1, 2)


def _layer_products(size: ModelSize, rows: int) -> int:
    width = size.hidden_size
    attention = product_flops(rows, width, 4 * width)
    return attention + 2 * product_flops(rows, width, size.intermediate_size)


def _layer_backward(size: ModelSize, num_seq: int, num_pos: int) -> int:
    """Activation gradients through one layer whose weights stay."""
    return _layer_products(size, num_seq * num_pos) + attention_backward_flops(
        size.num_heads, num_seq, num_pos, size.head_size
    )


def _suffix_flops(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    above = size.layers_above(component) * layer_flops(size, num_seq, num_pos)
    return above + output_flops(size, num_seq, num_pos)


def _head_flops(size: ModelSize, num_seq: int, num_pos: int) -> int:
    return product_flops(num_seq * num_pos, size.hidden_size, 4 * size.head_size) + attention_flops(
        1, num_seq, num_pos, size.head_size
    )


def _mlp_flops(size: ModelSize, rows: int) -> int:
    return 2 * product_flops(rows, size.hidden_size, size.intermediate_size)


def _own_forward(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    """A displaced component by itself; a sequential layer's MLP reads the displaced heads."""
    rows = num_seq * num_pos
    if component.kind is ComponentKind.MLP:
        return _mlp_flops(size, rows)
    if component.kind is not ComponentKind.HEAD:
        return 0
    behind = 0 if size.parallel_residual else _mlp_flops(size, rows)
    return _head_flops(size, num_seq, num_pos) + behind


def _own_backward(size: ModelSize, component: Component, num_seq: int, num_pos: int) -> int:
    """Gradients within the component; its first product needs none of its input."""
    rows, width = num_seq * num_pos, size.hidden_size
    if component.kind is ComponentKind.MLP:
        return 3 * product_flops(rows, width, size.intermediate_size)
    if component.kind is not ComponentKind.HEAD:
        return 0
    behind = 0 if size.parallel_residual else _mlp_flops(size, rows)
    # products: queries, keys, values (weights only: 3K), the output (weights and input: 2K)
    own = product_flops(rows, width, 5 * size.head_size)
    return own + behind + attention_backward_flops(1, num_seq, num_pos, size.head_size)
