"""Whether a posterior leaves anything of the model: E[ΔL] against what the model has learnt.

ln V − L(w*) is what the model knows beyond a uniform guess. A posterior whose E[ΔL] reaches it is
of a destroyed model, whatever its chains look like: γ is too small.
"""

from __future__ import annotations

import math

DAMAGED = 0.5
"""Share of what the model has learnt, ln V − L(w*), that a posterior may lose unnamed."""
MIN_HEADROOM = 0.1
"""ln V − L(w*), nats, below which a model has learnt nothing that could be damaged."""


def damage(delta_loss: float, headroom: float) -> float:
    """E[ΔL] as a share of what the model has learnt; NaN of a model that has learnt nothing.

    Args:
        delta_loss: E[ΔL], nats.
        headroom: ln V − L(w*) on the same sequences, nats.
    """
    return delta_loss / headroom if headroom >= MIN_HEADROOM else math.nan
