"""Losses of many variants from their final-normed streams: exact, or by the top-K softmax.

Shapes: R variants, B sequences, T positions, D hidden size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spectro.models.config import ScoringConfig
from spectro.models.precision import operand
from spectro.models.sampled_softmax import SampledBatch, sampled_losses
from spectro.models.top_k_softmax import (
    TopK,
    TopKFit,
    make_top_k,
    rest_covariance,
    top_k_losses,
)
from spectro.models.transformer import Transformer

COVARIANCE_POSITIONS = 4096
"""Token positions, of the first evaluation sequences, over which C is averaged."""


@dataclass(frozen=True, kw_only=True)
class TopKBatch:
    """Top-K softmax of a batch, and the components whose losses are taken from it."""

    top_k: TopK
    components: frozenset[str]
    targets_BT: Tensor

    @property
    def clean_losses(self) -> Tensor:
        """ℓ(w*), [B, T]."""
        return self.top_k.loss_N.view(self.targets_BT.shape)


def fit_top_k(model: Transformer, config: ScoringConfig, evaluation_ids: Tensor) -> TopKFit | None:
    """The part of the top-K softmax that all batches share; None where it does not pay.

    Args:
        model: at w*.
        config: K.
        evaluation_ids: int64 [E, T+1], sequences of the sampling distribution.
    """
    unembed_VD = model.params[model.unembed_name]
    if not config.uses_top_k(len(unembed_VD)):
        return None
    num_seq = -(-COVARIANCE_POSITIONS // (evaluation_ids.shape[1] - 1))
    with torch.no_grad():
        hidden = model.suffix(model.embed(evaluation_ids[:num_seq, :-1]), 0).flatten(0, 1)
        covariance = rest_covariance(hidden, unembed_VD, config.shortlist_size)
    return TopKFit(size=config.shortlist_size, covariance_DD=covariance, components=frozenset())


def top_k_batch(
    model: Transformer,
    hidden: Callable[[], Tensor],
    targets_BT: Tensor,
    names: Iterable[str],
    top_k: TopKFit | None,
) -> TopKBatch | None:
    """Top-K softmax of a batch from its final-normed stream [B, T, D], which `hidden` computes.

    None where none of these components takes its losses from it.
    """
    if top_k is None or top_k.components.isdisjoint(names):
        return None
    # Made once and read by every draw: in full precision.
    made = make_top_k(
        hidden().flatten(0, 1),
        model.params[model.unembed_name],
        targets_BT.flatten(),
        top_k.size,
        top_k.covariance_DD,
    )
    rows = operand(made.rows_NKD, model.precision)
    made = dataclasses.replace(made, rows_NKD=rows)
    return TopKBatch(top_k=made, components=top_k.components, targets_BT=targets_BT)


def losses_by_component(
    model: Transformer,
    hidden: Mapping[str, Tensor],
    targets_GbT: Tensor,
    softmax: TopKBatch | SampledBatch | None,
) -> dict[str, Tensor]:
    """Component → loss [R, b, T] in nats from its variants' streams [R, b, T, D].

    The exact losses of all components are one product.

    Args:
        model: its output matrix.
        hidden: component → streams.
        targets_GbT: what variants see: all the same sequences (G = 1), or each its own (G = R).
        softmax: top-K softmax, where all see the same; sampled softmax, where each has its own.
    """
    if isinstance(softmax, SampledBatch):
        streams_CBTD = torch.stack([stream.flatten(0, 1) for stream in hidden.values()])
        losses_CBT = sampled_losses(streams_CBTD, softmax)
        return {
            name: own_BT.view(stream.shape[:-1])
            for (name, stream), own_BT in zip(hidden.items(), losses_CBT, strict=True)
        }
    short = softmax.components if softmax is not None else frozenset()
    exact = {name: stream for name, stream in hidden.items() if name not in short}
    found: dict[str, Tensor] = {}
    if exact:
        joined = torch.cat(list(exact.values())) if len(exact) > 1 else next(iter(exact.values()))
        targets = targets_GbT.repeat(len(joined) // len(targets_GbT), 1, 1)
        losses = model.losses(joined.flatten(0, 1), targets.flatten(0, 1)).view(targets.shape)
        counts = [len(stream) for stream in exact.values()]
        found = dict(zip(exact, torch.split(losses, counts), strict=True))
    for name in hidden.keys() - exact.keys():
        assert softmax is not None
        streams = hidden[name].flatten(1, 2)
        losses = top_k_losses(streams, softmax.top_k, model.precision)
        found[name] = losses.view(hidden[name].shape[:-1])
    return {name: found[name] for name in hidden}
