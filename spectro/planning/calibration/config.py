"""Settings of `spectro calibrate`: the budget, the candidates, the size of the pilot."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_DRAWS = 256
"""Draws per token that are considered, at most."""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """A budget, what may be chosen for it, and how large the pilot is."""

    budget_minutes: float | None = None
    """Minutes of this machine for pilot, chains and tiles of the run; or `budget_gpu_hours`."""
    budget_gpu_hours: float | None = None
    """Hours of one device with the rates of `rates`."""
    rates: str = "h200-assumed"
    """File of rates behind `budget_gpu_hours`: a path, or a name in `benchmarks/rates/`. Minutes
    are counted with what the pilot itself takes here."""
    gammas: list[float] = field(default_factory=lambda: [30.0, 100.0, 300.0, 1000.0])
    """γ to try; those that destroy the model are left out. A forward pass for each."""
    nbetas: list[float] = field(default_factory=lambda: [0.0, 10.0, 30.0])
    """nβ to try; all by weights of the same draws, where these allow it."""
    step_sizes: list[float] = field(default_factory=list)
    """ε to try with `sampler=psgld`, `sgld` or `exponential`: short chains (`chain.*`) in every
    cell of ε × nβ × γ, each with a verdict."""
    num_tokens: int = 8192
    """Tokens of the pilot, about; ≥ 256."""
    num_draws: int = 16
    """Draws of the pilot at each γ, in antithetic pairs; a multiple of 4: two disjoint sets."""
    min_draws: int = 4
    """Fewest draws per token that may be chosen; even, at most 256. With 4 the run has two chains
    of a pair each, whose halves give its errors; 2 leave it without (for training a predictor)."""
    min_tokens: int = 4096
    """Fewest tokens that may be chosen; ≥ 1."""
    max_tokens: int | None = None
    """Most tokens that may be chosen, where the text has no more; None: as many as are paid."""

    def __post_init__(self) -> None:
        for name in ("budget_minutes", "budget_gpu_hours"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"calibrate.{name} must be above 0, found {value}")
        for name, least in (("gammas", 1e-300), ("nbetas", 0.0), ("step_sizes", 1e-300)):
            bad = [value for value in getattr(self, name) if not least <= value < float("inf")]
            if bad or (name != "step_sizes" and not getattr(self, name)):
                sense = "at least 0" if least == 0 else "above 0"
                raise ValueError(f"calibrate.{name} needs finite numbers {sense}, found {bad}")
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(
                f"calibrate.max_tokens must be at least calibrate.min_tokens ({self.min_tokens}), "
                f"found {self.max_tokens}"
            )
        if self.min_draws > MAX_DRAWS:
            raise ValueError(
                f"calibrate.min_draws must be at most {MAX_DRAWS}, the most draws per token that "
                f"are considered, found {self.min_draws}"
            )
        for name, least, multiple in (
            ("num_tokens", 256, 1), ("num_draws", 8, 4), ("min_draws", 2, 2), ("min_tokens", 1, 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if value < least or value % multiple:
                of = f" and a multiple of {multiple}" if multiple > 1 else ""
                raise ValueError(f"calibrate.{name} must be at least {least}{of}, found {value}")

    @property
    def budget_seconds(self) -> float:
        """Of one device, or of this machine as one.

        Raises ValueError unless one budget is given.
        """
        minutes, hours = self.budget_minutes, self.budget_gpu_hours
        if minutes is not None and hours is None:
            return 60 * minutes
        if hours is not None and minutes is None:
            return 3600 * hours
        raise ValueError(
            "give either calibrate.budget_minutes (of this machine) or calibrate.budget_gpu_hours, "
            f"found {minutes} and {hours}"
        )

    @property
    def set_sizes(self) -> list[int]:
        """Draws of each of two disjoint sets of the pilot: 2, 4, … half of all, at most."""
        return [2**i for i in range(1, 31) if 2 ** (i + 1) <= self.num_draws]
