"""χ of a run less χ of its nβ = 0 control: by component with errors, and the significant tokens.

Two passes over the half estimates of both, shard by shard. Where the control is the run's own draws
by other weights, the shared noise cancels (susceptibility/change_from_control.py, ADR 067).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.formats.halves import Halves, NoHalvesError, iterate_halves
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_parts import CONTROL
from spectro.storage.store import Store
from spectro.susceptibility.change_from_control import (
    ControlDifference,
    Exceedances,
    HalvesOfTwo,
    MovedSums,
    moved,
)
from spectro.views.run_view import RunView

NUM_TOP = 20
"""Tokens kept per component."""
MOVED = pa.schema(
    {"place": pa.int32(), "component": pa.string()}
    | {
        name: pa.float64()
        for name in (
            "deviation", "base_deviation", "error", "signal", "reliability", "scale", "threshold",
        )
    }
    | {"num_significant": pa.int64()}
)  # fmt: skip
"""As in `susceptibility/change_from_control.py`; `deviation` is of the difference, with noise,
`base_deviation` that of χ at nβ = 0."""
MOVED_TOKENS = pa.schema(
    {"component": pa.string(), "token_id": pa.int64(), "difference": pa.float64()}
    | {"error": pa.float64(), "is_significant": pa.bool_()}
)
"""`difference` is about the column's mean."""


@dataclass(frozen=True, kw_only=True)
class MovedData:
    """The difference of a run and its control."""

    components: tuple[str, ...]
    """Names of the columns."""
    num_tokens: int
    """Tokens compared: all."""
    nbeta: float | None
    """Of the run."""
    shared: bool
    """Whether both are of the same draws."""
    moved: ControlDifference
    """By component."""
    threshold_H: npt.NDArray[np.float64]
    """Least difference, in errors, that is significant; ∞ where none is."""
    num_significant_H: npt.NDArray[np.int64]
    """Tokens above it."""
    top: Exceedances
    """Tokens of the largest differences, by component."""


def moved_data(view: RunView, num_top: int = NUM_TOP) -> MovedData:
    """χ of a run less that of its control.

    Raises ValueError, in one line, where there is no control, where either has no halves (one
    chain, `run.keep_halves=false`), and where they are not of the same tokens.
    """
    control = control_of(view)
    view.require_measured()
    sums = MovedSums()
    for pair, _ in _pairs(view, control):
        sums.add(pair)
    found = moved(sums)
    top = Exceedances.begin(found, num_top)
    for pair, token_id_N in _pairs(view, control):
        top.add(pair, token_id_N)
    seeds = [each.config.get("seed") for each in (view, control)]
    return MovedData(
        components=view.components,
        num_tokens=sums.num_tokens,
        nbeta=view.config.get("sampler", {}).get("nbeta"),
        shared=seeds[0] == seeds[1],
        moved=found,
        threshold_H=top.threshold_H,
        num_significant_H=top.num_significant_H,
        top=top,
    )


def significant_tokens(data: MovedData) -> list[tuple[int, int, float]]:
    """Column, token id and difference (nats²) of the significant tokens kept, surest first."""
    top = data.top
    kept = np.argwhere(top.top_score_HK >= np.maximum(data.threshold_H, 0.0)[:, None])
    order = np.argsort([-top.top_score_HK[h, k] for h, k in kept], kind="stable")
    return [
        (int(h), int(top.top_token_HK[h, k]), float(top.top_difference_HK[h, k]))
        for h, k in kept[order]
    ]


def moved_table(data: MovedData) -> pa.Table:
    """A row per component, nats² but for ratios and counts."""
    found = data.moved
    columns = {
        "place": range(1, len(data.components) + 1),
        "component": data.components,
        "deviation": found.deviation_H,
        "base_deviation": found.base_deviation_H,
        "error": found.error_H,
        "signal": found.signal_H,
        "reliability": found.reliability_H,
        "scale": found.scale_H,
        "threshold": data.threshold_H * found.error_H,
        "num_significant": data.num_significant_H,
    }
    return pa.table({n: pa.array(v, MOVED.field(n).type) for n, v in columns.items()})


def moved_tokens_table(data: MovedData) -> pa.Table:
    """A row per component and token of its largest differences, surest first."""
    top = data.top
    kept = np.argwhere(top.top_score_HK > 0)
    score = np.array([top.top_score_HK[h, k] for h, k in kept])
    column = kept[:, 0] if len(kept) else np.zeros(0, np.int64)
    columns = {
        "component": [data.components[h] for h in column],
        "token_id": [top.top_token_HK[h, k] for h, k in kept],
        "difference": [top.top_difference_HK[h, k] for h, k in kept],
        "error": data.moved.error_H[column],
        "is_significant": score >= data.threshold_H[column],
    }
    return pa.table({n: pa.array(v, MOVED_TOKENS.field(n).type) for n, v in columns.items()})


def control_of(view: RunView) -> RunView:
    """The nβ = 0 control of a run or of a part of it; ValueError where there is none."""
    store = view.root.child(CONTROL)
    if view.uri == store.uri:
        raise ValueError(f"{view.uri} is the control itself: expected a run or another part of it")
    if not store.exists(SUMMARY_NAME):
        raise ValueError(
            f"{view.root.uri} has no nβ = 0 control to compare with: expected {CONTROL}/"
            f"{SUMMARY_NAME}; spectro pipeline with control=true measures one"
        )
    return RunView(store.uri)


def _pairs(view: RunView, control: RunView) -> Iterator[tuple[HalvesOfTwo, npt.NDArray[np.int64]]]:
    """Half estimates of both, shard by shard."""
    for own, base in zip(
        _halves(view.store, view.num_shards), _halves(control.store, view.num_shards), strict=True
    ):
        same = own.components == base.components
        if not (same and np.array_equal(own.token_id_N, base.token_id_N)):
            raise ValueError(
                f"{control.uri} has other components or tokens than {view.uri}: is it the control "
                "of another run?"
            )
        yield (
            HalvesOfTwo(
                first=own.chi_first_NH,
                second=own.chi_second_NH,
                base_first=base.chi_first_NH,
                base_second=base.chi_second_NH,
            ),
            own.token_id_N,
        )


def _halves(store: Store, num_shards: int) -> Iterator[Halves]:
    try:
        yield from iterate_halves(store, num_shards)
    except NoHalvesError as error:
        reason = str(error).split(";")[0]
        raise ValueError(f"{reason}: a difference has no error without them") from error
