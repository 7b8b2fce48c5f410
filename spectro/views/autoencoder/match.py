"""Clusters of a run matched to the features of an autoencoder, beside null and baselines.

Shapes: N tokens that were clustered and read, F features, C clusters, K features that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spectro.autoencoders.config import MatchConfig
from spectro.autoencoders.feature_rows import FeatureRows
from spectro.autoencoders.matching import (
    SetMatches,
    area_under_curve,
    match_sets,
    share_at,
)
from spectro.autoencoders.reconstruction import Reconstruction
from spectro.clustering.significance import TokenGroups
from spectro.config import to_dict
from spectro.formats import tokens
from spectro.formats.clusters.clusters import PROVENANCE, clusters_sha256, members_of
from spectro.formats.encodings import shard_name
from spectro.formats.feature_matches import is_matched, put_matches, stem_of
from spectro.formats.run_parts import CONTROL
from spectro.storage.checksummed_arrays import read_arrays
from spectro.views.autoencoder.encode import Encoding
from spectro.views.autoencoder.stored import StoredMatch
from spectro.views.run_view import RunView

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(101))
"""Of F1, where shares are taken."""
OnProgress = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """All shards together; rows are tokens that were clustered and read."""

    rows: FeatureRows
    row_of_token: NDArray[np.int64]
    """Row of every token id, −1 where it was not read."""
    y_N: NDArray[np.int32]
    cell_N: NDArray[np.int32]
    reconstruction: Reconstruction


def match_clusters(
    view: RunView,
    encoding: Encoding,
    config: MatchConfig,
    on_progress: OnProgress = lambda done, total: None,
) -> StoredMatch:
    """Match the clusters at a place, unless that is there.

    Raises ValueError, in one line, where there are no clusters or they are those of a half.
    """
    folder = view.store.child(view.folder)
    clusters = view.clusters
    control = _control_of(view)
    inputs = {
        "encoding": encoding.key,
        "clusters": _digest(view),
        "control": control and _digest(control),
        "config": to_dict(config),
    }
    stem = stem_of(inputs)
    if not is_matched(folder, stem):
        num_tokens = int(clusters.provenance["statistics"]["num_tokens"])
        encoded = _encoded(view, encoding, num_tokens, config.levels)
        on_progress(1, 3)
        found = _match(view, encoded, config)
        on_progress(2, 3)
        other = None if control is None else _match(control, encoded, config)
        by_y, by_cell = (
            match_sets(_members(view, encoded), FeatureRows.one_each(label_N), config)
            for label_N in (encoded.y_N, encoded.cell_N)
        )
        auc_CK = _auc(view, encoding, encoded, found)
        level_CK = np.asarray(config.levels)[found.level_CK]
        tables = (_by_cluster(found, level_CK, auc_CK, by_y, by_cell), _by_feature(found))
        content = {
            "inputs": inputs,
            **encoding.description,
            "match": to_dict(config),
            **_facts(encoded, found, config, num_tokens),
            "curves": _curves(found, by_y, by_cell, other),
        }
        put_matches(folder, stem, tables, content)
        on_progress(3, 3)
    return StoredMatch.read(folder, stem)


def _digest(view: RunView) -> str:
    """Of the clusters at a place."""
    return clusters_sha256(view.store.child(view.folder))


def _control_of(view: RunView) -> RunView | None:
    """The control's clusters of the same name and of as many tokens; None where there are none."""
    part = view.store.child(CONTROL)
    if view.is_control or view.is_half or not part.exists(f"{view.folder}/{PROVENANCE}"):
        return None
    found = RunView(part.child(view.folder).uri)
    numbers = [v.clusters.provenance["statistics"]["num_tokens"] for v in (view, found)]
    return found if numbers[0] == numbers[1] else None


def _encoded(
    view: RunView, encoding: Encoding, num_tokens: int, levels: Sequence[float]
) -> _Encoded:
    """All shards, read one after the other; activations are freed once levels are known."""
    counts, features, values, cells, read, ys = [], [], [], [], [], []
    total = None
    num_features = int(encoding.description["autoencoder"]["num_features"])
    dtype = np.uint16 if num_features <= 1 << 16 else np.uint32
    for shard in range(view.num_shards):
        arrays = read_arrays(encoding.folder, shard_name(shard))
        counts.append(arrays["count"])
        features.append(arrays["index"].astype(dtype))
        values.append(arrays["value"])
        cells.append(arrays["cell"])
        read.append(arrays["is_read"])
        _, sequences = tokens.read_shard(view.root, "probe", shard, view.info)
        ys.append(sequences.ids_ST1[:, 1:].reshape(-1)[arrays["is_read"]])
        found = Reconstruction.of_arrays(arrays)
        total = found if total is None else total + found
    assert total is not None, "a run has at least one token shard"
    is_read, count_n = np.concatenate(read), np.concatenate(counts)
    row_of_token = np.where(is_read, np.cumsum(is_read) - 1, -1)[:num_tokens]
    num_rows = int((row_of_token >= 0).sum())  # later tokens were not clustered
    start_N1 = np.concatenate([[0], np.cumsum(count_n[:num_rows], dtype=np.int64)])
    rows = FeatureRows(
        start_N1=start_N1,
        index=np.concatenate(features)[: start_N1[-1]],
        num_features=num_features,
    )
    return _Encoded(
        rows=rows.at_levels(np.concatenate(values)[: start_N1[-1]], levels),
        row_of_token=row_of_token,
        y_N=np.concatenate(ys)[:num_rows],
        cell_N=np.concatenate(cells)[:num_rows],
        reconstruction=total,
    )


def _members(view: RunView, encoded: _Encoded) -> list[NDArray[np.int64]]:
    """Rows of every cluster's tokens that were read."""
    rows = [encoded.row_of_token[own] for own in members_of(view.clusters)]
    return [own[own >= 0] for own in rows]


def _match(view: RunView, encoded: _Encoded, config: MatchConfig) -> SetMatches:
    groups = TokenGroups.of(encoded.y_N)
    return match_sets(_members(view, encoded), encoded.rows, config, groups)


def _auc(
    view: RunView, encoding: Encoding, encoded: _Encoded, found: SetMatches
) -> NDArray[np.float64]:
    """AUC of the kept features, [C, K]; the activations of these alone are held."""
    wanted = np.unique(found.feature_CK[found.feature_CK >= 0])
    parts: list[tuple[NDArray[Any], ...]] = []
    first = 0
    for shard in range(view.num_shards):
        arrays = read_arrays(encoding.folder, shard_name(shard))
        row = np.repeat(np.arange(first, first + arrays["count"].size), arrays["count"])
        kept = np.isin(arrays["index"], wanted) & (row < encoded.rows.num_tokens)
        parts.append((arrays["index"][kept], row[kept], arrays["value"][kept]))
        first += arrays["count"].size
    index, row, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(index, kind="stable")
    index, row, value = index[order], row[order], value[order]
    ends = np.searchsorted(index, wanted, side="right")
    starts = np.searchsorted(index, wanted, side="left")
    place_of = {int(f): slice(a, b) for f, a, b in zip(wanted, starts, ends, strict=True)}
    auc_CK = np.full(found.feature_CK.shape, np.nan)
    for cluster, own in enumerate(_members(view, encoded)):
        for slot, feature in enumerate(found.feature_CK[cluster].tolist()):
            if feature >= 0:
                at = place_of[feature]
                number = encoded.rows.num_tokens
                auc_CK[cluster, slot] = area_under_curve(own, row[at], value[at], number)
    return auc_CK


def _by_cluster(
    found: SetMatches,
    level_CK: NDArray[np.float64],
    auc_CK: NDArray[np.float64],
    by_y: SetMatches,
    by_cell: SetMatches,
) -> pa.Table:
    there_CK = found.feature_CK >= 0
    null_C = found.null_CR.mean(axis=1) if found.null_CR.shape[1] else np.full(len(auc_CK), np.nan)

    def lists(values_CK: NDArray[Any], kind: pa.DataType) -> pa.Array:
        rows = [row[kept].tolist() for row, kept in zip(values_CK, there_CK, strict=True)]
        return pa.array(rows, pa.list_(kind))

    return pa.table(
        {
            "cluster_id": np.arange(len(auc_CK), dtype=np.int32),
            "size": found.size_C.astype(np.int32),
            "features": lists(found.feature_CK, pa.int32()),
            "level": lists(level_CK, pa.float32()),
            "f1": lists(found.f1_CK, pa.float32()),
            "precision": lists(found.precision_CK, pa.float32()),
            "recall": lists(found.recall_CK, pa.float32()),
            "auc": lists(auc_CK, pa.float32()),
            "num_active": lists(found.num_active_CK, pa.int64()),
            "null_f1": null_C.astype(np.float32),
            "q_value": found.q_C.astype(np.float32),
            "y_f1": by_y.best_C.astype(np.float32),
            "cell_f1": by_cell.best_C.astype(np.float32),
        }
    )


def _by_feature(found: SetMatches) -> pa.Table:
    return pa.table(
        {
            "feature": np.arange(found.set_F.size, dtype=np.int32),
            "num_active": found.active_FL[:, 0],
            "cluster_id": found.set_F.astype(np.int32),
            "f1": found.f1_F.astype(np.float32),
        }
    )


def _facts(
    encoded: _Encoded, found: SetMatches, config: MatchConfig, num_tokens: int
) -> dict[str, Any]:
    """Numbers that are shown."""
    best_C, alive_F = found.best_C, found.active_FL[:, 0] > 0
    matched_C = best_C >= config.threshold
    beyond_C = matched_C & (found.q_C <= config.max_q)
    return {
        "num_tokens": num_tokens,
        "num_read": encoded.rows.num_tokens,
        "fvu": encoded.reconstruction.fvu,
        "l0": encoded.reconstruction.l0,
        "num_clusters": int(best_C.size),
        "num_matched": int(matched_C.sum()),
        "num_beyond_y": int(beyond_C.sum()),
        "num_alive": int(alive_F.sum()),
        "num_features_matched": int((found.f1_F >= config.threshold).sum()),
    }


def _curves(
    found: SetMatches, by_y: SetMatches, by_cell: SetMatches, control: SetMatches | None
) -> dict[str, Any]:
    """Share of sets whose best F1 reaches each threshold."""
    values: dict[str, NDArray[Any]] = {
        "clusters": found.best_C,
        "null": found.null_CR,
        "y": by_y.best_C,
        "cells": by_cell.best_C,
    }
    if control is not None:
        values |= {"control": control.best_C, "control_null": control.null_CR}
    shares = {name: _plain(share_at(each, THRESHOLDS)) for name, each in values.items()}
    return {"thresholds": list(THRESHOLDS), **shares}


def _plain(shares: Sequence[float]) -> list[float | None]:
    return [share if np.isfinite(share) else None for share in shares]
