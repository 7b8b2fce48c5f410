"""Plan and bill of an upsampled run (ADR 071)."""

from __future__ import annotations

import dataclasses

from spectro.cluster_stage.units import HALVES
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.formats.product import SUMMARY_NAME
from spectro.models.cost import memory
from spectro.models.size import ModelSize
from spectro.planning.bill import BillLine, recorded_seconds
from spectro.planning.device_costs import Device
from spectro.planning.plan import Plan, StagePlan, make_stage
from spectro.planning.plan_notes import LEFT_OUT
from spectro.planning.run_work import measurement_of
from spectro.planning.unit_work import FLOAT_BYTES
from spectro.predict.config import PredictConfig
from spectro.predict.network import MAX_SCALED
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.upsampling.costs import UpsampleRecord, UpsampleWork, features_flops
from spectro.upsampling.learning import MAX_JUDGED, sequences_at_once

PART = "upsampled"
TENSORS_OF_LOGITS = 8
"""Tensors of tokens × vocabulary that features hold at once."""
TENSORS_OF_LAYER = 40
"""Tensors of tokens × D, and of tokens × positions of each head, that a layer keeps for its
backward passes, about."""

SCALED_COPIES = 5
"""Copies of the features that scalings are taken from, while they are (4.6 measured)."""
JUDGED_COPIES = 29
"""Arrays of judged tokens × columns of doubles that judging holds (29 measured with shared draws,
21 with draws of a shard's own)."""


def with_upsampling(
    plan: Plan, config: PipelineConfig, device: Device, predict: PredictConfig, num_tokens: int
) -> Plan:
    """A measured run's plan with as many tokens predicted in all.

    Raises ValueError for fewer tokens than the run measures.
    """
    m = measurement_of(config, plan.size)
    measured = sum(m.shard_sizes)
    added = -(-num_tokens // m.context) - measured
    if added < 0:
        raise ValueError(
            f"plan.upsample_tokens is {num_tokens}, fewer than the {measured * m.context} that are "
            "measured: it counts the measured tokens too"
        )
    per_shard = config.tokens.sequences_per_shard
    new = tuple(min(per_shard, added - start) for start in range(0, added, per_shard))
    found = UpsampleWork(
        size=plan.size,
        context=m.context,
        num_columns=m.num_columns,
        measured_sizes=m.shard_sizes,
        shard_sizes=(*m.shard_sizes, *new),
        predict=predict,
    )
    note = (
        f"upsampled: {num_tokens:,} tokens, {measured * m.context:,} of them measured; features "
        f"take {features_flops(plan.size, m.context) / 1e9:.3g} Gflop a token, counted as "
        f"{device.precision} products; not counted: networks read {found.mapped_bytes / 1e12:.2g} "
        "TB of mapped features, from memory where a machine has room for "
        f"{measured * m.context * found.feature_bytes / 1e9:.3g} GB, else from its disk"
    )
    return dataclasses.replace(
        plan, stages=(*plan.stages, *_stages(found, device)), notes=(*plan.notes, note)
    )


def plan_upsampled(config: PipelineConfig, size: ModelSize, device: Device) -> Plan:
    """The plan of an upsampled run that is there.

    Raises ValueError, FileNotFoundError where its tokens are not.
    """
    found = _work_of(config, size)
    return Plan(
        model=config.model.name_or_path,
        size=size,
        device=device,
        stages=tuple(_stages(found, device)),
        num_tokens=sum(found.shard_sizes) * found.context,
        num_columns=found.num_columns,
        stored_bytes=0,
        notes=(f"rates: {device.rates.provenance}", LEFT_OUT),
    )


def _work_of(config: PipelineConfig, size: ModelSize) -> UpsampleWork:
    """Of an upsampled run that is there; raises ValueError, FileNotFoundError without tokens."""
    assert config.upsample is not None
    info = tokens.read_info(Store(config.run.uri))
    sizes = info.splits["probe"].shard_sizes
    chosen = size.select(config.components)
    return UpsampleWork(
        size=size,
        context=info.context,
        num_columns=len(chosen),
        measured_sizes=sizes[: config.upsample.num_shards],
        shard_sizes=sizes,
        predict=config.upsample.predict,
    )


def upsample_bill(plan: Plan, config: PipelineConfig) -> tuple[BillLine, ...]:
    """What a finished upsampled run recorded, beside its plan.

    Raises ValueError if it is not finished.
    """
    store = Store(config.run.uri)
    if not store.exists(SUMMARY_NAME):
        raise ValueError(f"{store.uri} is not predicted yet: a bill needs {SUMMARY_NAME}")
    seconds, done = recorded_seconds(store), _work_of(config, plan.size).done(_record(store))
    return tuple(
        BillLine(
            part=stage.part,
            stage=stage.stage,
            planned=stage.work,
            done=done[stage.stage],
            planned_seconds=stage.device_seconds,
            seconds=seconds.get(stage.stage),
        )
        for stage in plan.stages
    )


def _record(store: Store) -> UpsampleRecord:
    known = read_sealed(store, SUMMARY_NAME)["upsampled"]
    return UpsampleRecord(
        **known["held_out"]["work"],
        judged_tokens=known["held_out"]["num_tokens"],
        measured_tokens=known["num_measured_tokens"],
        new_tokens=known["num_predicted_tokens"],
    )


def _stages(found: UpsampleWork, device: Device) -> list[StagePlan]:
    stages = []
    for stage, units in found.units().items():
        is_training = stage == "training"
        peak = (training_peak if is_training else features_peak)(found, device)
        host = _training_bytes(found) if is_training else _shard_bytes(found)
        stages.append(make_stage(PART, stage, units, found.size, device, peak, host))
    return stages


def features_peak(found: UpsampleWork, device: Device) -> int:
    """Device bytes of one clean pass with what its backward passes need, about."""
    size, rows = found.size, sequences_at_once(found.context) * found.context
    of_layer = TENSORS_OF_LAYER * size.hidden_size + 6 * size.num_heads * found.context
    held = TENSORS_OF_LOGITS * size.vocab_size + size.num_layers * of_layer
    return memory.resident_bytes(size, device.product_bytes) + FLOAT_BYTES * rows * held


def training_peak(found: UpsampleWork, device: Device) -> int:
    """Device bytes of the model, whose device the networks take, and of all networks that judge.

    One that is trained takes as much as four: gradients and the optimizer's two moments.
    """
    networks = max(4, len(HALVES) * found.num_folds) * found.network_bytes
    return memory.resident_bytes(found.size, device.product_bytes) + networks


def _training_bytes(found: UpsampleWork) -> int:
    """The larger of what training and what judging hold, beside files that are mapped.

    Training: copies of the tokens that scalings are taken from. Judging: columns of doubles.
    """
    num_tokens = found.context * sum(found.measured_sizes)
    scaled, judged = min(num_tokens, MAX_SCALED), min(num_tokens, MAX_JUDGED)
    training = SCALED_COPIES * scaled * (found.feature_bytes + FLOAT_BYTES * found.num_columns)
    return max(training, JUDGED_COPIES * 2 * FLOAT_BYTES * judged * found.num_columns)


def _shard_bytes(found: UpsampleWork) -> int:
    num_tokens = found.context * max(found.shard_sizes)
    return num_tokens * (2 * found.feature_bytes + 12 * FLOAT_BYTES * found.num_columns)
