"""What a plan assumes before the pilot, and bytes of an operand by precision."""

from __future__ import annotations

from dataclasses import dataclass, field

PRODUCT_BYTES = {"float64": 8, "float32": 4, "tf32": 4, "bfloat16": 2}
"""Bytes of an operand of a matrix product."""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a plan cannot know before the pilot."""

    chain_components: list[str] = field(default_factory=lambda: ["embed", "unembed"])
    """Names or patterns of the components that `reweighted` will need chains for; `full` always
    does."""
    exact_components: list[str] = field(default_factory=lambda: ["embed"])
    """Names or patterns of the components whose losses will not be taken from short lists, where
    the vocabulary is large enough for lists; those of `unembed` and `full` never are."""
    steps_between_draws: int = 8
    """Steps from draw to draw where `chain.steps_between_draws` leaves it to be measured."""

    def __post_init__(self) -> None:
        if self.steps_between_draws < 1:
            raise ValueError(
                f"plan.steps_between_draws must be at least 1, found {self.steps_between_draws}"
            )
