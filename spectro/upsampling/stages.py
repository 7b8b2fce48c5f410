"""The stages of an upsampled run: features, training, prediction (ADR 071)."""

from __future__ import annotations

from spectro.measure.stages import BESIDE_ROWS, WITH_MOMENTS
from spectro.upsampling.units import (
    FeaturesUnit,
    HeldOutUnit,
    PredictionSummaryUnit,
    PredictionUnit,
    TrainingUnit,
    predicted_units,
)
from spectro.work.stage import REMAKE, Goal, ObjectKind, Stage

CHECK_ARRAYS = "spectro.upsampling.verification:check_arrays"

FEATURES = Stage(
    name="features",
    goal=Goal.SAMPLE,
    run={FeaturesUnit: "spectro.upsampling.learning:make_features"},
    objects=(
        ObjectKind(
            name="features",
            check=CHECK_ARRAYS,
            may_vanish=True,
            damaged=f"{REMAKE} when predictors need it",
        ),
    ),
    leftovers="spectro.upsampling.verification:leftovers_of_features",
)
TRAINING = Stage(
    name="training",
    goal=Goal.SAMPLE,
    run={
        TrainingUnit: "spectro.upsampling.learning:train",
        HeldOutUnit: "spectro.upsampling.learning:judge",
    },
    objects=(
        ObjectKind(name="predictors", check=CHECK_ARRAYS, damaged=REMAKE),
        ObjectKind(name="held_out", damaged=REMAKE),
    ),
)
PREDICTION = Stage(
    name="prediction",
    goal=Goal.SAMPLE,
    run={
        PredictionUnit: "spectro.upsampling.prediction:predict_shard",
        PredictionSummaryUnit: "spectro.upsampling.prediction:summarise_predictions",
    },
    units=predicted_units,
    objects=(
        ObjectKind(
            name="deviations",
            check="spectro.measure.verification:check_deviations",
            compare="spectro.measure.verification:compare_deviations",
            named_by=(r"deviations/part-(\d+)\.parquet", BESIDE_ROWS),
            damaged=f"delete it and {WITH_MOMENTS}",
            missing=f"delete {WITH_MOMENTS}",
        ),
    ),
)
STAGES = (FEATURES, TRAINING, PREDICTION)
