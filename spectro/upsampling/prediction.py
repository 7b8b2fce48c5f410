"""Rows of an upsampled run: predicted χ of new tokens, denoised χ of measured ones (ADR 071).

Shapes: N tokens of a shard, F features, H components.
"""

from __future__ import annotations

import time
from functools import reduce
from typing import Any

import numpy as np

from spectro.cluster_stage.units import HALVES
from spectro.formats import product
from spectro.formats.derived_objects import put_derived
from spectro.formats.deviations import deviations_table
from spectro.formats.halves import halves_table, read_half
from spectro.formats.predictors import HELD_OUT
from spectro.measure.assembly import (
    column_moments,
    mean_over_shards,
    plain_moments,
    rows_fingerprint,
)
from spectro.measure.resident_model import ResidentModel
from spectro.predict.denoise import denoise
from spectro.predict.ensemble import Estimate, Features, Floats
from spectro.predict.features import feature_names
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.columns import STORED_COLUMNS, TokenEstimates
from spectro.susceptibility.interval import Interval
from spectro.susceptibility.reliability import (
    ColumnEstimate,
    merge,
    predicted_column,
)
from spectro.susceptibility.summary import CHAIN_STATISTICS, column_summary
from spectro.upsampling.learning import features_of, read_ensemble, read_judged
from spectro.upsampling.units import PredictionSummaryUnit, PredictionUnit
from spectro.work.stage import OnProgress, ShouldStop


def predict_shard(
    unit: PredictionUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put the rows, half estimates, deviations and moments of one token shard."""
    start, store, config = time.monotonic(), resident.root, resident.config
    assert config.upsample is not None
    ensemble = resident.keep(
        "ensemble", lambda: read_ensemble(store, unit.num_folds, resident.model.device)
    )
    judged = read_judged(store)
    features_NF = features_of(resident, unit.shard, on_progress)
    source = Store(config.upsample.source)
    is_measured = unit.shard < config.upsample.num_shards
    if is_measured:
        predicted_2NH = ensemble.held_out(features_NF, unit.shard)
        found = denoise(predicted_2NH, _measured(source, unit.shard), judged)
    else:
        found = ensemble.predict(features_NF, judged.curves)
    head = product.read_head(source, 0)
    columns = [
        predicted_column(found.chi_NH[:, h], found.deviation_NH[:, h], found.halves_2NH[:, :, h])
        for h in range(len(head.components))
    ]
    _put(unit.shard, resident, found, features_NF, columns, head.components, start)


def summarise_predictions(
    unit: PredictionSummaryUnit,
    resident: ResidentModel,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> None:
    """Put `summary.json`: all predicted columns, and how far predictions are right."""
    store, config = resident.root, resident.config
    assert config.upsample is not None
    shards = product.read_moments(store, unit.num_shards)
    merged = {
        name: reduce(merge, [column_moments(shard["moments"][name]) for shard in shards])
        for name in shards[0]["moments"]
    }
    summary = column_summary(
        merged, chains_measured(config.upsample.source), mean_over_shards(shards)
    )
    interval = Interval.of_predictions()
    summary["half_width_95"] = [
        None if error is None else float(interval.half_width(error))
        for error in summary["standard_error"]
    ]
    held_out = read_sealed(store, HELD_OUT)
    summary["seconds"] = {
        **held_out["seconds"],
        "prediction": sum(shard["seconds"] for shard in shards),
    }
    summary["warnings"] = [read_judged(store).warning]
    measured = sum(s["num_tokens"] for s in shards[: config.upsample.num_shards])
    summary["upsampled"] = {
        "num_measured_tokens": measured,
        "num_predicted_tokens": summary["num_tokens"] - measured,
        "held_out": held_out,
    }
    put_derived(store, unit.names[0], summary, unit.probe_sha256)


def chains_measured(source: str) -> dict[str, dict[str, Any]]:
    """Component → what the measured run's chains say of its column (`chain_summary`)."""
    known = read_sealed(Store(source), product.SUMMARY_NAME)
    return {
        name: {key: known[key][column] if key in known else None for key in CHAIN_STATISTICS}
        for column, name in enumerate(known["components"])
    }


def _measured(source: Store, shard: int) -> Floats:
    """χ of both halves of the chains, [2, N, H]."""
    return np.stack([read_half(source, shard, half) for half in HALVES]).astype(np.float64)


def _put(
    shard: int,
    resident: ResidentModel,
    found: Estimate,
    features_NF: Features,
    columns: list[ColumnEstimate],
    names: tuple[str, ...],
    start: float,
) -> None:
    store, config = resident.root, resident.config
    assert config.upsample is not None
    sequence_id_n, sequences = resident.probe_shard(shard)
    loss = feature_names(resident.model.shape).index("loss")
    estimates = TokenEstimates(
        loss_N=features_NF[:, loss], columns=dict(zip(names, columns, strict=True))
    )
    rows = product.ShardRows(
        ids_nT1=sequences.ids_ST1,
        sequence_id_n=sequence_id_n,
        subset_n=sequences.subset_S,
        subset_names=sequences.subset_names,
        values=estimates.values(STORED_COLUMNS),
    )
    moments = {name: column.moments for name, column in estimates.columns.items()}
    centred_H = estimates.centred_reliability()
    table = product.shard_table(
        rows, names, rows_fingerprint(resident, store),
        column_summary(moments, chains_measured(config.upsample.source), centred_H),
    )  # fmt: skip
    known = {
        "moments": {name: plain_moments(own) for name, own in estimates.columns.items()},
        "centred_reliability": centred_H.tolist(),
        "seconds": time.monotonic() - start,
    }
    product.put_part(
        store, shard, table, known,
        halves_table(table, {"chi": (found.halves_2NH[0], found.halves_2NH[1])}),
        deviations_table(table, found.deviation_NH),
    )  # fmt: skip
