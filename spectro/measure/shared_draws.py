"""Parts of a run at other nβ that share the run's draws: their pilots and chains (ADR 067).

Independent draws of N(w*, 1/γ) are the same at every nβ; only their weights differ. Where two parts
both draw a component independently, ΔL of those draws is computed once. Other components get
separate chains in every part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from spectro.formats import chain_records
from spectro.measure.resident_model import ResidentModel
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.pilot.importance_weights import importance_weights
from spectro.sampling.pilot.pilot import independent_components
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.work.units import Unit

KnownChains = dict[int, dict[str, ComponentChain]]
"""Chain → component → its ΔL and weights, where no forward pass is needed."""


def known_pilot(
    unit: Unit, group: str, resident: ResidentModel
) -> dict[str, PosteriorMoments] | None:
    """The run's pilot of a group, for a part at another nβ; None where draws differ."""
    if unit.part not in resident.config.sisters:
        return None
    found = chain_records.read_pilot(resident.root, group)
    return found if all(own.prior_delta_losses for own in found.values()) else None


def known_chains(
    unit: Unit, group: str, chains: Sequence[int], resident: ResidentModel
) -> KnownChains:
    """Chains of components whose draws an earlier part has, weighted for this part's nβ."""
    found: KnownChains = {chain: {} for chain in chains}
    parts = ["", *resident.config.sisters]
    if unit.part not in parts[1:]:
        return found
    store, config = resident.of(unit)
    pilot, nbeta = chain_records.read_pilot(store, group), config.sampler.nbeta
    alone = independent_components(config.sampler, pilot)
    before = [resident.root.child(part) for part in parts[: parts.index(unit.part)]]
    for chain in chains:
        for other in before:
            record = chain_records.read_record(other, group, chain, or_dropped=True)
            found[chain] |= {
                name: _weighted(own, nbeta, pilot[name].prior_delta_loss)
                for name, own in record.components.items()
                if own.independent and name in alone and name not in found[chain]
            }
    return found


def _weighted(own: ComponentChain, nbeta: float, center: float) -> ComponentChain:
    """The same draws with the weights of another nβ; their reliability is not known."""
    weight = np.ones(len(own.delta_loss))
    if nbeta > 0:
        weight = importance_weights(own.delta_loss, nbeta, center)
    return dataclasses.replace(own, weight=weight, reliability=math.nan)
