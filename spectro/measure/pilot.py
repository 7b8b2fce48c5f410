"""Pilot units: exact moments of every component's posterior, before any chain is run."""

from __future__ import annotations

import logging
import math
from functools import partial

from spectro.formats import chain_records
from spectro.measure.resident_model import ResidentModel
from spectro.measure.shared_draws import known_pilot
from spectro.measure.units import PilotUnit
from spectro.sampling.pilot.pilot import independent_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.work.errors import HandedBack
from spectro.work.stage import OnProgress, ShouldStop

logger = logging.getLogger(__name__)


def measure_pilot(
    unit: PilotUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put the pilot of one group; raises HandedBack when asked to stop: it begins anew."""
    store, config = resident.of(unit)
    pilot = resident.pilot(
        unit.group,
        config,
        known=known_pilot(unit, unit.group.name, resident),
        on_step=partial(_stop_if_asked, should_stop),
    )
    alone = independent_components(config.sampler, pilot)
    for name, moments in pilot.items():
        logger.info(
            "pilot %s: effective fraction %.2f, E[ΔL] %.4f nats (%s), %s",
            name,
            moments.effective_fraction,
            moments.delta_loss,
            moments.source or "not known",
            "independent draws" if name in alone else _step_in_words(moments),
        )
    chain_records.write_pilot(store, unit.group.name, pilot)


def _step_in_words(moments: PosteriorMoments) -> str:
    """How a component steps: what its `mala` step keeps, where the pilot tuned one."""
    return "a chain" if math.isnan(moments.rho) else f"a chain, ρ {moments.rho:.3f}"


def _stop_if_asked(should_stop: ShouldStop) -> None:
    if should_stop():
        raise HandedBack("asked to stop; this unit begins anew")
