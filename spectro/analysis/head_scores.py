"""What attention heads do, found without susceptibilities: attention patterns and ablation.

On random tokens repeated once (`repeated_tokens.py`; Olsson et al. 2022, arXiv 2209.11895). The
*prefix-matching score* of a head is its mean attention from a token of the second half to the token
that followed the same token in the first; the *previous-token score*, from any token to the one
before it. Ablation sets all weights of a head to 0, hence its term in the residual stream: the rise
of the mean loss in the second half, which induction foretells, and in the first, which nothing
does. Units: shares of attention; nats. Shapes: S sequences, L layers, H heads of a layer, C
components, T positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from spectro.analysis.repeated_tokens import halves
from spectro.models.architecture import GroupModel

Float64 = NDArray[np.float64]
LEAST_PREFIX_MATCHING = 0.2
"""Least prefix-matching score of an induction head; attention by chance is below 0.02."""
LEAST_PREVIOUS_TOKEN = 0.4
"""Least previous-token score of a previous-token head."""


class HeadKind(StrEnum):
    """What a head does, by its attention (ADR 099)."""

    INDUCTION = "induction"
    PREVIOUS_TOKEN = "previous token"
    MULTIGRAM = "multigram"


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Scores of some heads."""

    components: tuple[str, ...]
    """Names."""
    prefix_matching_C: Float64
    """Mean attention to the token after the earlier occurrence."""
    previous_token_C: Float64
    """Mean attention to the token before."""
    rise_repeated_C: Float64
    """Rise of the loss in the second half without the head, nats."""
    rise_first_C: Float64
    """The same in the first half."""

    @property
    def kinds(self) -> tuple[HeadKind, ...]:
        """Kind of every head."""
        return tuple(map(head_kind, self.prefix_matching_C, self.previous_token_C))


def head_kind(prefix_matching: float, previous_token: float) -> HeadKind:
    """Kind of a head by its two scores."""
    if prefix_matching >= LEAST_PREFIX_MATCHING:
        return HeadKind.INDUCTION
    if previous_token >= LEAST_PREVIOUS_TOKEN:
        return HeadKind.PREVIOUS_TOKEN
    return HeadKind.MULTIGRAM


@torch.no_grad()
def attention_patterns(model: PreTrainedModel, ids_ST: Tensor) -> Tensor:
    """Attention from every position (dim −2) to every position (dim −1); [L, S, H, T, T].

    Of any transformers model whose attention has an eager implementation. Raises ValueError where
    it gives no patterns.
    """
    kept = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        patterns = model(ids_ST.to(model.device), output_attentions=True).attentions
    finally:
        model.set_attn_implementation(kept)
    if not patterns or any(pattern is None for pattern in patterns):
        raise ValueError(
            f"{model.config.model_type} models give no attention patterns "
            "(output_attentions=True): head scores need them"
        )
    return torch.stack(patterns)


def pattern_scores(pattern_LSHTT: Tensor) -> tuple[Float64, Float64]:
    """Prefix-matching and previous-token scores [L, H] from patterns on the T = 2·length first
    tokens of `repeated_tokens`."""
    length = pattern_LSHTT.shape[-1] // 2
    to_next = pattern_LSHTT.diagonal(1 - length, -2, -1)[..., 2:]  # from length + 1 on
    to_previous = pattern_LSHTT.diagonal(-1, -2, -1)
    return _mean(to_next), _mean(to_previous)


def _mean(attention_LSHt: Tensor) -> Float64:
    mean_LH: Float64 = attention_LSHt.double().mean(dim=(1, 3)).cpu().numpy()
    return mean_LH


@torch.no_grad()
def ablation_rises(
    parts: Iterable[GroupModel[Any]], names: Iterable[str], ids_ST1: Tensor
) -> dict[str, tuple[float, float]]:
    """Component → rise of the mean loss in the second half and in the first, without it.

    Args:
        parts: groups that have the components; other components of theirs are left out.
        names: which components are ablated, each alone.
        ids_ST1: `repeated_tokens`.
    """
    wanted, found = frozenset(names), {}
    for part in parts:
        clean = part.prepare(ids_ST1)
        before = [half.double().mean() for half in halves(part.clean_losses(clean))]
        for name in wanted.intersection(part.names):
            nothing = {block: torch.zeros_like(w)[None] for block, w in part.weights(name).items()}
            losses_ST = part.losses(clean, {name: nothing})[name][0]
            first, second = (
                float(half.double().mean() - clean_mean)
                for half, clean_mean in zip(halves(losses_ST), before, strict=True)
            )
            found[name] = (second, first)
    return found


def head_scores(
    model: PreTrainedModel,
    parts: Iterable[GroupModel[Any]],
    places: dict[str, tuple[int, int]],
    ids_ST1: Tensor,
) -> HeadScores:
    """All scores of some heads.

    Args:
        model: whose attention is read.
        parts: the groups of the same model that have the heads.
        places: name of each head → its layer and number.
        ids_ST1: `repeated_tokens`.
    """
    prefix_LH, previous_LH = pattern_scores(attention_patterns(model, ids_ST1[:, :-1]))
    index = tuple(np.array(list(places.values()), np.int64).reshape(-1, 2).T)
    rises = ablation_rises(parts, places, ids_ST1)
    repeated_C, first_C = np.array([rises[name] for name in places]).reshape(-1, 2).T
    return HeadScores(
        components=tuple(places),
        prefix_matching_C=prefix_LH[index],
        previous_token_C=previous_LH[index],
        rise_repeated_C=repeated_C,
        rise_first_C=first_C,
    )
