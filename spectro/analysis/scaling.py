"""Units of responses: nats², standard deviations, or less the mean of each row."""

from __future__ import annotations

from enum import Enum


class Scaling(Enum):
    """What is done to χ before responses are averaged."""

    RAW = "raw"
    """Nothing but the mean of all tokens taken away: nats²."""
    STANDARDISED = "standardised"
    """Each column less its mean, in its own standard deviations."""
    CENTRED = "centred"
    """Standardised, and each row less its mean over the components that vary."""


UNITS = {
    Scaling.RAW: "nats²",
    Scaling.STANDARDISED: "standard deviations",
    Scaling.CENTRED: "standard deviations, less the row's mean",
}
