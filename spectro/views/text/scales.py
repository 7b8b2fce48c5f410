"""On which scale χ is coloured, and where a colour is at its strongest.

    raw            χ as it was measured, nats²; not comparable between components
    standardised   (χ − mean) / deviation of the column, over all tokens of the run
    centred        standardised, less the mean over all components of the run: without the uniform
                   mode, which every column shares (design §1, §6)

Shapes as in document.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spectro.views.config import ColourScale
from spectro.views.text.document import Document

FloatArray = npt.NDArray[np.float64]
STRONGEST = 3.0
"""Deviations at which a colour is at its strongest, on the standardised and the raw scale."""
SHARE = 98.0
"""Per cent of the values of a text that the strongest colour lies above, on the centred scale."""
NEEDS_ALL = (
    "scale=centred takes off the mean of all components of the run, and not all of them are "
    "measured on this text: components=['*'], or scale=standardised"
)
"""Why a text has no centred scale."""


def scales(document: Document) -> tuple[ColourScale, ...]:
    """The scales that a text has: `centred` needs all components of the run."""
    known = document.row_mean_N is not None
    return tuple(scale for scale in ColourScale if known or scale is not ColourScale.CENTRED)


def values(document: Document, scale: ColourScale) -> FloatArray:
    """What is coloured, [N, C]; NaN where nothing can be said, as in columns without deviation.

    Raises ValueError, in one line, for a scale that the text does not have.
    """
    chi_NC = document.chi_NC.astype(np.float64)
    if scale is ColourScale.RAW:
        return chi_NC
    deviation_C = document.columns.deviation_C.astype(np.float64)
    deviation_C = np.where(deviation_C > 0, deviation_C, np.nan)
    standard_NC = (chi_NC - document.columns.mean_C) / deviation_C
    if scale is ColourScale.STANDARDISED:
        return standard_NC
    if document.row_mean_N is None:
        raise ValueError(NEEDS_ALL)
    centred_NC: FloatArray = standard_NC - document.row_mean_N[:, None]
    return centred_NC


def limits(document: Document, scale: ColourScale) -> FloatArray:
    """|value| from which on a colour is at its strongest, [C] > 0.

    The same for every text of the run on the standardised scale (3 deviations) and the raw one
    (3 times the root mean square of the column); what centring leaves has no deviation of the
    run's, so that its limit is of the text, one for all components.
    """
    width = len(document.components)
    if scale is ColourScale.STANDARDISED:
        return np.full(width, STRONGEST)
    if scale is ColourScale.RAW:
        columns = document.columns
        limit_C = STRONGEST * np.hypot(columns.mean_C, columns.deviation_C)
    else:
        size_NC = np.abs(values(document, scale))
        known = size_NC[np.isfinite(size_NC)]
        limit_C = np.full(width, np.percentile(known, SHARE) if known.size else np.nan)
    return np.where(limit_C > 0, limit_C, 1.0)
