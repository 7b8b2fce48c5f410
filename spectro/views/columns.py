"""The columns of χ of a run: what is known of them, and which of them are looked at.

Shapes: H components of the run, C of them, M tokens.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from spectro.analysis.response_scale import varying
from spectro.measure.assembly import column_moments
from spectro.susceptibility.reliability import (
    ColumnMoments,
    merge,
    reliability,
    standard_deviation,
    standard_error,
)
from spectro.views.run_view import RunView
from spectro.views.text.document import MAX_BANDS, TextColumns

FloatArray = npt.NDArray[np.float64]


def matching(names: Sequence[str], pattern: str) -> list[int]:
    """Places of the names that a pattern selects: `l1h3`, `L1H*`, `*`; case and spaces are free."""
    wanted = "".join(pattern.lower().split())
    return [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, wanted)]


@dataclass(frozen=True, kw_only=True)
class RunColumns:
    """All H columns of a run over all its tokens; NaN where a number is not known."""

    names: tuple[str, ...]
    """Components."""
    columns: TextColumns
    """Mean, deviation (0 of a column that does not vary), reliability, error."""

    def best(self, among: Sequence[int]) -> tuple[int, ...]:
        """At most `MAX_BANDS` of these columns: those of highest reliability × deviation.

        A column that repeats itself and moves much says most about a text. Where no reliability
        is known (one chain), the deviation alone decides; ties go to the earlier column.
        """
        known = np.isfinite(self.columns.reliability_C[list(among)]).any()
        weight_C = np.nan_to_num(self.columns.reliability_C) if known else 1.0
        score_C = weight_C * np.nan_to_num(self.columns.deviation_C)
        chosen = sorted(among, key=lambda column: (-score_C[column], column))[:MAX_BANDS]
        return tuple(sorted(chosen))

    def matching(self, patterns: Sequence[str]) -> list[int]:
        """Columns whose name matches a pattern, in the patterns' order: `l1h3`, `l1h*`, `*`.

        Raises ValueError, in one line, if a pattern selects nothing.
        """
        found: dict[int, None] = {}
        for pattern in patterns:
            own = matching(self.names, pattern)
            if not own:
                raise ValueError(
                    f"components: {pattern!r} selects nothing: the run measured "
                    f"{len(self.names)} components, {self.names[0]} … {self.names[-1]}"
                )
            found |= dict.fromkeys(own)
        return list(found)

    def first_shown(self, offered: Sequence[int], asked: bool) -> tuple[int, ...]:
        """Places among the offered columns: as asked for if so few, else the best of them."""
        if asked and len(offered) <= MAX_BANDS:
            return tuple(range(len(offered)))
        return tuple(list(offered).index(column) for column in self.best(offered))

    def some(self, chosen: Sequence[int]) -> TextColumns:
        """Of some columns."""
        own = self.columns
        return TextColumns(
            mean_C=own.mean_C[list(chosen)],
            deviation_C=own.deviation_C[list(chosen)],
            reliability_C=own.reliability_C[list(chosen)],
            error_C=own.error_C[list(chosen)],
        )

    def row_mean(self, chi_MH: npt.NDArray[np.floating]) -> FloatArray:
        """Mean over all components of standardised χ, of M tokens; without constant columns."""
        deviation_H = np.where(self.columns.deviation_C > 0, self.columns.deviation_C, np.nan)
        standard_MH = (chi_MH.astype(np.float64) - self.columns.mean_C) / deviation_H
        if np.isnan(deviation_H).all():
            return np.full(len(chi_MH), np.nan)
        mean_M: FloatArray = np.nanmean(standard_MH, axis=1)
        return mean_M


def run_columns(view: RunView) -> RunColumns:
    """From the moments of the token shards that are measured, as the run's summary has them.

    Raises ValueError, in one line, for rows without moments.
    """
    names = view.components
    merged = column_moments_of(view)
    if set(merged) != set(names):
        raise ValueError(
            f"{view.uri} has {len(names)} columns of χ and moments of {len(merged)}: was it "
            "written by another version?"
        )
    own = [merged[name] for name in names]
    mean_H = np.array([each.mean for each in own])
    columns = TextColumns(
        mean_C=mean_H,
        deviation_C=varying(np.array([standard_deviation(each) for each in own]), mean_H),
        reliability_C=np.array([reliability(each) for each in own]),
        error_C=np.array([standard_error(each) for each in own]),
    )
    return RunColumns(names=names, columns=columns)


def column_moments_of(view: RunView) -> dict[str, ColumnMoments]:
    """Component → moments over the tokens that are measured; empty where none are stored."""
    shards = [shard.get("moments", {}) for shard in view.moments()]
    return {
        name: reduce(merge, [column_moments(shard[name]) for shard in shards]) for name in shards[0]
    }
