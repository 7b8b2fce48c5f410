"""The estimates of some tokens, and the table of the columns that are made of them.

`TOKEN_COLUMNS` is the one list of what is measured of every token: the schema of the product
(formats/product.py), of the half estimates (formats/halves.py), the assembly of a shard and
`spectro.Result` follow it. A further column is one entry here. Statistics over tokens and chains
are listed in summary.py.

Shapes: N tokens, H components.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spectro.models.components import FULL
from spectro.susceptibility.estimator import ChainSums, EstimatorKind
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    centred_reliability,
    estimate_column,
    estimate_influence,
    estimate_response,
    first_halves,
)

Floats = npt.NDArray[np.floating]
Pair = tuple[Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class TokenEstimates:
    """Everything estimated of N tokens."""

    loss_N: Floats
    """ℓ(w*), nats."""
    columns: Mapping[str, ColumnEstimate]
    """Component → its χ, in the order of the columns."""
    response: ColumnEstimate | None = None
    """B; None without unrestricted chains."""
    influence: Mapping[str, Mapping[str, ColumnEstimate]] = field(default_factory=dict)
    """Further observable → component, `full` too where it was sampled → −Cov(φ_q, ℓ_i)."""

    @property
    def token_columns(self) -> tuple[TokenColumn, ...]:
        """All columns that these estimates have."""
        with_full = self.response is not None
        return (*TOKEN_COLUMNS, *influence_columns(tuple(self.influence), with_full=with_full))

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the columns of χ."""
        return tuple(self.columns)

    def values(self, columns: Sequence[TokenColumn]) -> dict[str, Floats]:
        """Name of each column → its values, [N] or [N, H]."""
        return {column.name: column.values(self) for column in columns}

    def halves(self) -> dict[str, Pair] | None:
        """Column of `HALF_COLUMNS` → its estimates from both halves; None with one chain."""
        found = {column.name: column.half_values(self) for column in HALF_COLUMNS}
        if found["chi"] is None:
            return None
        return {name: pair for name, pair in found.items() if pair is not None}

    def centred_reliability(self) -> npt.NDArray[np.float64]:
        """See `reliability.centred_reliability`, [H]."""
        return centred_reliability(list(self.columns.values()))


@dataclass(frozen=True, kw_only=True)
class TokenColumn:
    """One column of what is measured of every token; float32 wherever it is stored."""

    name: str
    """Name in files, in `Result.columns` and in the xarray dataset."""
    unit: str
    """Unit, also in the xarray dataset."""
    description: str
    """Long name in the xarray dataset."""
    values: Callable[[TokenEstimates], Floats]
    """The estimate, [N], or [N, H] if `by_component`."""
    by_component: bool = False
    """Whether a token has one value per component."""
    finite: bool = True
    """Whether nothing may be written if a value is not finite."""
    stored: bool = True
    """Whether it is a column of the product."""
    halves: tuple[str, str] | None = None
    """Columns of the estimates from two disjoint halves of the chains."""
    half_values: Callable[[TokenEstimates], Pair | None] = lambda found: None
    """Those estimates; None where they were not measured."""


def _response(found: TokenEstimates) -> Floats:
    return np.full(len(found.loss_N), np.nan) if found.response is None else found.response.chi_N


def _response_halves(found: TokenEstimates) -> Pair | None:
    if found.response is None or len(found.response.halves_P2N) == 0:
        return None
    first_N, second_N = found.response.halves_P2N[0]
    return first_N, second_N


TOKEN_COLUMNS = (
    TokenColumn(name="loss", unit="nats", description="ℓ at w*", values=lambda found: found.loss_N),
    TokenColumn(
        name="full_response",
        unit="nats",
        description="B_i = E_full[Δℓ_i − ΔL]; NaN without unrestricted chains",
        values=_response,
        finite=False,
        halves=("response_first", "response_second"),
        half_values=_response_halves,
    ),
    TokenColumn(
        name="chi",
        unit="nats²",
        description="susceptibility",
        values=lambda found: np.stack([c.chi_N for c in found.columns.values()], axis=-1),
        by_component=True,
        halves=("chi_first", "chi_second"),
        half_values=lambda found: first_halves(list(found.columns.values())),
    ),
    TokenColumn(
        name="standard_error",
        unit="nats²",
        description="jackknife standard error of χ over chains; NaN with one chain",
        values=lambda found: np.stack([c.standard_error_N for c in found.columns.values()], -1),
        by_component=True,
        finite=False,
        stored=False,
    ),
)
INFLUENCE = "influence"
"""Beginning of the names of columns of further observables."""
STORED_COLUMNS = tuple(column for column in TOKEN_COLUMNS if column.stored)


def influence_columns(observables: Sequence[str], *, with_full: bool) -> tuple[TokenColumn, ...]:
    """Columns of further observables: influence and its error, by component and of all weights."""
    found: list[TokenColumn] = []
    for q in observables:
        found += _influence(q, INFLUENCE, by_component=True)
        found += _influence(q, f"full_{INFLUENCE}", by_component=False) if with_full else []
    return tuple(found)


def observables_in(names: Sequence[str]) -> tuple[str, ...]:
    """Further observables whose influence is among these columns of the rows."""
    found = (re.fullmatch(rf"{INFLUENCE}_(\w+)_error", name) for name in names)
    return tuple(match[1] for match in found if match)


def influence_names(names: Sequence[str], observables: Sequence[str]) -> list[str]:
    """Those of these columns that are of the influence on some observables."""
    wanted = {
        f"{prefix}{INFLUENCE}_{q}{error}"
        for prefix in ("", "full_")
        for q in observables
        for error in ("", "_error")
    }
    return [name for name in names if name in wanted]


def _influence(q: str, prefix: str, *, by_component: bool) -> list[TokenColumn]:
    """Influence on one observable and its error."""

    def column(values: Callable[[ColumnEstimate], Floats]) -> Callable[[TokenEstimates], Floats]:
        def of(found: TokenEstimates) -> Floats:
            own = found.influence[q]
            if not by_component:
                return values(own[FULL.name])
            return np.stack([values(own[name]) for name in found.components], axis=-1)

        return of

    whose = "the component's" if by_component else "the unrestricted"
    return [
        TokenColumn(
            name=f"{prefix}_{q}",
            unit="nats x unit of the observable",
            description=f"Bayesian influence on {q}: -Cov(phi, loss) over {whose} draws",
            values=column(lambda own: own.chi_N),
            by_component=by_component,
        ),
        TokenColumn(
            name=f"{prefix}_{q}_error",
            unit="nats x unit of the observable",
            description=f"jackknife standard error of {prefix}_{q}; NaN with one chain",
            values=column(lambda own: own.standard_error_N),
            by_component=by_component,
            finite=False,
        ),
    ]


HALF_COLUMNS = tuple(
    sorted((c for c in STORED_COLUMNS if c.halves), key=lambda column: not column.by_component)
)
"""Columns that have half estimates, in the order in which these are stored."""


def estimate(
    sums: Mapping[str, ChainSums],
    names: Sequence[str],
    kind: EstimatorKind,
    loss_N: Floats,
    *,
    phi_offset: float = 0.0,
) -> TokenEstimates:
    """All estimates of the tokens of some sums.

    Args:
        sums: component → its sums; `full` too for `two_chain`.
        names: components, in the order of the columns.
        kind: estimator.
        loss_N: ℓ(w*) of the tokens, nats.
        phi_offset: see `susceptibility`.
    """
    full = sums.get(FULL.name)
    return TokenEstimates(
        loss_N=loss_N,
        columns={
            name: estimate_column(sums[name], full, kind, phi_offset=phi_offset) for name in names
        },
        response=None if full is None else estimate_response(full),
        influence={
            observable: {
                name: estimate_influence(sums[name], observable)
                for name in dict.fromkeys([*names, *([] if full is None else [FULL.name])])
            }
            for observable in sums[names[0]].observed
        },
    )
