"""Curves over training of runs that differ by their model's revision or checkpoint folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectro.analysis.scaling import UNITS, Scaling
from spectro.analysis.training_curves import (
    MeasuredCheckpoint,
    SetsOverTraining,
    TrainingCurves,
    in_order_of_steps,
    shared_components,
    step_of,
    training_curves,
)
from spectro.views.columns import matching
from spectro.views.config import MatrixRows
from spectro.views.matrix import matrix_of, sets_of
from spectro.views.run_view import RunView
from spectro.views.token_contexts import vocabulary_of

RECORDS = {"trainer_state.json": "global_step", "training.json": "tokens_seen"}
"""Record of training beside a checkpoint → its field that counts steps or tokens."""
_MAY_DIFFER = ("model_weights", "device_type")
"""Inputs in which checkpoints of one training run differ."""
MOST_COMPONENTS = 6
"""Components of the means of sets unless some are asked for."""


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


def checkpoints_of(uris: Sequence[str]) -> list[tuple[int, RunView]]:
    """Training step and run of every checkpoint, by step; nbeta may be 0 in all of them.

    Raises ValueError, in one line, for an unknown training step, two checkpoints of one, fewer
    than two, or other settings than the first.
    """
    views = [RunView(uri) for uri in uris]
    for view in views[1:]:
        _require_alike(views[0], view)
    steps = [step_of_run(view) for view in views]
    return [(steps[index], views[index]) for index in in_order_of_steps(uris, steps)]


def sets_over_training(
    uris: Sequence[str],
    rows: MatrixRows,
    *,
    components: Sequence[str] = (),
    scaling: Scaling = Scaling.STANDARDISED,
    max_rows: int,
) -> SetsOverTraining:
    """Mean χ of the same sets of tokens at every checkpoint, with 95 % intervals.

    Clusters are those of the last checkpoint: the others are asked for χ of the same tokens.

    Args:
        uris: runs, one for each checkpoint, in any order; all other settings alike.
        rows: sets of tokens.
        components: names or patterns; none: those whose means change most over training.
        scaling: units, of each checkpoint by itself.
        max_rows: clusters at most, largest first.

    Raises ValueError, in one line, as `checkpoints_of` and `views.matrix.matrix`, and for a
    pattern that selects no component.
    """
    checkpoints = checkpoints_of(uris)
    last = checkpoints[-1][1]
    for _, view in checkpoints[:-1]:
        _require_same_text(last, view)
    sets = sets_of(last, rows, max_rows, vocabulary_of(last))
    found = [matrix_of(view, sets, scaling) for _, view in checkpoints]
    shared = shared_components([own.components for own in found])
    columns = [[own.components.index(name) for name in shared] for own in found]
    mean_SRH = np.stack([own.mean_RH[:, at] for own, at in zip(found, columns, strict=True)])
    width_SRH = np.stack([own.half_width_RH[:, at] for own, at in zip(found, columns, strict=True)])
    chosen = _chosen(shared, components, mean_SRH)
    return SetsOverTraining(
        names=tuple(view.uri for _, view in checkpoints),
        steps=tuple(step for step, _ in checkpoints),
        sets=found[-1].names,
        num_tokens_R=tuple(found[-1].num_tokens_R.tolist()),
        components=tuple(shared[column] for column in chosen),
        unit=UNITS[scaling],
        mean_SRH=mean_SRH[:, :, chosen],
        half_width_SRH=width_SRH[:, :, chosen],
    )


def _chosen(
    names: Sequence[str], patterns: Sequence[str], mean_SRH: np.ndarray[Any, Any]
) -> list[int]:
    """Columns that match a pattern, or the `MOST_COMPONENTS` whose means have the widest range."""
    found: dict[int, None] = {}
    for pattern in patterns:
        own = matching(names, pattern)
        if not own:
            raise ValueError(
                f"components: {pattern!r} selects nothing: the runs share {len(names)} components, "
                f"{names[0]} … {names[-1]}"
            )
        found |= dict.fromkeys(own)
    if patterns:
        return list(found)
    range_RH = np.nan_to_num(mean_SRH.max(axis=0) - mean_SRH.min(axis=0))
    order = np.argsort(-range_RH.max(axis=0, initial=0.0), kind="stable")[:MOST_COMPONENTS]
    return sorted(order.tolist())


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
        step=step_of_run(view),
        components=tuple(summary["components"]),
        lambda_hat_H=_floats(summary["llc"]),
        lambda_error_H=_floats(summary["llc_error"]),
        chi_size_H=_floats(summary["standard_deviation"]),
    )


def step_of_run(view: RunView) -> int:
    """Training step of a run's model, by the name of its revision or folder, or the record in it.

    Raises ValueError, in one line, where it is not known.
    """
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


def _require_same_text(first: RunView, other: RunView) -> None:
    """The members of a set are the same tokens in every run."""
    if (first.info.probe_sha256, first.num_tokens) != (other.info.probe_sha256, other.num_tokens):
        raise ValueError(
            f"{other.uri} is of another text than {first.uri}: measure both on the same tokens"
        )


def _floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
