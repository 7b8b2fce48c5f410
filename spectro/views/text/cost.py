"""What it takes to measure a text along a run's draws, told before it begins.

Shapes: N tokens of the text, n windows, M = N − 1 measured tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.formats.draws import read_pilot
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import Group
from spectro.models.size import ModelSize
from spectro.planning.run_work import measurement_of
from spectro.planning.schedules import recorded_schedules, schedules_of_chain
from spectro.planning.unit_work import MeasurementSize, Work, tile_work, total
from spectro.sampling.pilot.pilot import listed_components
from spectro.views.text.measured_text import RunDraws
from spectro.work.progress import clock


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What measuring a text takes."""

    num_tokens: int
    """M."""
    num_windows: int
    """n."""
    names: tuple[str, ...]
    """Components whose draws are scored, the unrestricted one included."""
    num_draws: int
    """Draws of all of them."""
    work: Work
    """Counted as for the run's tiles."""
    seconds: float | None
    """At the pace of the run's own tiles; None where it noted none."""

    @property
    def line(self) -> str:
        """For people."""
        time = "" if self.seconds is None else f"; {_about(self.seconds)} at the run's own pace"
        return (
            f"to measure: {self.num_tokens:,} tokens in {self.num_windows} contexts along "
            f"{self.num_draws} draws of {_listed(self.names)}: {self.work.flops:.1e} flop, "
            f"{self.work.read_bytes / 1e6:.1f} MB to read{time}; the run is not changed"
        )


def cost_of(bank: RunDraws, num_tokens: int, names: Sequence[str]) -> Cost:
    """What a text of N tokens takes for these components; the model is loaded for it."""
    length = min(bank.view.context, num_tokens - 1)
    num_windows = math.ceil((num_tokens - 1) / length)
    size = ModelSize.of_model(bank.resident.model)
    whole = measurement_of(bank.config, size)
    groups = bank.groups(names)
    found = [_group_cost(bank, group, whole, length, num_windows) for group in groups]
    work, pace = total([own for own, _ in found]), _seconds_per_flop(bank, whole)
    return Cost(
        num_tokens=num_tokens - 1,
        num_windows=num_windows,
        names=tuple(component.name for group in groups for component in group.components),
        num_draws=sum(num_draws for _, num_draws in found),
        work=work,
        seconds=None if pace is None else work.flops * pace,
    )


def _group_cost(
    bank: RunDraws, group: Group, whole: MeasurementSize, length: int, num_windows: int
) -> tuple[Work, int]:
    """Work of a group's tile, and its draws."""
    pilot = read_pilot(bank.store, group.name)
    listed = listed_components(bank.config.scoring, pilot)
    courses = [schedules_of_chain(bank.record(group.name, c), listed, pilot) for c in bank.chains]
    batches = math.ceil(num_windows / max(1, bank.resident.scoring(pilot).positions // length))
    m = dataclasses.replace(whole, context=length)
    num_draws = sum(c[own.name].num_draws for c in courses for own in group.components)
    return tile_work(m, group, num_windows, courses, batches), num_draws


def _seconds_per_flop(bank: RunDraws, m: MeasurementSize) -> float | None:
    """Of the run's own tiles; None where it noted no time."""
    view = bank.view
    seconds = sum(float(shard.get("seconds", 0.0)) for shard in view.moments())
    sizes, chain = view.info.splits["probe"].shard_sizes, bank.config.chain
    courses = recorded_schedules(bank.store, bank.config, m.size, 1 + max(view.measured, default=0))
    flops = sum(
        tile_work(
            m, group, sizes[shard], [courses[group.name][c] for c in chain.of_shard(shard)], 1
        ).flops
        for shard in view.measured
        for group in groups_of(bank.config, m.size)
    )
    return seconds / flops if seconds > 0 and flops else None


def _about(seconds: float) -> str:
    return "less than a second" if seconds < 1 else f"about {clock(seconds)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 6:
        return f"{len(names)} components"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
