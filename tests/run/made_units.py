"""Units that do nothing, and those of a small measurement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from spectro.measure.unit_costs import UnitCosts
from spectro.measure.units import SummaryUnit, TokensUnit, measurement_units
from spectro.models.components import FULL_GROUP, Component, ComponentKind, Group
from spectro.pipeline.stages import STAGES
from spectro.sampling.config import ChainConfig
from spectro.sampling.samplers import Exponential
from spectro.work.model_info import ModelInfo
from spectro.work.units import Unit

MODEL = ModelInfo(
    num_layers=2,
    num_heads=2,
    hidden_size=8,
    vocab_size=32,
    max_context=16,
    device="cpu",
    weights_sha256="",
)


def layer(index: int) -> Group:
    names = [f"l{index}h{head}" for head in range(2)]
    return Group(
        name=f"l{index}",
        components=tuple(
            Component(name=n, kind=ComponentKind.HEAD, layer=index, head=h)
            for h, n in enumerate(names)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Small(Unit):
    stage: ClassVar[str] = "small"
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


class Large(Small):
    takes_all_cores = True


GROUPS = (layer(0), layer(1), FULL_GROUP)


def goal(num_chains: int = 2, num_shards: int = 3, together: int = 1) -> SummaryUnit:
    chain = ChainConfig(num_chains=num_chains)
    (unit,) = measurement_units(
        part="",
        groups=GROUPS,
        costs=UnitCosts(
            model=MODEL, sampler=Exponential(), chain=chain, num_evaluation=2, context=16
        ),
        chain_batches=partial(chain.batches, together),
        shard_sizes=(3,) * num_shards,
        tokens=TokensUnit(),
    )
    return unit


def all_units() -> list[Unit]:
    return STAGES.required([goal()], set())
