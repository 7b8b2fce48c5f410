"""Pilot units: exact moments of every component's posterior, before any chain is run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Mapping

from spectro.formats import chain_records
from spectro.formats.checkpoint_bank import PILOT_STEM, CheckpointBank, chain_folder
from spectro.measure.checkpoint_writer import CheckpointWriter
from spectro.measure.resident_model import ResidentModel
from spectro.measure.shared_draws import known_pilot
from spectro.measure.units import PilotUnit
from spectro.sampling.pilot.pilot import independent_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.background import BackgroundWriter
from spectro.work.stage import OnProgress, ShouldStop

logger = logging.getLogger(__name__)


def measure_pilot(
    unit: PilotUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put the pilot of one group; raises HandedBack, with a checkpoint, when asked to stop."""
    store, config = resident.of(unit)
    known = known_pilot(unit, unit.group.name, resident)
    bank = CheckpointBank(store, chain_folder(unit.group.name), PILOT_STEM, _digest(known))
    with BackgroundWriter() as background:
        writer = CheckpointWriter(
            bank, background, config.run.checkpoint_seconds, should_stop, resumed=bank.newest()
        )
        pilot = resident.pilot(
            unit.group,
            config,
            known=known,
            on_progress=on_progress,
            checkpoints=writer.checkpoints(),
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
    bank.remove()


def _step_in_words(moments: PosteriorMoments) -> str:
    """How a component steps: what its `mala` step keeps, where the pilot tuned one."""
    return "a chain" if math.isnan(moments.rho) else f"a chain, ρ {moments.rho:.3f}"


def _digest(known: Mapping[str, PosteriorMoments] | None) -> str:
    """Digest of the inputs of a pilot that the run's fingerprint does not cover."""
    plain = {name: dataclasses.asdict(moments) for name, moments in (known or {}).items()}
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()
