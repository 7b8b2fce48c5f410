"""Patterning of a run: its units of data, the wanted shift, and the weights as a table.

Shapes: N tokens, S sequences, T context, H components, U units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sparse

from spectro.analysis.data_weights import DataWeights, UnitResponses, data_weights
from spectro.analysis.patterns import NAMES, Ids, Traits, pattern_types
from spectro.analysis.response_matrix import moments_of
from spectro.analysis.response_scale import ResponseScale
from spectro.analysis.scaling import Scaling
from spectro.formats.halves import iterate_halves
from spectro.views.cluster_tables import members
from spectro.views.config import DataUnit, MatrixRows, Target
from spectro.views.matrix import TokenSets, blocks_of, matrix, principal_axes, sets_of
from spectro.views.run_view import RunView
from spectro.views.sequence_blocks import BLOCK_TOKENS, sequence_blocks
from spectro.views.token_contexts import required_pieces, vocabulary_of
from spectro.views.token_places import cluster_of_tokens

Float64 = npt.NDArray[np.float64]
MOST_BYTES = 8 * 2**30
"""Limit on the memory of the responses of all units."""


@dataclass(frozen=True, kw_only=True)
class Patterning:
    """Weights for a run's data."""

    components: tuple[str, ...]
    """Names of the columns."""
    unit: DataUnit
    """What has a weight."""
    unit_N: npt.NDArray[np.int64]
    """Unit of every token."""
    weights: DataWeights
    """Factors of the units, and the response that is expected of them."""
    subset_factor: Mapping[str, float]
    """Mean factor of the tokens of each subset."""


def patterning(
    view: RunView,
    target: Target,
    unit: DataUnit = DataUnit.SEQUENCES,
    *,
    min_reliability: float = 0.5,
    min_effective_share: float = 0.25,
    max_ratio: float = 10.0,
) -> Patterning:
    """The weights of a run's data that shift its responses towards a target.

    Raises ValueError, in one line, where a component, cluster or pattern is unknown, no halves of
    the chains are stored, or nothing of the target can be reached.
    """
    view.require_measured()
    scale = ResponseScale.of(
        moments_of(lambda: blocks_of(view, _subsets_of(view)), covariances=False),
        Scaling.STANDARDISED,
    )
    target_H = _shift(view, target, scale) * (-1 if target.opposite else 1) * (target.size or 1)
    unit_N, subset_S = _units(view, unit)
    responses = _responses(view, unit_N, scale)
    weights = data_weights(
        responses, target_H, grow=target.size is None, min_reliability=min_reliability,
        min_effective_share=min_effective_share, max_ratio=max_ratio,
    )  # fmt: skip
    factor_S = sequence_factors(weights.factor_U, unit_N, view.context)
    subset_factor = {
        name: float(factor_S[subset_S == index].mean())
        for index, name in enumerate(view.subset_names)
        if (subset_S == index).any()
    }
    return Patterning(
        components=view.components, unit=unit, unit_N=unit_N, weights=weights,
        subset_factor=subset_factor,
    )  # fmt: skip


def weighted_sequences(view: RunView, found: Patterning) -> pa.RecordBatchReader:
    """What a training loop reads: the sequences with their token ids and weights, in blocks.

    sequence_id · subset · input_ids fixed_size_list<int32>[T + 1] · weight, the share of the
    training data (sums to one) · token_factor fixed_size_list<float32>[T], factor of the loss of
    each target within the sequence, mean 1 (only where tokens of one sequence differ).
    """
    factor_S = sequence_factors(found.weights.factor_U, found.unit_N, view.context)
    weight_S = factor_S / factor_S.sum()
    kinds = {
        "sequence_id": pa.int64(),
        "subset": pa.string(),
        "input_ids": pa.list_(pa.int32(), view.context + 1),
        "weight": pa.float64(),
    }
    if differs := found.unit not in (DataUnit.SEQUENCES, DataUnit.SUBSETS):
        kinds["token_factor"] = pa.list_(pa.float32(), view.context)
    schema = pa.schema(kinds)

    def batches() -> Iterator[pa.RecordBatch]:
        for block in sequence_blocks(view):
            id_S = block.sequence_id_S
            columns = [
                pa.array(id_S),
                pa.array([view.subset_names[index] for index in block.subset_S], pa.string()),
                _lists(block.ids_ST1.astype(np.int32)),
                pa.array(weight_S[id_S]),
            ]
            if differs:
                unit_ST = found.unit_N.reshape(-1, view.context)[id_S]
                mean_S = np.where(factor_S[id_S] > 0, factor_S[id_S], 1)
                within_ST = found.weights.factor_U[unit_ST] / mean_S[:, None]
                columns.append(_lists(within_ST.astype(np.float32)))
            yield pa.record_batch(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def sequence_factors(factor_U: Float64, unit_N: npt.NDArray[np.int64], context: int) -> Float64:
    """Mean factor of the tokens of each sequence [S], some sequences at a time."""
    step = context * max(1, BLOCK_TOKENS // context)
    return np.concatenate(
        [
            factor_U[unit_N[start : start + step]].reshape(-1, context).mean(axis=1)
            for start in range(0, len(unit_N), step)
        ]
    )


def pattern_cells(traits: Traits, ids_ST1: Ids) -> npt.NDArray[np.int64]:
    """Pattern types of every token as one number, [S, T]: bit i is type i of `patterns.NAMES`."""
    bits_P = 1 << np.arange(len(NAMES))
    cells_ST: npt.NDArray[np.int64] = pattern_types(traits, ids_ST1) @ bits_P
    return cells_ST


def _lists(values_SK: npt.NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values_SK.reshape(-1)), values_SK.shape[1])


def _subsets_of(view: RunView) -> TokenSets:
    return sets_of(view, MatrixRows.SUBSETS, 0, vocabulary_of(view))


def _shift(view: RunView, target: Target, scale: ResponseScale) -> Float64:
    """The wanted shift [H], in standard deviations of tokens."""
    if target.components:
        return _of_components(view.components, target.components)
    if target.axis is not None:
        if target.axis > len(view.components):
            raise ValueError(
                f"target.axis: expected at most {len(view.components)}, the number of components; "
                f"found {target.axis}"
            )
        axes = principal_axes(view, num_axes=target.axis, num_ends=1)
        return np.asarray(axes.principal.loading_AH[target.axis - 1])
    if target.pattern is not None:
        if target.pattern not in NAMES:
            raise ValueError(
                f"target.pattern must be one of {', '.join(NAMES)}; found {target.pattern!r}"
            )
        means = matrix(view, MatrixRows.PATTERNS)
        shift_H = means.mean_RH[NAMES.index(target.pattern)]
        if not np.isfinite(shift_H).all():
            raise ValueError(f"target.pattern: no token of the run is of type {target.pattern!r}")
        return np.asarray(shift_H)
    token_id_M, cluster_M = members(view)
    own_m = token_id_M[cluster_M == target.cluster]
    if not own_m.size:
        num_clusters = view.clusters.clusters.num_rows
        raise ValueError(
            f"target.cluster: expected 0 to {num_clusters - 1}, found {target.cluster}"
        )
    return np.asarray(scale.apply(view.chi(own_m)).mean(axis=0))


def _of_components(names: tuple[str, ...], wanted: Mapping[str, float]) -> Float64:
    shift_H = np.zeros(len(names))
    for pattern, value in wanted.items():
        chosen = [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]
        if not chosen:
            raise ValueError(
                f"target.components: no component of the run matches {pattern!r}; "
                f"it has {', '.join(names)}"
            )
        shift_H[chosen] = value
    return shift_H


def _units(view: RunView, unit: DataUnit) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    """Unit of every token [N], without gaps, and the subset of every sequence [S]."""
    traits = None
    if unit is DataUnit.PATTERNS:
        traits = Traits.of(required_pieces(view, vocabulary_of(view), "units=patterns"))
    subsets, cells = [], []
    for block in sequence_blocks(view):
        subsets.append(block.subset_S)
        if traits is not None:
            cells.append(pattern_cells(traits, block.ids_ST1).reshape(-1))
    subset_S = np.concatenate(subsets).astype(np.int16)
    if unit is DataUnit.TOKENS:
        return np.arange(len(subset_S) * view.context), subset_S
    if unit is DataUnit.CLUSTERS:
        return np.unique(cluster_of_tokens(view), return_inverse=True)[1], subset_S
    if unit is DataUnit.PATTERNS:
        return np.unique(np.concatenate(cells), return_inverse=True)[1], subset_S
    label_S = np.arange(len(subset_S)) if unit is DataUnit.SEQUENCES else subset_S
    return np.repeat(np.unique(label_S, return_inverse=True)[1], view.context), subset_S


def _responses(view: RunView, unit_N: npt.NDArray[np.int64], scale: ResponseScale) -> UnitResponses:
    """Mean responses of the units from both halves of the chains, shard by shard."""
    size_U = np.bincount(unit_N).astype(np.float64)
    num_bytes = 4 * 8 * len(size_U) * len(view.components)
    if num_bytes > MOST_BYTES:
        raise ValueError(
            f"the responses of {len(size_U):,} units need {num_bytes / 2**30:.0f} GiB, at most "
            f"{MOST_BYTES / 2**30:.0f} GiB are meant for them: take larger units"
        )
    sums = np.zeros((2, len(size_U), len(view.components)))
    start = 0
    for half in iterate_halves(view.store, view.num_shards):
        if half.components != view.components:
            raise ValueError(f"{view.uri}: the halves of the chains have other columns than χ")
        own_n = unit_N[start : start + len(half.token_id_N)]
        start += len(own_n)
        places = (own_n, np.arange(len(own_n)))
        adding = sparse.csr_matrix((np.ones(len(own_n)), places), (len(size_U), len(own_n)))
        for index, chi_NH in enumerate((half.chi_first_NH, half.chi_second_NH)):
            sums[index] += adding @ (chi_NH / scale.unit_H)
    means = sums / size_U[:, None]
    share_U = size_U / size_U.sum()
    means -= np.einsum("u,kuh->kh", share_U, means)[:, None]
    return UnitResponses(share_U=share_U, first_UH=means[0], second_UH=means[1])
