"""From a text's numbers to the page's data, and the page.

Shapes as in document.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.views.config import ColourScale
from spectro.views.text.colours import WORDS, Colours, style_rules
from spectro.views.text.document import MAX_BANDS, Document
from spectro.views.text.scales import limits, scales, values
from spectro.views.viewer.one_file import assemble

STEPS = 2000
"""Of χ, in a standard deviation of its column: half a step is beyond what is shown."""


def render(
    document: Document,
    *,
    scale: ColourScale = ColourScale.STANDARDISED,
    colours: Colours = Colours.GREEN_RED,
    theme: str | None = None,
) -> str:
    """The page as one HTML text; the same document gives the same bytes.

    Args:
        document: what is shown.
        scale, colours: what is chosen first; the page has a switch for both.
        theme: `light` or `dark`; None: as the reader's system has it.

    Raises ValueError for a scale that the text does not have.
    """
    values(document, scale)
    data = page_data(document) | {"scale": scale.value, "colours": colours.value, "theme": theme}
    return assemble(
        document.title,
        data,
        template="text/page_files/page.html",
        styles=("viewer/common/base.css", "text/page_files/page.css"),
        folders=("viewer/common", "text/page_files"),
        rules=style_rules(),
    )


def page_data(document: Document) -> dict[str, Any]:
    """Everything the scripts draw, as plain JSON types; what is not known is null.

    `tokens` are places in `pieces`, the texts that tokens have here: at the beginning and the end
    of a text a token may have another than within. χ comes by column as whole numbers:
    `values[column][token]` times `step[column]`, which is small beside the column's deviation. The
    page makes its scales of it as `scales.values` does (`page_files/state.js`).
    """
    there = scales(document)
    place = {shown: index for index, shown in enumerate(dict.fromkeys(document.shown_N))}
    error_NC, columns, step_C = document.error_NC, document.columns, _steps(document)
    row_mean_N, width_of = document.row_mean_N, document.interval.half_width
    return {
        "title": document.title,
        "facts": [list(fact) for fact in document.facts],
        "tokens": [place[shown] for shown in document.shown_N],
        "pieces": list(place),
        "starts": list(document.starts),
        "loss": _numbers(document.loss_N),
        "components": list(document.components),
        "shown": list(document.shown),
        "maxBands": MAX_BANDS,
        "scales": [scale.value for scale in there],
        "step": step_C.tolist(),
        "values": [_whole(column) for column in (document.chi_NC / step_C).T],
        "mean": _numbers(columns.mean_C, 7),
        "deviation": _numbers(np.where(columns.deviation_C > 0, columns.deviation_C, np.nan), 7),
        "rowMean": None if row_mean_N is None else _numbers(row_mean_N),
        "limits": {s.value: _numbers(limits(document, s)) for s in there},
        "halfWidth": None if error_NC is None else [_numbers(c, 2) for c in width_of(error_NC).T],
        "columnHalfWidth": _numbers(width_of(columns.error_C), 2),
        "interval": document.interval.words,
        "reliability": _numbers(columns.reliability_C, 2),
        "words": {colours.value: list(words) for colours, words in WORDS.items()},
    }


def _steps(document: Document) -> npt.NDArray[np.float64]:
    """Step in which χ of each column is written, [C] > 0: of its deviation, else its largest χ."""
    size_NC = np.abs(document.chi_NC.astype(np.float64))
    largest_C = np.max(size_NC, axis=0, where=np.isfinite(size_NC), initial=0.0)
    deviation_C = document.columns.deviation_C
    unit_C = np.where(deviation_C > 0, deviation_C, largest_C)
    return np.array([float(f"{unit / STEPS:.3g}") if unit > 0 else 1.0 for unit in unit_C])


def _whole(values: npt.NDArray[np.floating]) -> list[int | None]:
    """To whole numbers; null where one is not finite."""
    return [round(v) if math.isfinite(v) else None for v in values.tolist()]


def _numbers(values: Iterable[float], digits: int = 4) -> list[float | None]:
    """To so many significant digits; null where one is not finite."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, values)]
