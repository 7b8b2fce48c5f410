"""Units that are handed back again and again before they are done."""

from __future__ import annotations

from spectro.measure.resident_model import ResidentModel
from spectro.pipeline.stages import STAGES
from spectro.work.errors import HandedBack
from spectro.work.units import Unit


class Leaves:
    """Tells a worker to leave at the n-th time it asks, and from then on."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def nothing(done: float, total: float) -> None:
    """Progress that nobody sees."""


def in_pieces(unit: Unit, resident: ResidentModel, after: int) -> int:
    """Do a unit that is interrupted again and again; returns how often it was handed back."""
    for count in range(200):
        another = ResidentModel(resident.config)
        another.hf_model = resident.hf_model  # nothing else is kept
        try:
            STAGES.execute(unit, another, nothing, Leaves(after))
        except HandedBack:
            continue
        return count
    raise AssertionError("the unit makes no headway")
