"""Units of a measurement: tokens, pilots, chains, tiles, assembly, and which of them a run has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from spectro.formats.chain_names import dropped_name, pilot_name, record_name
from spectro.formats.product import SUMMARY_NAME, moments_name, part_name
from spectro.formats.tiles import tile_name
from spectro.formats.tokens import MARKER, more_name
from spectro.measure.sampled_groups import groups_of
from spectro.measure.unit_costs import UnitCosts
from spectro.models.components import Group
from spectro.work.stage import RunPlan
from spectro.work.units import Unit


@dataclass(frozen=True, kw_only=True)
class TokensUnit(Unit):
    """Read, tokenise and sample all sequences."""

    stage: ClassVar[str] = "tokens"
    needs_model: ClassVar[bool] = False
    names = (MARKER,)


@dataclass(frozen=True, kw_only=True)
class MoreTokensUnit(Unit):
    """Add probe sequences to the run's."""

    stage: ClassVar[str] = "tokens"
    needs_model: ClassVar[bool] = False
    addition: int
    """Its number, from 1."""

    @property
    def names(self) -> tuple[str, ...]:
        return (more_name(self.addition),)


@dataclass(frozen=True, kw_only=True)
class PilotUnit(Unit):
    """Exact moments of one group's components."""

    stage: ClassVar[str] = "pilot"
    group: Group
    """Whose components."""

    @property
    def names(self) -> tuple[str, ...]:
        return (pilot_name(self.group.name),)


@dataclass(frozen=True, kw_only=True)
class ChainUnit(Unit):
    """Some chains of one group, stepped together; those that are done are not done again."""

    stage: ClassVar[str] = "chains"
    is_kept: ClassVar[bool] = True
    group: Group
    """Whose components."""
    chains: tuple[int, ...]
    """Indices of the chains."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(record_name(self.group.name, chain) for chain in self.chains)

    def superseded_by(self, name: str) -> tuple[str, ...]:
        """The marker of the same chain once its draws are dropped."""
        chain = self.chains[self.names.index(name)]
        return (self.in_run(dropped_name(self.group.name, chain)),)


@dataclass(frozen=True, kw_only=True)
class AssemblyUnit(Unit):
    """All tiles of one shard, made into rows of the product of every part that they are of."""

    stage: ClassVar[str] = "assembly"
    sisters: tuple[str, ...] = ()
    """Parts of other nβ, whose sums are in the same tiles."""
    shard: int
    """Which tokens."""
    groups: tuple[Group, ...]
    """Whose tiles, `full` included where it was sampled."""

    @property
    def names(self) -> tuple[str, ...]:
        return (part_name(self.shard), moments_name(self.shard))

    @property
    def outputs(self) -> tuple[str, ...]:
        """See `Unit`; those of all parts."""
        own = super().outputs
        return (*own, *(f"{part}/{name}" for part in self.sisters for name in self.names))


@dataclass(frozen=True, kw_only=True)
class TileUnit(Unit):
    """Sums of one group for one token shard, of its part and those that share its draws."""

    stage: ClassVar[str] = "tiles"
    sisters: tuple[str, ...] = ()
    """Parts of other nβ, whose sums are in the same object."""
    group: Group
    """Whose components."""
    shard: int
    """Which tokens."""

    @property
    def names(self) -> tuple[str, ...]:
        return (tile_name(self.shard, self.group.name),)

    @property
    def sort_key(self) -> str:
        """Tiles of one group together."""
        return f"{self.group.name}/{self.shard:05d}"

    def superseded_by(self, name: str) -> tuple[str, ...]:
        """The rows of its shard, in all parts."""
        sisters, shard = self.sisters, self.shard
        return AssemblyUnit(part=self.part, sisters=sisters, shard=shard, groups=()).outputs


@dataclass(frozen=True, kw_only=True)
class SummaryUnit(Unit):
    """Reliability and standard error of every column, from the moments of all shards."""

    stage: ClassVar[str] = "assembly"
    needs_model: ClassVar[bool] = False
    num_shards: int
    """Shards of the product."""
    groups: tuple[Group, ...]
    """Whose chains."""
    probe_sha256: str = ""
    """Of the tokens that it is made from; what is of others is stale."""
    names = (SUMMARY_NAME,)


def measured_units(plan: RunPlan) -> list[Unit]:
    """Shards and summary of every part of a run that measures χ.

    Shards are goals too: one that was lost is made again even if its summary is there.
    """
    config = plan.config
    if config.upsample is not None:
        return []
    sisters = list(config.sisters)
    parts = [("", sisters), *((p, []) for p in config.parts if p and p not in sisters)]
    goals: list[Unit] = []
    for part, own_sisters in parts:
        for summary in measurement_units(
            part=part,
            sisters=own_sisters,
            groups=groups_of(config, plan.model),
            costs=UnitCosts.of(config.parts[part], plan.model),
            chain_batches=partial(config.chain.batches, config.run.chains_per_unit),
            shard_sizes=plan.tokens.splits["probe"].shard_sizes,
            tokens=TokensUnit(),
            probe_sha256=plan.tokens.probe_sha256,
        ):
            goals += [*summary.needs, summary]
    return goals


def measurement_units(
    *,
    part: str,
    groups: Sequence[Group],
    costs: UnitCosts,
    chain_batches: Callable[[int], Sequence[Sequence[int]]],
    shard_sizes: Sequence[int],
    tokens: TokensUnit,
    sisters: Sequence[str] = (),
    probe_sha256: str = "",
) -> list[SummaryUnit]:
    """Chains, tiles and assembly of one measurement and of the parts that share its draws.

    Returns the last unit of each, which needs the rest.

    Args:
        part: subfolder of the run.
        groups: all groups that are sampled, `full` included for the two-chain estimator.
        costs: of the units.
        chain_batches: token shard → the batches of chains that it is measured along; one unit steps
            one batch.
        shard_sizes: sequences of every probe shard.
        tokens: what the chains need.
        sisters: parts that weight the same draws otherwise: one tile has the sums of all.
        probe_sha256: of the tokens.
    """
    num_shards = len(shard_sizes)
    batches = {tuple(b) for shard in range(num_shards) for b in chain_batches(shard)}
    chains = _chain_units(part, groups, costs, batches, tokens)

    def tile(group: Group, shard: int) -> TileUnit:
        needs = (chains[group.name, tuple(batch)] for batch in chain_batches(shard))
        return TileUnit(
            part=part,
            sisters=tuple(sisters),
            group=group,
            shard=shard,
            cost=costs.tile(group, shard_sizes[shard]),
            needs=tuple(unit for own in needs for unit in _with_sisters(own, sisters)),
        )

    def assembly(shard: int) -> AssemblyUnit:
        return AssemblyUnit(
            part=part,
            sisters=tuple(sisters),
            shard=shard,
            groups=tuple(groups),
            cost=costs.assembly(shard_sizes[shard]),
            needs=tuple(tile(group, shard) for group in groups),
        )

    summary = SummaryUnit(
        part=part,
        num_shards=num_shards,
        groups=tuple(groups),
        probe_sha256=probe_sha256,
        needs=tuple(map(assembly, range(num_shards))),
    )
    return [replace(summary, part=each) for each in (part, *sisters)]


def _chain_units(
    part: str,
    groups: Sequence[Group],
    costs: UnitCosts,
    batches: Collection[tuple[int, ...]],
    tokens: TokensUnit,
) -> dict[tuple[str, tuple[int, ...]], ChainUnit]:
    """One unit for each group and batch of chains, however many token shards share its chains."""
    found = {}
    for group in groups:
        pilot = PilotUnit(part=part, group=group, cost=costs.pilot(group), needs=(tokens,))
        for batch in batches:
            found[group.name, batch] = ChainUnit(
                part=part,
                group=group,
                chains=batch,
                cost=costs.chains(group, len(batch)),
                needs=(pilot,),
            )
    return found


def _with_sisters(own: ChainUnit, sisters: Sequence[str]) -> list[ChainUnit]:
    """Some chains, and the same at every other nβ, which need the pilots and draws before them."""
    found = [own]
    for part in sisters:
        pilots = tuple(replace(unit, part=part, needs=(unit,)) for unit in own.needs)
        found.append(replace(own, part=part, needs=(*pilots, *found)))
    return found
