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

from spectro.analysis.response_matrix import moments_of
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.clustering.vectors.moments import Moments, merge
from spectro.formats.clusters.clusters import CLUSTERS, PROVENANCE, read_table
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_parts import CONTROL
from spectro.storage.checksummed_json import read_sealed, with_nan
from spectro.views.cluster_tables import array, floats
from spectro.views.columns import run_columns
from spectro.views.drawing.control import ControlData
from spectro.views.drawing.scatter import ScatterData
from spectro.views.drawing.sizes import SizesData, Spread
from spectro.views.drawing.spread import LEVELS, SpreadData
from spectro.views.matrix import TokenSets, blocks_of
from spectro.views.run_view import RunView

_SCATTER_KEY = 0x73636174


def sizes_data(view: RunView) -> SizesData:
    """All clusters, and those of the control; raises ValueError where there are none."""
    stored, folder = view.clusters, view.store.child(f"{CONTROL}/{view.folder}")
    control = None
    if folder.exists(PROVENANCE):
        provenance = read_sealed(folder, PROVENANCE)
        columns = ("size", "conductance", "stability")
        control = _spread(read_table(folder, CLUSTERS, provenance, columns), provenance)
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
    if names and len(names) != 2:
        raise ValueError(
            f"kind=scatter takes two components, found {len(names)}: as in components="
            f"[{view.components[0]},{view.components[-1]}]"
        )
    columns = _columns(view, names, 2)
    pair = [columns[0], columns[-1]]
    parts = (Moments.of(chi_NH, covariances=True) for _, chi_NH in view.shards())
    moments = reduce(merge, parts)
    scale = ResponseScale.of(moments, scaling)
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
        reliability_2=_reliability(view)[pair],
        correlation=float(covariance_22[0, 1]) / spread if spread > 0 else math.nan,
        num_tokens=view.num_tokens,
    )


def spread_data(
    view: RunView, sets: TokenSets, names: Sequence[str], scaling: Scaling
) -> SpreadData:
    """Quantiles of some columns over each set of tokens, in two passes.

    Args:
        view: the run.
        sets: of tokens.
        names: of components; none: the three of highest reliability × deviation.
        scaling: units.

    Raises ValueError, in one line, for a name that no component has, and as `matrix`.
    """
    columns = _columns(view, names, 3)
    scale = ResponseScale.of(moments_of(lambda: blocks_of(view, sets)), scaling)
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in sets.names]
    for block in blocks_of(view, sets):
        x_MC = scale.apply(block.chi_NH)[:, columns][block.token_M].astype(np.float32)
        for row in np.unique(block.row_M).tolist():
            own_mC = x_MC[block.row_M == row]
            parts[row].append(own_mC[np.isfinite(own_mC).all(axis=1)])
    empty = np.empty((0, len(columns)), np.float32)
    values_R = [np.concatenate([empty, *part]) for part in parts]
    unknown = np.full((len(columns), len(LEVELS)), math.nan)
    quantiles = [np.quantile(v, LEVELS, axis=0).T if len(v) else unknown for v in values_R]
    return SpreadData(
        names=sets.names,
        components=tuple(view.components[column] for column in columns),
        scaling=scaling,
        reliability_C=_reliability(view)[columns],
        num_tokens_R=np.array([len(v) for v in values_R], np.int64),
        quantile_RC5=np.array(quantiles).reshape(len(parts), len(columns), len(LEVELS)),
    )


def control_data(view: RunView) -> ControlData:
    """Reliability and deviation of every column of both; ValueError where there is no control."""
    control = view.store.child(CONTROL)
    if not control.exists(SUMMARY_NAME):
        raise ValueError(
            f"{view.uri} has no nβ = 0 control to show beside it: expected {CONTROL}/"
            f"{SUMMARY_NAME}; spectro pipeline with control=true measures one"
        )
    summaries = [with_nan(read_sealed(store, SUMMARY_NAME)) for store in (control, view.store)]
    if summaries[0]["components"] != summaries[1]["components"]:
        raise ValueError(
            f"{control.uri} has {len(summaries[0]['components'])} components, the run "
            f"{len(summaries[1]['components'])}: is it the control of another run?"
        )
    return ControlData(
        components=tuple(summaries[1]["components"]),
        reliability_2H=_both(summaries, "reliability"),
        deviation_2H=_both(summaries, "standard_deviation"),
    )


def _spread(table: pa.Table, provenance: Mapping[str, Any]) -> Spread:
    return Spread(
        size_K=array(table["size"]),
        conductance_K=floats(table["conductance"]),
        stability_K=floats(table["stability"]),
        num_tokens=int(provenance["statistics"]["num_tokens"]),
        num_clustered=int(provenance["num_clustered_tokens"]),
    )


def _columns(view: RunView, names: Sequence[str], number: int) -> list[int]:
    """Columns of the components named; without names those that say most, best first."""
    known = list(view.components)
    for name in names:
        if name not in known:
            raise ValueError(
                f"components: found {name!r}, which the run has not: it measured {len(known)}, "
                f"{known[0]} … {known[-1]}"
            )
    if names:
        return [known.index(name) for name in names]
    if not view.store.exists(SUMMARY_NAME):
        return list(range(len(known)))[:number]
    columns = run_columns(view).columns
    has = np.isfinite(columns.reliability_C).any()
    weight_C = np.nan_to_num(columns.reliability_C) if has else 1.0
    score_C = weight_C * np.nan_to_num(columns.deviation_C)
    return [int(column) for column in np.argsort(-score_C, kind="stable")[:number]]


def _reliability(view: RunView) -> npt.NDArray[np.floating]:
    """Split-half reliability of every column, NaN where it is not known."""
    if not view.store.exists(SUMMARY_NAME):
        return np.full(len(view.components), math.nan)
    return run_columns(view).columns.reliability_C


def _both(summaries: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    unknown = [math.nan] * len(summaries[1]["components"])
    return np.array([each.get(name) or unknown for each in summaries], np.float64)
