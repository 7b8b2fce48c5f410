"""The figure of what the posterior moves, from a run's place in storage."""

from __future__ import annotations

import numpy as np

from spectro.tokens.display.context_text import Vocabulary
from spectro.views.change_from_control import moved_data, significant_tokens
from spectro.views.drawing.moved import MovedPicture, MovedToken
from spectro.views.run_view import RunView
from spectro.views.token_contexts import lit_tokens


def moved_picture(view: RunView, num_tokens: int, known: Vocabulary) -> MovedPicture:
    """What the figure shows: in standard deviations of χ at nβ = 0; errors as `moved_data`."""
    data = moved_data(view, num_tokens)
    found, base_H = data.moved, data.moved.base_deviation_H
    with np.errstate(invalid="ignore", divide="ignore"):
        signal_H, error_H = found.signal_H / base_H, found.error_H / base_H
    named = significant_tokens(data)[:num_tokens]
    lit = lit_tokens(view, np.array([token for _, token, _ in named], np.int64), known)
    draws = "the same draws" if data.shared else "other draws"
    return MovedPicture(
        components=data.components,
        signal_H=signal_H,
        error_H=error_H,
        reliability_H=found.reliability_H,
        num_significant_H=data.num_significant_H,
        tokens=tuple(
            MovedToken(
                lit=own,
                component=data.components[column],
                difference=difference / base_H[column],
                error=error_H[column],
            )
            for own, (column, _, difference) in zip(lit, named, strict=True)
        ),
        title=f"What the posterior moves: nβ = {data.nbeta:g} against 0, along {draws}",
    )
