"""Summary statistics of the columns of χ for the viewer: reliability, errors, warnings.

Shapes: H components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.formats.product import SUMMARY_NAME
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.interval import Interval

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """One number per component; NaN where a column has none."""

    components: tuple[str, ...]
    """Component names, in column order."""
    reliability_H: Floats
    """Split-half reliability of each column."""
    centred_reliability_H: Floats | None = None
    """The same after standardising columns and centring rows, as clustering sees them."""
    standard_error_H: Floats | None = None
    """Standard error of χ, in the column's own units."""
    interval: Interval = Interval.over_chains(None)
    """What χ ± is."""
    mean_phi_H: Floats | None = None
    """E_C[φ], in nats."""
    llc_H: Floats | None = None
    """Local learning coefficient λ̂ = nβ E_C[φ]."""
    llc_error_H: Floats | None = None
    """Its standard error over chains."""
    warnings: tuple[str, ...] = ()
    """Why numbers should not be trusted as they are (susceptibility/warnings.py)."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; null where a number is not known."""
        error_H = self.standard_error_H
        return {
            "components": list(self.components),
            "reliability": numbers(self.reliability_H, 3),
            "centred": numbers(self.centred_reliability_H, 3),
            "halfWidth": numbers(None if error_H is None else self.interval.half_width(error_H)),
            "interval": self.interval.words,
            "meanPhi": numbers(self.mean_phi_H),
            "llc": numbers(self.llc_H),
            "llcError": numbers(self.llc_error_H),
            "warnings": list(self.warnings),
        }


def read_columns(store: Store, components: Sequence[str], interval: Interval) -> ColumnSummary:
    """The summary of one part of a run; ValueError where it has other components.

    `interval` is that of the run's χ (`RunView.interval`).
    """
    summary = read_sealed(store, SUMMARY_NAME)
    if list(summary["components"]) != list(components):
        raise ValueError(
            f"{store.uri}/{SUMMARY_NAME} has {len(summary['components'])} components, expected the "
            f"{len(components)} of the product, in their order: was it made by another run?"
        )

    def optional(name: str) -> npt.NDArray[np.float64] | None:
        values = summary.get(name)
        return None if values is None else _floats(values)

    return ColumnSummary(
        components=tuple(components),
        reliability_H=_floats(summary["reliability"]),
        centred_reliability_H=optional("centred_reliability"),
        standard_error_H=optional("standard_error"),
        interval=interval,
        mean_phi_H=optional("mean_phi"),
        llc_H=optional("llc"),
        llc_error_H=optional("llc_error"),
        warnings=tuple(summary.get("warnings", ())),
    )


def numbers(values: Floats | None, digits: int | None = None) -> list[float | None] | None:
    """`number` of each; None for None."""
    return None if values is None else [number(value, digits) for value in values.tolist()]


def number(value: float, digits: int | None = None) -> float | None:
    """Rounded; to 4 significant digits if `digits` is None; null where it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        return None
    return float(f"{value:.4g}") if digits is None else round(value, digits)


def _floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """JSON's null is NaN."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
