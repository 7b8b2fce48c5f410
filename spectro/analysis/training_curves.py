"""Curves over training: the same components measured at several checkpoints of one run.

Shapes: S checkpoints in order of their steps, H components.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_COUNTERS = tuple(
    re.compile(rf"{word}[-_]?(\d+)(?![0-9a-z.])", re.IGNORECASE)
    for word in ("step", "checkpoint", "tokens")
)
"""Numbers as they are written out: `tokens4B` is rounded."""


@dataclass(frozen=True, kw_only=True)
class MeasuredCheckpoint:
    """One checkpoint of a training run, measured."""

    name: str
    """The measured run."""
    step: int
    """Training step, or tokens seen where that is what the checkpoint's name or record counts."""
    components: tuple[str, ...]
    """Names of the columns."""
    lambda_hat_H: Floats
    """Local learning coefficient n beta E[delta L] of each component."""
    lambda_error_H: Floats
    """Its standard error, over chains; NaN with one chain."""
    chi_size_H: Floats
    """Standard deviation of chi over tokens, nats²."""


@dataclass(frozen=True, kw_only=True)
class TrainingCurves:
    """The components that all checkpoints have, in the first one's order."""

    names: tuple[str, ...]
    """Of the measured runs, [S]."""
    steps: tuple[int, ...]
    """[S], increasing."""
    components: tuple[str, ...]
    """[H]."""
    lambda_hat_SH: Floats
    """Local learning coefficients."""
    lambda_error_SH: Floats
    """Their standard errors."""
    chi_size_SH: Floats
    """Standard deviations of chi over tokens, nats²."""


def step_of(name: str) -> int | None:
    """Training step in the name of a revision or folder: `step1000`, `checkpoint-500`; else its
    tokens, `tokens-4001792`."""
    found = (counter.findall(name) for counter in _COUNTERS)
    return next((int(numbers[-1]) for numbers in found if numbers), None)


@dataclass(frozen=True, kw_only=True)
class SetsOverTraining:
    """Mean response of the same sets of tokens at every checkpoint."""

    names: tuple[str, ...]
    """Of the measured runs, [S]."""
    steps: tuple[int, ...]
    """[S], increasing."""
    sets: tuple[str, ...]
    """[R], in the display alphabet."""
    num_tokens_R: tuple[int, ...]
    """Tokens of each set."""
    components: tuple[str, ...]
    """[H], chosen."""
    unit: str
    """Of the means."""
    mean_SRH: Floats
    """Mean over the set less that over all tokens, each checkpoint in its own units."""
    half_width_SRH: Floats
    """Half width of the 95 % interval (Student t, over the sequences that have the set)."""


def in_order_of_steps(names: Sequence[str], steps: Sequence[int]) -> list[int]:
    """Indices of checkpoints by training step.

    Raises ValueError, in one line, for fewer than two checkpoints, and for two of one step.
    """
    order = sorted(range(len(steps)), key=lambda index: steps[index])
    if len(order) < 2:
        raise ValueError(
            "a comparison over training needs at least two runs, one for each checkpoint"
        )
    for before, after in pairwise(order):
        if steps[before] == steps[after]:
            raise ValueError(
                f"{names[before]} and {names[after]} are both of training step {steps[before]}: "
                "give one run for each checkpoint"
            )
    return order


def shared_components(components_S: Sequence[Sequence[str]]) -> list[str]:
    """Components that all checkpoints have, in the first one's order.

    Raises ValueError, in one line, where there is none.
    """
    shared = [name for name in components_S[0] if all(name in own for own in components_S)]
    if not shared:
        raise ValueError("the runs have no component in common: were they given other patterns?")
    return shared


def training_curves(checkpoints: Sequence[MeasuredCheckpoint]) -> TrainingCurves:
    """Checkpoints in order of their steps, with the components that all of them have.

    Raises ValueError as `in_order_of_steps` and `shared_components`.
    """
    order = in_order_of_steps([own.name for own in checkpoints], [own.step for own in checkpoints])
    ordered = [checkpoints[index] for index in order]
    shared = shared_components([own.components for own in ordered])
    columns = [[own.components.index(name) for name in shared] for own in ordered]

    def stacked(values: Sequence[Floats]) -> Floats:
        return np.stack([own[index] for own, index in zip(values, columns, strict=True)])

    return TrainingCurves(
        names=tuple(own.name for own in ordered),
        steps=tuple(own.step for own in ordered),
        components=tuple(shared),
        lambda_hat_SH=stacked([own.lambda_hat_H for own in ordered]),
        lambda_error_SH=stacked([own.lambda_error_H for own in ordered]),
        chi_size_SH=stacked([own.chi_size_H for own in ordered]),
    )
