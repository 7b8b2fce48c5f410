"""Further observables φ_q of every draw, beside ΔL: losses of chosen tokens, users' functions.

    φ_q(t) = mean over the chosen tokens of ℓ_j(w_t) − ℓ_j(w*)      or      f(w_t) − f(w*)

with f a function of the logits: its mean over the chosen tokens where it has a value for each, or
its one value for the batch. A difference, so that sums in float32 keep its precision; the constant
cancels in every covariance. Losses of evaluation tokens are there with ΔL (`evaluate.py`); other
tokens take a further pass per draw, functions a whole forward pass per draw and distinct sequences.

Shapes: n sequences of one query, T positions, V vocabulary, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spectro.models.architecture import GroupModel
from spectro.models.scoring import Scoring
from spectro.sampling.config import ObservableConfig, QuerySplit
from spectro.sampling.draws import DrawSource
from spectro.sampling.evaluate import Evaluated, evaluate
from spectro.sampling.user_function import called, imported

P = ParamSpec("P")
R = TypeVar("R")
FloatArray = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
LOGITS_BYTES = 2**28
"""Memory of the logits that a function with a value for every token is given at once."""


@dataclass(frozen=True, kw_only=True)
class SplitSequences:
    """The sequences of one split."""

    ids_ST1: Tensor
    """int64 [S, T+1]."""
    subsets: Sequence[str] = ()
    """Subset of every sequence; empty where they have none."""


class Observables:
    """φ_q of draws.

    Args:
        chosen: observable → what it is.
        split: gives the sequences of a split.
        logits: of sequences [n, T] at w*, [n, T, V].

    Raises ValueError, in one line that begins with the observable, for tokens that do not exist and
    for functions that cannot be used.
    """

    def __init__(
        self,
        chosen: Mapping[str, ObservableConfig],
        split: Callable[[QuerySplit], SplitSequences],
        logits: Callable[[Tensor], Tensor],
    ) -> None:
        self.names = tuple(chosen)
        queries = require_observables(chosen, split)
        losses = {name: q for name, q in queries.items() if chosen[name].function is None}
        self._evaluated = {
            name: token_q
            for name, token_q in losses.items()
            if chosen[name].split is QuerySplit.EVALUATION
        }
        others = {name: q for name, q in losses.items() if name not in self._evaluated}
        self._others = Queries.of(others, split(QuerySplit.PROBE)) if others else None
        functions = {name: q for name, q in queries.items() if name not in losses}
        self._functions = [
            _Functions(found, chosen, logits) for found in _passes(functions, chosen, split)
        ]

    def of_draws(
        self,
        part: GroupModel[Any],
        source: DrawSource,
        wanted: Mapping[str, slice],
        evaluated: Mapping[str, Evaluated],
        scoring: Scoring | None,
    ) -> dict[str, dict[str, FloatArray]]:
        """Component → observable → φ_q of some draws, [R].

        Args:
            part: the group.
            source: the draws.
            wanted: component → which of its draws.
            evaluated: the same draws on the evaluation set.
            scoring: how losses are computed.
        """
        found = {name: _means(evaluated[name], self._evaluated) for name in wanted}
        if self._others is not None:
            others = evaluate(part, source, wanted, self._others.ids_nT1, scoring)
            for name, own in others.items():
                found[name] |= _means(own, self._others.tokens)
        for functions in self._functions:
            for name, draws in wanted.items():
                found[name] |= functions.of_draws(part, source, name, draws)
        return {name: {q: own[q] for q in self.names} for name, own in found.items()}


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Some sequences, and tokens of them that observables choose."""

    ids_nT1: Tensor
    """int64 [n, T+1]."""
    tokens: Mapping[str, Indices]
    """Observable → its tokens as places among the n·T."""

    @classmethod
    def of(cls, tokens: Mapping[str, Indices], split: SplitSequences) -> Queries:
        """Those sequences of a split that have any of these tokens of it."""
        context = split.ids_ST1.shape[1] - 1
        sequence_n = np.unique(np.concatenate(list(tokens.values())) // context)
        return cls(
            ids_nT1=split.ids_ST1[torch.from_numpy(sequence_n).to(split.ids_ST1.device)],
            tokens={
                name: np.searchsorted(sequence_n, token_q // context) * context + token_q % context
                for name, token_q in tokens.items()
            },
        )


def require_observables(
    chosen: Mapping[str, ObservableConfig], split: Callable[[QuerySplit], SplitSequences]
) -> dict[str, Indices]:
    """Observable → its tokens as places among the S·T of its split; functions are imported.

    Raises ValueError, in one line that begins with the observable.
    """
    for name, own in chosen.items():
        if own.function is not None:
            _prefixed(name, imported, own.function)
    return {
        name: _prefixed(name, chosen_tokens, own, split(own.split)) for name, own in chosen.items()
    }


def chosen_tokens(config: ObservableConfig, split: SplitSequences) -> Indices:
    """The tokens that an observable chooses, as places among the S·T of their split.

    Raises ValueError, in one line, for tokens, sequences or a subset that it lacks.
    """
    num_seq, context = len(split.ids_ST1), split.ids_ST1.shape[1] - 1
    for what, numbers, count in (
        ("tokens", config.tokens, num_seq * context),
        ("sequences", config.sequences, num_seq),
    ):
        beyond = [number for number in numbers if number >= count]
        if beyond:
            raise ValueError(
                f"{what} has {beyond[0]}, but the {config.split.value} set has {what} 0 to "
                f"{count - 1}: {num_seq} sequences of {context} tokens, a token's number being "
                f"sequence * {context} + position"
            )
    token_ST = np.arange(num_seq * context).reshape(num_seq, context)
    if config.tokens:
        return np.array(config.tokens, np.int64)
    if config.sequences:
        return token_ST[list(config.sequences)].reshape(-1)
    if config.subset is None:
        return token_ST.reshape(-1)
    inside_S = np.array([own == config.subset for own in split.subsets], np.bool_)
    if not inside_S.any():
        known = ", ".join(dict.fromkeys(split.subsets)) or "which have no names here"
        raise ValueError(
            f"subset {config.subset!r} has no sequence in the {config.split.value} set; its "
            f"subsets: {known}"
        )
    return token_ST[inside_S].reshape(-1)


class _Functions:
    """Functions on the same sequences, each less its value at w*."""

    def __init__(
        self,
        queries: Queries,
        chosen: Mapping[str, ObservableConfig],
        logits: Callable[[Tensor], Tensor],
    ) -> None:
        self._ids, self._tokens = queries.ids_nT1, queries.tokens
        self._of = {n: _prefixed(n, imported, str(chosen[n].function)) for n in queries.tokens}
        with torch.no_grad():
            logits_1TV = logits(self._ids[:1, :-1])
            self._of_batch = {
                name
                for name, function in self._of.items()
                if _prefixed(name, called, function, logits_1TV, self._ids[:1, 1:]).dim() == 0
            }
            row_bytes = logits_1TV.numel() * logits_1TV.element_size()
            fitting = max(1, LOGITS_BYTES // row_bytes)
            self._at_once = len(self._ids) if self._of_batch else fitting
            self._clean = self._values(logits)
        for name, clean in self._clean.items():
            if name in self._of_batch and chosen[name].tokens:
                raise ValueError(
                    f"observables.{name}: tokens were chosen, but the function has one value for "
                    "the whole batch: choose sequences, or return a value for every token"
                )
            if not np.isfinite(clean):
                raise ValueError(
                    f"observables.{name}: the function is {clean} at the model's own "
                    "weights, expected a finite number"
                )

    @torch.no_grad()
    def of_draws(
        self, part: GroupModel[Any], source: DrawSource, component: str, draws: slice
    ) -> dict[str, FloatArray]:
        """Observable → φ_q of some draws of a component, [R]; one draw is computed at a time."""
        center, found = part.weights(component), []
        for draw in range(draws.start, draws.stop):
            delta = source.read(component, slice(draw, draw + 1))
            moved = {block: own + delta[block][0].to(own) for block, own in center.items()}
            found.append(self._values(partial(part.logits, component, moved)))
        return {
            name: np.array([values[name] for values in found]) - self._clean[name]
            for name in self._of
        }

    def _values(self, logits: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Observable → its value."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self._of}
        for ids_nT1 in torch.split(self._ids, self._at_once):
            logits_nTV = logits(ids_nT1[:, :-1])
            for name, function in self._of.items():
                value = _prefixed(name, called, function, logits_nTV, ids_nT1[:, 1:])
                if (value.dim() == 0) != (name in self._of_batch):
                    raise ValueError(
                        f"observables.{name}: the function returned one value for some batches and "
                        "a value for every token for others, expected always the same"
                    )
                parts[name].append(value)
        return {
            name: float(of_parts[0])
            if name in self._of_batch
            else float(torch.cat(of_parts).flatten()[torch.from_numpy(self._tokens[name])].mean())
            for name, of_parts in parts.items()
        }


def _means(evaluated: Evaluated, tokens: Mapping[str, Indices]) -> dict[str, FloatArray]:
    """Observable → mean Δℓ of its tokens, [R]."""
    return {
        name: evaluated.delta_RN[:, torch.from_numpy(token_q)].double().mean(dim=1).numpy()
        for name, token_q in tokens.items()
    }


def _passes(
    tokens: Mapping[str, Indices],
    chosen: Mapping[str, ObservableConfig],
    split: Callable[[QuerySplit], SplitSequences],
) -> list[Queries]:
    """Observables that are of the same sequences, together."""
    found: dict[tuple[QuerySplit, bytes], dict[str, Indices]] = {}
    for name, token_q in tokens.items():
        of = chosen[name].split
        sequence_n = np.unique(token_q // (split(of).ids_ST1.shape[1] - 1))
        found.setdefault((of, sequence_n.tobytes()), {})[name] = token_q
    return [Queries.of(own, split(of)) for (of, _), own in found.items()]


def _prefixed(name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a call, whose ValueErrors begin with the observable."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise ValueError(f"observables.{name}: {error}") from error
