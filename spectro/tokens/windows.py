"""Cuts a single text into windows as packing cuts a stream (packing.py).

Shapes: N tokens of the text, n windows of L positions, T context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of a text: window i is ids[i·T : i·T + T + 1]."""

    ids_nL1: npt.NDArray[np.int64]
    """Windows, L = T or less for a short text. The last one is padded with the text's last token,
    which causal attention hides from earlier positions."""
    known_nL: npt.NDArray[np.bool_]
    """Positions whose target is in the text; others are left out of every result."""


def windows(ids_N: npt.NDArray[np.integer], context: int) -> Windows:
    """Cut a text of at least two tokens; its targets, row by row, are its tokens from 1 on."""
    length = min(context, len(ids_N) - 1)
    start_n1 = np.arange(0, len(ids_N) - 1, length)[:, None]
    place_nL1 = start_n1 + np.arange(length + 1)
    return Windows(
        ids_nL1=np.asarray(ids_N, np.int64)[np.minimum(place_nL1, len(ids_N) - 1)],
        known_nL=place_nL1[:, 1:] < len(ids_N),
    )
