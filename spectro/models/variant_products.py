"""Products of displaced weights: one linear map per variant, inputs shared where they are the same.

Shapes as in transformer.py; n variants of heads per owner: all of every head, or one of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spectro.models.architecture import Weights
from spectro.models.config import Precision
from spectro.models.precision import batched_linear, linear


def owned(batch_BTD: Tensor, num_owners: int) -> Tensor:
    """[B, T, D] → [G, B/G, T, D]: the sequences that the variants of one owner see."""
    return batch_BTD.view(num_owners, -1, *batch_BTD.shape[1:])


def by_owner(heads: Sequence[Weights], block: str, num_owners: int) -> Tensor:
    """A block of all variants by owner, [G, n, *block shape]."""
    tensors = [weights[block] for weights in heads]
    return torch.stack(tensors, dim=1) if num_owners > 1 else torch.cat(tensors)[None]


def owner_linear(
    states_GBTD: Tensor, weight_GFD: Tensor, bias_GF: Tensor | None, precision: Precision
) -> Tensor:
    """One linear map per owner, [G, B·T, F]."""
    states_GND = states_GBTD.flatten(1, 2)
    if len(states_GND) > 1:
        return batched_linear(states_GND, weight_GFD, bias_GF, precision)
    bias_F = None if bias_GF is None else bias_GF[0]
    return linear(states_GND[0], weight_GFD[0], bias_F, precision)[None]


def heads_linear(
    normed_GBTD: Tensor, weight_GnKD: Tensor, bias_GnK: Tensor | None, precision: Precision
) -> Tensor:
    """One map of every variant of heads: queries, keys or values, [B, n, T, K]."""
    num_owners, num_seq, num_pos, _ = normed_GBTD.shape
    bias_GF = None if bias_GnK is None else bias_GnK.flatten(1)
    states = owner_linear(normed_GBTD, weight_GnKD.flatten(1, 2), bias_GF, precision)
    return states.view(num_owners * num_seq, num_pos, weight_GnKD.shape[1], -1).transpose(1, 2)


def terms_by_head(
    mixed_GBnTK: Tensor, out_GnDK: Tensor, counts: Sequence[int], precision: Precision
) -> list[Tensor]:
    """Output maps of heads' mixed values, [R, B/G, T, D] for each head.

    Args:
        mixed_GBnTK: attention's results by owner, sequence and variant.
        out_GnDK: output maps by owner and variant.
        counts: variants of each head, all of which see the same sequences where G = 1.
        precision: of the products.
    """
    num_owners, num_seq, num_variants, num_pos, _ = mixed_GBnTK.shape
    mixed = mixed_GBnTK.transpose(1, 2).reshape(num_owners * num_variants, num_seq * num_pos, -1)
    terms = batched_linear(mixed, out_GnDK.flatten(0, 1), None, precision)
    terms = terms.view(num_owners, num_variants, num_seq, num_pos, -1)
    if num_owners > 1:
        return list(terms.unbind(1))
    return list(torch.split(terms[0], list(counts)))


def mlp_of_variants(
    normed_GBTD: Tensor,
    inner_maps: Sequence[tuple[Tensor, Tensor | None]],
    activate: Callable[[list[Tensor]], Tensor],
    down_RDF: Tensor,
    down_bias_RD: Tensor | None,
    precision: Precision,
) -> Tensor:
    """Terms of an MLP's variants, [R, B/G, T, D].

    Args:
        normed_GBTD: what it reads, by owner.
        inner_maps: weight [R, F, D] and bias [R, F] of every map to the inner size.
        activate: the inner activation from the maps' results.
        down_RDF: the map back.
        down_bias_RD: its bias.
        precision: of the products.
    """
    num_owners, num_seq, num_pos, hidden = normed_GBTD.shape
    num_variants, inner, _ = inner_maps[0][0].shape
    each = num_variants // num_owners
    results = [
        owner_linear(
            normed_GBTD,
            weight.reshape(num_owners, each * inner, hidden),
            None if bias is None else bias.reshape(num_owners, each * inner),
            precision,
        )
        for weight, bias in inner_maps
    ]
    active = activate(results)
    del results  # as large as all that follows
    active = active.view(num_owners, -1, each, inner).transpose(1, 2)
    down = batched_linear(active.flatten(0, 1), down_RDF, down_bias_RD, precision)
    return down.view(num_variants, num_seq, num_pos, hidden)
