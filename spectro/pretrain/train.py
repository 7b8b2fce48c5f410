"""The training loop: keyed batches, a step of both optimisers, an evaluation at intervals."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from spectro.pretrain.config import LearningRateSchedule, PretrainConfig
from spectro.pretrain.data import gather, sequence_order
from spectro.pretrain.evaluate import induction_score, model_token_losses
from spectro.pretrain.optim import learning_rate_factor
from spectro.pretrain.state import TrainState
from spectro.tokens.packing import num_samples

logger = logging.getLogger(__name__)
_LOG_EVERY_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Token streams by group, with the part that is never trained on."""

    train: dict[str, NDArray[np.uint16]]
    """Concatenated ids per group, end-of-text after each document."""
    heldout: dict[str, NDArray[np.uint16]]
    """The same for the held-out documents."""


def heldout_losses(
    model: PreTrainedModel, corpus: Corpus, *, context: int, num_per_group: int
) -> dict[str, float]:
    """Mean loss per group on its first held-out sequences, in nats; groups without one are out."""
    losses: dict[str, float] = {}
    for name, stream in corpus.heldout.items():
        count = min(num_per_group, num_samples(len(stream), context))
        if count:
            index_S = np.linspace(0, num_samples(len(stream), context) - 1, count).astype(np.int32)
            ids_ST1 = gather([stream], np.zeros(count, dtype=np.int16), index_S, context)
            losses[name] = float(model_token_losses(model, torch.from_numpy(ids_ST1)).mean())
    return losses


def evaluate(state: TrainState, config: PretrainConfig, corpus: Corpus) -> dict[str, float]:
    """Induction score, held-out loss per group and its mean by mixture weight."""
    losses = heldout_losses(
        state.model,
        corpus,
        context=config.schedule.context,
        num_per_group=config.heldout_sequences,
    )
    weights = {name: config.groups[name].weight for name in losses}
    mean = sum(weights[n] * losses[n] for n in losses) / sum(weights.values())
    return {
        "tokens_seen": float(state.tokens_seen),
        "induction_score": induction_score(state.model),
        "heldout_loss": mean,
        **{f"heldout_loss/{name}": loss for name, loss in losses.items()},
    }


def _step(
    forward: Callable[[Tensor, Tensor], Tensor],
    state: TrainState,
    ids_BT1: Tensor,
    plan: LearningRateSchedule,
) -> float:
    factor = learning_rate_factor(
        state.tokens_seen,
        num_tokens=plan.num_tokens,
        warmup_tokens=plan.warmup_tokens,
        decay_fraction=plan.decay_fraction,
    )
    loss = forward(ids_BT1[:, :-1], ids_BT1[:, 1:])
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    for optimiser in state.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        optimiser.step()
        optimiser.zero_grad()
    state.tokens_seen += ids_BT1[:, 1:].numel()
    return float(loss.detach())


def _forward(model: PreTrainedModel, compiled: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def loss_of(inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        logits_BTV = model(inputs_BT, use_cache=False).logits
        return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())

    return torch.compile(loss_of) if compiled else loss_of


def train(
    config: PretrainConfig,
    corpus: Corpus,
    state: TrainState,
    on_checkpoint: Callable[[TrainState], None],
    on_kept: Callable[[TrainState], None],
) -> None:
    """Run until the token budget is spent; `on_checkpoint` is called after each evaluation,
    `on_kept` where the schedule keeps a copy of the model.

    Raises FloatingPointError when the loss is no longer finite.
    """
    plan = config.schedule
    forward = _forward(state.model, config.compile)
    pace = _Pace(plan.num_tokens, state.tokens_seen)
    if state.tokens_seen == 0 and 0 in plan.kept_tokens:
        on_kept(state)
    for ids_BT1 in _batches(config, corpus, state.tokens_seen):
        before = state.tokens_seen
        loss = _step(forward, state, ids_BT1, plan)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"loss is {loss} after {state.tokens_seen} tokens: lower the learning rates"
            )
        pace.log(state.tokens_seen, loss)
        if any(before < at <= state.tokens_seen for at in plan.kept_tokens):
            on_kept(state)
        every = plan.checkpoint_every_tokens
        if state.tokens_seen // every > before // every:
            _evaluate_and_hand_over(config, corpus, state, on_checkpoint)
    if not state.history or state.history[-1]["tokens_seen"] != state.tokens_seen:
        _evaluate_and_hand_over(config, corpus, state, on_checkpoint)


def _batches(config: PretrainConfig, corpus: Corpus, tokens_seen: int) -> Iterator[Tensor]:
    """The batches that follow `tokens_seen`, int64 [B, T+1], in the run's keyed order."""
    plan = config.schedule
    streams = list(corpus.train.values())
    counts = {n: num_samples(len(s), plan.context) for n, s in corpus.train.items()}
    weights = {n: config.groups[n].weight for n in counts}
    group_S, index_S = sequence_order(config.seed, counts, weights, plan.num_tokens // plan.context)
    size = plan.batch_sequences
    for at in range(tokens_seen // plan.context, len(group_S) - size + 1, size):
        rows = slice(at, at + size)
        yield torch.from_numpy(gather(streams, group_S[rows], index_S[rows], plan.context))


class _Pace:
    """Says now and then how far training is and how long it will take."""

    def __init__(self, num_tokens: int, tokens_seen: int) -> None:
        self._num_tokens, self._first = num_tokens, tokens_seen
        self._started, self._num_steps = time.monotonic(), 0

    def log(self, tokens_seen: int, loss: float) -> None:
        self._num_steps += 1
        if self._num_steps % _LOG_EVERY_STEPS:
            return
        rate = (tokens_seen - self._first) / (time.monotonic() - self._started)
        left_minutes = (self._num_tokens - tokens_seen) / rate / 60
        logger.info(
            "%.2fM tokens, loss %.3f, %.0f tokens/s, %.0f minutes left",
            tokens_seen / 1e6, loss, rate, left_minutes,
        )  # fmt: skip


def _evaluate_and_hand_over(
    config: PretrainConfig,
    corpus: Corpus,
    state: TrainState,
    on_checkpoint: Callable[[TrainState], None],
) -> None:
    state.model.eval()
    record = evaluate(state, config, corpus)
    state.model.train()
    state.history.append(record)
    logger.info("evaluation: %s", {k: round(v, 3) for k, v in record.items()})
    on_checkpoint(state)
