"""Cost of measuring a text along a run's draws.

Shapes: N tokens of the text, n windows, M = N − 1 measured tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectro.formats.chain_records import read_pilot
from spectro.measure.sampled_groups import groups_of
from spectro.models.components import Group
from spectro.planning.run_work import measurement_of
from spectro.planning.schedules import recorded_schedules, schedules_of_chain
from spectro.planning.unit_work import MeasurementSize, Work, tile_work, total
from spectro.sampling.pilot.pilot import top_k_components
from spectro.views.text.measured_text import RunDraws
from spectro.work.progress import clock


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of measuring a text."""

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


def cost_of(run_draws: RunDraws, num_tokens: int, names: Sequence[str]) -> Cost:
    """Cost of a text of N tokens for these components; loads the model."""
    length = min(run_draws.view.context, num_tokens - 1)
    num_windows = math.ceil((num_tokens - 1) / length)
    size = run_draws.resident.model.shape
    whole = measurement_of(run_draws.config, size)
    groups = run_draws.groups(names)
    found = [_group_cost(run_draws, group, whole, length, num_windows) for group in groups]
    work, pace = total([own for own, _ in found]), _seconds_per_flop(run_draws, whole)
    return Cost(
        num_tokens=num_tokens - 1,
        num_windows=num_windows,
        names=tuple(component.name for group in groups for component in group.components),
        num_draws=sum(num_draws for _, num_draws in found),
        work=work,
        seconds=None if pace is None else work.flops * pace,
    )


def _group_cost(
    run_draws: RunDraws, group: Group, whole: MeasurementSize, length: int, num_windows: int
) -> tuple[Work, int]:
    """Work of a group's tile, and its draws."""
    pilot = read_pilot(run_draws.store, group.name)
    listed = top_k_components(run_draws.config.scoring, pilot)
    schedules = [
        schedules_of_chain(run_draws.record(group.name, c), listed, pilot) for c in run_draws.chains
    ]
    batches = math.ceil(num_windows / max(1, run_draws.resident.scoring(pilot).positions // length))
    m = dataclasses.replace(whole, context=length)
    num_draws = sum(c[own.name].num_draws for c in schedules for own in group.components)
    return tile_work(m, group, num_windows, schedules, batches), num_draws


def _seconds_per_flop(run_draws: RunDraws, m: MeasurementSize) -> float | None:
    """Of the run's own tiles; None where it noted no time."""
    view = run_draws.view
    seconds = sum(float(shard.get("seconds", 0.0)) for shard in view.moments())
    sizes, chain = view.info.splits["probe"].shard_sizes, run_draws.config.chain
    schedules = recorded_schedules(
        run_draws.store, run_draws.config, m.size, 1 + max(view.measured, default=0)
    )
    flops = sum(
        tile_work(
            m, group, sizes[shard], [schedules[group.name][c] for c in chain.of_shard(shard)], 1
        ).flops
        for shard in view.measured
        for group in groups_of(run_draws.config, m.size)
    )
    return seconds / flops if seconds > 0 and flops else None


def _about(seconds: float) -> str:
    return "less than a second" if seconds < 1 else f"about {clock(seconds)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 6:
        return f"{len(names)} components"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
