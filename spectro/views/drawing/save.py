"""A figure as bytes: SVG, PDF or PNG. The same figure gives the same bytes.

No dates and no random ids. SVG has its letters as outlines, so that it looks the same wherever it
is opened; PDF embeds the font, so that its text can be searched and copied.
"""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from spectro.views.config import suffix_of
from spectro.views.drawing.theme import Theme, style

_NO_DATES: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": "spectro"},
    ".pdf": {"CreationDate": None, "Creator": "spectro", "Producer": "spectro"},
    ".png": {"Software": "spectro"},
}


def to_bytes(figure: Figure, suffix: str, theme: Theme) -> bytes:
    """The figure in the format of `suffix`, which is one of `SUFFIXES`."""
    sink = io.BytesIO()
    with style(theme):
        figure.savefig(sink, format=suffix_of(suffix)[1:], metadata=_NO_DATES[suffix])
    return sink.getvalue()
