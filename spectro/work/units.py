"""Units of work: what is done, where its result lies, and what must be there before.

A unit is idempotent: its objects are serialised first and put once, and their presence is what
"done" means. `required` walks back from what a run is for, as `make` does, so that what is
already there is never scheduled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from spectro.formats.chain_names import pilot_name, record_name
from spectro.formats.object_kinds import page_names
from spectro.formats.product import SUMMARY_NAME, moments_name, part_name
from spectro.formats.tiles import tile_name
from spectro.formats.tokens import MARKER as TOKENS_MARKER
from spectro.formats.tokens import more_name
from spectro.models.components import Group
from spectro.work.model_info import ModelInfo


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One thing to do."""

    part: str = ""
    """Subfolder of the run that it belongs to: empty, `control`, `nbeta-3`."""
    cost: float = 1.0
    """Work relative to other units of its stage; the time left is reckoned with it."""
    needs: tuple[Unit, ...] = ()
    """Units that must be done before."""

    @property
    def stage(self) -> str:
        """Word under which progress is shown."""
        raise NotImplementedError

    @property
    def takes_all_cores(self) -> bool:
        """Whether it uses all cores of a machine that is the run's own."""
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """Objects that it makes, relative to its part of the run."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[str, ...]:
        """Objects that it makes, relative to the run's root."""
        return tuple(f"{self.part}/{name}" if self.part else name for name in self.names)

    @property
    def id(self) -> str:
        """Name in logs and messages."""
        return self.outputs[0]


@dataclass(frozen=True, kw_only=True)
class TokensUnit(Unit):
    """Read, tokenise and sample all sequences."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "tokens"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (TOKENS_MARKER,)


@dataclass(frozen=True, kw_only=True)
class MoreTokensUnit(Unit):
    """Add probe sequences to the run's."""

    addition: int
    """Its number, from 1."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "tokens"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (more_name(self.addition),)


@dataclass(frozen=True, kw_only=True)
class PilotUnit(Unit):
    """Exact moments of one group's components."""

    group: Group
    """Whose components."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "pilot"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (pilot_name(self.group.name),)


@dataclass(frozen=True, kw_only=True)
class ChainUnit(Unit):
    """Some chains of one group, which step together; those that are done are not done again."""

    group: Group
    """Whose components."""
    chains: tuple[int, ...]
    """Indices of the chains."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "chains"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return tuple(record_name(self.group.name, chain) for chain in self.chains)


@dataclass(frozen=True, kw_only=True)
class TileUnit(Unit):
    """Sums of one group for one token shard, of its part and those that share its draws."""

    sisters: tuple[str, ...] = ()
    """Parts of other nβ, whose sums lie in the same object."""
    group: Group
    """Whose components."""
    shard: int
    """Which tokens."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "tiles"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (tile_name(self.shard, self.group.name),)


@dataclass(frozen=True, kw_only=True)
class AssemblyUnit(Unit):
    """All tiles of one shard, made into rows of the product of every part that they are of."""

    sisters: tuple[str, ...] = ()
    """Parts of other nβ, whose sums lie in the same tiles."""
    shard: int
    """Which tokens."""
    groups: tuple[Group, ...]
    """Whose tiles, `full` included where it was sampled."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "assembly"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`; the moments, written last, say what the rows are."""
        return (part_name(self.shard), moments_name(self.shard))

    @property
    def outputs(self) -> tuple[str, ...]:
        """See `Unit`; those of all parts."""
        own = super().outputs
        return (*own, *(f"{part}/{name}" for part in self.sisters for name in self.names))


@dataclass(frozen=True, kw_only=True)
class SummaryUnit(Unit):
    """Reliability and standard error of every column, from the moments of all shards."""

    num_shards: int
    """Shards of the product."""
    groups: tuple[Group, ...]
    """Whose chains."""
    probe_sha256: str = ""
    """Of the tokens that it is made from; what is of others is stale."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "assembly"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (SUMMARY_NAME,)


@dataclass(frozen=True, kw_only=True)
class ReportUnit(Unit):
    """The page."""

    probe_sha256: str = ""
    """Of the tokens that it is made from; what is of others is stale."""
    clusters: str = "clusters"
    """Folder of the clusters that it shows."""

    @property
    def stage(self) -> str:
        """See `Unit`."""
        return "report"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return page_names(self.clusters)


def measurement_units(
    *,
    part: str,
    groups: Sequence[Group],
    model: ModelInfo,
    companies: Callable[[int], Sequence[Sequence[int]]],
    num_shards: int,
    tokens: TokensUnit,
    sisters: Sequence[str] = (),
) -> list[SummaryUnit]:
    """Chains, tiles and assembly of one measurement and of its sisters at other nβ.

    Returns the last unit of each, which needs the rest.

    Args:
        part: subfolder of the run.
        groups: all groups that are sampled, `full` included for the two-chain estimator.
        model: for the costs.
        companies: token shard → the chains that it is measured along, those together that one unit
            steps.
        num_shards: probe shards.
        tokens: what the chains need.
        sisters: parts that have other weights of the same draws: one tile has the sums of all.
    """
    pilots = {
        group.name: PilotUnit(part=part, group=group, cost=model.cost(group), needs=(tokens,))
        for group in groups
    }
    chains: dict[tuple[str, tuple[int, ...]], ChainUnit] = {}

    def chains_of(group: Group, shard: int) -> tuple[ChainUnit, ...]:
        """One unit for each company, however many shards share its chains."""
        for company in companies(shard):
            chains.setdefault(
                (group.name, tuple(company)),
                ChainUnit(
                    part=part,
                    group=group,
                    chains=tuple(company),
                    cost=len(company) * model.cost(group),
                    needs=(pilots[group.name],),
                ),
            )
        own = [chains[group.name, tuple(company)] for company in companies(shard)]
        return tuple(each for unit in own for each in _with_sisters(unit, sisters))

    shards = []
    for shard in range(num_shards):
        tiles = tuple(
            TileUnit(
                part=part,
                sisters=tuple(sisters),
                group=group,
                shard=shard,
                cost=model.cost(group),
                needs=chains_of(group, shard),
            )
            for group in groups
        )
        unit = AssemblyUnit(
            part=part, sisters=tuple(sisters), shard=shard, groups=tuple(groups), needs=tiles
        )
        shards.append(unit)
    return [
        SummaryUnit(part=each, num_shards=num_shards, groups=tuple(groups), needs=tuple(shards))
        for each in (part, *sisters)
    ]


def _with_sisters(own: ChainUnit, sisters: Sequence[str]) -> tuple[ChainUnit, ...]:
    """Some chains, and the same at every other nβ: of pilots and draws of those before."""
    found = [own]
    for part in sisters:
        pilots = tuple(replace(unit, part=part, needs=(unit,)) for unit in own.needs)
        found.append(replace(own, part=part, needs=(*pilots, *found)))
    return tuple(found)


def required(goals: Iterable[Unit], present: Collection[str]) -> list[Unit]:
    """Units to do; those whose outputs are present, and what only they need, are left out.

    Order: the run before its control, chains before tiles before the rest, the costliest first,
    the tiles of one group together.
    """
    found: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.id in found or all(name in present for name in unit.outputs):
            return
        found[unit.id] = unit
        for need in unit.needs:
            visit(need)

    for goal in goals:
        visit(goal)
    return sorted(found.values(), key=_priority)


STAGES = (
    "tokens", "pilot", "chains", "tiles", "features", "training", "prediction", "assembly",
    "neighbours", "clusters", "report",
)  # fmt: skip
"""In the order of their work."""


def _priority(unit: Unit) -> tuple[str, int, float, str]:
    return (unit.part, STAGES.index(unit.stage), -unit.cost, _group_first(unit))


def _group_first(unit: Unit) -> str:
    return f"{unit.group.name}/{unit.shard:05d}" if isinstance(unit, TileUnit) else unit.id
