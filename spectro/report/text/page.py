"""From a text's numbers to the page's data, and the page.

Shapes as in document.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from spectro.report.html import assemble
from spectro.report.text.colours import WORDS, Colours, style_rules
from spectro.report.text.document import MAX_BANDS, Document
from spectro.report.text.scales import Scale, limits, scales, values
from spectro.report.vocabulary import display

_SCRIPTS = (
    "common/dom.js",
    "common/text.js",
    "text/state.js",
    "text/tokens.js",
    "text/tip.js",
    "text/controls.js",
    "text/main.js",
)


def render(
    document: Document,
    *,
    scale: Scale = Scale.STANDARDISED,
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
        template="text/page.html",
        styles=("common/base.css", "page.css", "text/page.css"),
        scripts=_SCRIPTS,
        rules=style_rules(),
    )


def page_data(document: Document) -> dict[str, Any]:
    """Everything the scripts draw, as plain JSON types; what is not known is null.

    Numbers of tokens stand by column: `values[scale][column][token]`.
    """
    there = scales(document)
    error_NC, columns = document.error_NC, document.columns
    return {
        "title": document.title,
        "facts": [list(fact) for fact in document.facts],
        "tokens": document.token_N.tolist(),
        "pieces": {
            str(token): display(document.pieces[token])
            for token in np.unique(document.token_N).tolist()
            if token in document.pieces
        },
        "starts": list(document.starts),
        "loss": _numbers(document.loss_N),
        "components": list(document.components),
        "shown": list(document.shown),
        "maxBands": MAX_BANDS,
        "values": {s.value: [_numbers(v) for v in values(document, s).T] for s in there},
        "limits": {s.value: _numbers(limits(document, s)) for s in there},
        "error": None if error_NC is None else [_numbers(column, 2) for column in error_NC.T],
        "columnError": _numbers(columns.error_C, 2),
        "reliability": _numbers(columns.reliability_C, 2),
        "words": {colours.value: list(words) for colours, words in WORDS.items()},
    }


def _numbers(values: Iterable[float], digits: int = 4) -> list[float | None]:
    """To so many significant digits; null where one is not finite."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, values)]
