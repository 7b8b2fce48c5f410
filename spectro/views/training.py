"""Curves over training of runs that differ by their model's revision or checkpoint folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectro.analysis.training_curves import (
    MeasuredCheckpoint,
    TrainingCurves,
    step_of,
    training_curves,
)
from spectro.views.run_view import RunView

RECORDS = {"trainer_state.json": "global_step", "training.json": "tokens_seen"}
"""Record of training beside a checkpoint → its field that counts steps or tokens."""
_MAY_DIFFER = ("model_weights", "device_type")
"""Inputs in which checkpoints of one training run differ."""


def curves_over_training(uris: Sequence[str]) -> TrainingCurves:
    """Local learning coefficients and sizes of chi of every component by training step.

    Args:
        uris: runs, one for each checkpoint, in any order; all other settings alike.

    Raises ValueError, in one line, for a run without chains, of nbeta 0, of an unknown training
    step, or of other settings than the first; DamagedObjectError.
    """
    views = [RunView(uri) for uri in uris]
    for view in views[1:]:
        _require_alike(views[0], view)
    return training_curves([_checkpoint(view) for view in views])


def _checkpoint(view: RunView) -> MeasuredCheckpoint:
    view.require_draws()
    nbeta = float(view.config.get("sampler", {}).get("nbeta", 0.0))
    if nbeta == 0:
        raise ValueError(
            f"{view.uri} has nbeta 0: its draws see no data, so it has no learning coefficient; "
            "give the run, not its control"
        )
    summary = view.summary
    if "llc" not in summary:
        raise ValueError(
            f"{view.uri} has no local learning coefficients (llc) in its summary: it was measured "
            "by an earlier version; measure it again"
        )
    return MeasuredCheckpoint(
        name=view.uri,
        step=_step(view),
        components=tuple(summary["components"]),
        lambda_hat_H=_floats(summary["llc"]),
        lambda_error_H=_floats(summary["llc_error"]),
        chi_size_H=_floats(summary["standard_deviation"]),
    )


def _step(view: RunView) -> int:
    """By the revision's name, the folder's name, or the record beside the checkpoint."""
    model: Mapping[str, Any] = view.config.get("model", {})
    place, revision = str(model.get("name_or_path", "")), model.get("revision")
    name = place.rstrip("/").rpartition("/")[2] if revision is None else str(revision)
    found = step_of(name)
    if found is None and revision is None:
        found = _recorded_step(Path(place))
    if found is None:
        raise ValueError(
            f"{view.uri}: the training step of its model {name!r} is not known: expected a name "
            f"such as step1000 or checkpoint-500, or {' or '.join(RECORDS)} beside the checkpoint"
        )
    return found


def _recorded_step(folder: Path) -> int | None:
    for name, field in RECORDS.items():
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text()).get(field)
            return None if found is None else int(found)
    return None


def _require_alike(first: RunView, other: RunView) -> None:
    """Curves compare checkpoints, not samplers or texts."""
    for name, value in first.file.inputs.items():
        if name not in _MAY_DIFFER and other.file.inputs.get(name) != value:
            raise ValueError(
                f"{other.uri} differs from {first.uri} in {name!r}, expected runs that differ by "
                "their model's checkpoint alone: see spectro compare"
            )


def _floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
