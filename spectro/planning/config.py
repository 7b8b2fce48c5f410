"""Settings of a plan: what is assumed before the pilot, devices, rates."""

from __future__ import annotations

from dataclasses import dataclass, field

from spectro.predict.config import PredictConfig

MEASURE = "measure"
"""Rates are measured here, not read from a file."""
CLUSTER_RATES = "clusters"
"""Rates of the cluster stage, in `benchmarks/rates/`."""
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


@dataclass(frozen=True, kw_only=True)
class PlanConfig(Assumptions):
    """What a plan assumes, and on which devices."""

    rates: str = MEASURE
    """`measure` this device in some seconds, or a file of rates: a path, or a name in
    `benchmarks/rates/`."""
    num_devices: int = 1
    """Devices that share the work; ≥ 1."""
    out: str | None = None
    """File for the plan as JSON."""
    rates_out: str | None = None
    """File for the rates that were measured."""
    bill: bool = False
    """Show what the finished run at `run.uri` did, beside its plan."""
    upsample_tokens: int | None = None
    """Tokens whose χ is predicted from the run's, the measured ones included; None: nothing is."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """How χ is then learnt."""
    cluster_tokens: int | None = None
    """Tokens that are clustered; None: the run's."""
    cluster_columns: int | None = None
    """Columns of χ that are clustered; None: the run's components."""
    nodes: int = 1
    """Machines that share the clustering; ≥ 1."""
    cores: int | None = None
    """Cores of each; None: as many as this machine has."""
    cluster_rates: str = CLUSTER_RATES
    """File of the cluster stage's rates: a path, or a name in `benchmarks/rates/`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "num_devices",
            "upsample_tokens",
            "cluster_tokens",
            "cluster_columns",
            "nodes",
            "cores",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"plan.{name} must be at least 1, found {value}")
