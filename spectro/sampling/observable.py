"""The observable φ that a draw is weighted by (design §1).

    paired      φ_t = ΔL(t)
    unpaired    φ_t = ΔL(t) + o,  o = L(w*) − L̃*,  L̃* the mean loss at w* over other batches, as
                devinterp takes it: for comparisons only (`MeasuredModel.phi_offset`)

Running sums, split halves and means over chains all take φ from here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def observable(delta_loss_T: FloatArray) -> FloatArray:
    """φ_t of every draw without offset, nats, [T]: ΔL(t)."""
    return delta_loss_T
