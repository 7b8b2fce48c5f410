"""What the figures of columns and clusterings are made of, the nβ = 0 control beside the run.

Shapes: N tokens, n tokens drawn, K clusters, H components.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spectro.cluster.moments import Moments, merge
from spectro.report.figures.control import ControlData
from spectro.report.figures.scatter import ScatterData
from spectro.report.figures.sizes import SizesData, Spread
from spectro.report.scaling import Scale, Scaling
from spectro.storage.cluster_columns import array, floats
from spectro.storage.clusters import CLUSTERS, PROVENANCE, read_table
from spectro.storage.product import SUMMARY_NAME
from spectro.storage.report_inputs import CONTROL
from spectro.storage.run_view import RunView
from spectro.storage.sealed import read_sealed, with_nan
from spectro.views.columns import run_columns

_SCATTER_KEY = 0x73636174


def sizes_data(view: RunView) -> SizesData:
    """All clusters, and those of the control; raises ValueError where there are none."""
    stored, folder = view.clusters, view.store.child(f"{CONTROL}/{view.folder}")
    control = None
    if folder.exists(PROVENANCE):
        told = read_sealed(folder, PROVENANCE)
        columns = ("size", "conductance", "stability")
        control = _spread(read_table(folder, CLUSTERS, told, columns), told)
    return SizesData(real=_spread(stored.clusters, stored.provenance), control=control)


def scatter_data(
    view: RunView, names: Sequence[str], scaling: Scaling, max_points: int, seed: int
) -> ScatterData:
    """Two columns of χ for a keyed sample of tokens; their correlation over all.

    Args:
        view: the run.
        names: of two components; none: those of highest reliability × deviation.
        scaling: units.
        max_points: tokens drawn at most.
        seed: key of the sample.

    Raises ValueError, in one line, for other than two names, and one that no component has.
    """
    pair = _pair(view, names)
    parts = (Moments.of(chi_NH, covariances=True) for _, chi_NH in view.shards())
    moments = reduce(merge, parts)
    scale = Scale.of(moments, scaling)
    covariance_22 = scale.covariance(moments)[np.ix_(pair, pair)]
    spread = math.sqrt(max(0.0, covariance_22[0, 0] * covariance_22[1, 1]))
    rng = np.random.default_rng([seed, _SCATTER_KEY])
    ids = np.sort(rng.permutation(view.num_tokens)[:max_points])
    sequence_id, row_n = np.unique(ids // view.context, return_inverse=True)
    return ScatterData(
        components=(view.components[pair[0]], view.components[pair[1]]),
        scaling=scaling,
        x_n2=scale.apply(view.chi(ids))[:, pair],
        subset_n=view.sequences(sequence_id)[1][row_n].astype(np.int64),
        subset_names=view.subset_names,
        correlation=float(covariance_22[0, 1]) / spread if spread > 0 else math.nan,
        num_tokens=view.num_tokens,
    )


def control_data(view: RunView) -> ControlData:
    """Reliability and deviation of every column of both; ValueError where there is no control."""
    control = view.store.child(CONTROL)
    if not control.exists(SUMMARY_NAME):
        raise ValueError(
            f"{view.uri} has no nβ = 0 control to show beside it: expected {CONTROL}/"
            f"{SUMMARY_NAME}; spectro pipeline with control=true measures one"
        )
    told = [with_nan(read_sealed(store, SUMMARY_NAME)) for store in (control, view.store)]
    if told[0]["components"] != told[1]["components"]:
        raise ValueError(
            f"{control.uri} has {len(told[0]['components'])} components, the run "
            f"{len(told[1]['components'])}: is it the control of another run?"
        )
    return ControlData(
        components=tuple(told[1]["components"]),
        reliability_2H=_both(told, "reliability"),
        deviation_2H=_both(told, "standard_deviation"),
    )


def _spread(table: pa.Table, told: Mapping[str, Any]) -> Spread:
    return Spread(
        size_K=array(table["size"]),
        conductance_K=floats(table["conductance"]),
        stability_K=floats(table["stability"]),
        num_tokens=int(told["statistics"]["num_tokens"]),
        num_clustered=int(told["num_clustered_tokens"]),
    )


def _pair(view: RunView, names: Sequence[str]) -> list[int]:
    """Columns of the two components."""
    known = list(view.components)
    if names:
        wrong = [name for name in names if name not in known]
        if wrong or len(names) != 2:
            what = f"{wrong[0]!r}, which the run has not" if wrong else f"{len(names)}"
            raise ValueError(
                f"kind=scatter takes two components, found {what}: it measured {known[0]} … "
                f"{known[-1]}, as in components=[{known[0]},{known[-1]}]"
            )
        return [known.index(name) for name in names]
    if not view.store.exists(SUMMARY_NAME):
        return [0, len(known) - 1]
    columns = run_columns(view).columns
    has = np.isfinite(columns.reliability_C).any()
    weight_C = np.nan_to_num(columns.reliability_C) if has else 1.0
    score_C = weight_C * np.nan_to_num(columns.deviation_C)
    order = np.argsort(-score_C, kind="stable")
    return [int(order[0]), int(order[min(1, len(known) - 1)])]


def _both(told: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    unknown = [math.nan] * len(told[1]["components"])
    return np.array([each.get(name) or unknown for each in told], np.float64)
