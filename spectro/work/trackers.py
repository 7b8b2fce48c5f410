"""Experiment trackers by name; each finds its place in its own environment variables.

    mlflow        MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (`spectro` unless given)
    tensorboard   TENSORBOARD_LOGGING_DIR (`tensorboard` in the working folder unless given)
    wandb         WANDB_PROJECT (`spectro` unless given), WANDB_MODE and the rest

One run of a tracker is one run of spectro, over all its invocations. Calls may take long and raise
anything: tracking.py keeps both from the run.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from spectro.extras import optional_imports

PROJECT = "spectro"
SESSION_TAG = "spectro.first_session"
"""Tag of MLflow by which a later invocation finds the run."""
MAX_VALUE = 500
"""Characters of a setting that MLflow takes."""
_NOT_IN_NAMES = re.compile(r"[^\w./ -]")


class Tracker(Protocol):
    """What a tracker receives; steps are seconds of all invocations."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """Settings by dotted name; called once for each invocation."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, such as `progress/tiles`."""

    def picture(self, name: str, png: bytes, step: int) -> None:
        """A figure."""

    def close(self, line: str) -> None:
        """The invocation has ended: `done`, `stopped: …`, `failed: …`."""


class MlflowTracker:
    """By `MlflowClient`, which needs no run that is active in a thread."""

    def __init__(self, name: str, key: str, uri: str) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = (
            self._client.create_experiment(experiment) if found is None else found.experiment_id
        )
        own = self._client.search_runs([number], filter_string=f"tags.`{SESSION_TAG}` = '{key}'")
        self._is_new = not own
        if own:
            self._run = own[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            tags = {SESSION_TAG: key, "spectro.uri": uri}
            self._run = self._client.create_run(number, tags=tags, run_name=name).info.run_id

    def settings(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`; MLflow's do not change, so that later invocations add none."""
        from mlflow.entities import Param

        if self._is_new:
            named = {_plain(name): str(value)[:MAX_VALUE] for name, value in values.items()}
            params = [Param(name, value) for name, value in named.items()]  # each name once
            for start in range(0, len(params), 100):
                self._client.log_batch(self._run, params=params[start : start + 100])

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(_plain(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=found)

    def picture(self, name: str, png: bytes, step: int) -> None:
        """See `Tracker`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.png")
            path.write_bytes(png)
            self._client.log_artifact(self._run, str(path), "figures")

    def close(self, line: str) -> None:
        """See `Tracker`."""
        self._client.set_tag(self._run, "spectro.ended", line[:MAX_VALUE])
        status = {"done": "FINISHED", "failed": "FAILED"}.get(line.partition(":")[0], "KILLED")
        self._client.set_terminated(self._run, status)


class TensorboardTracker:
    """A folder of events for each run."""

    def __init__(self, name: str, key: str, uri: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = os.environ.get("TENSORBOARD_LOGGING_DIR", "tensorboard")
        self._writer = SummaryWriter(os.path.join(folder, f"{name}-{key}"))
        self._step = 0

    def settings(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        rows = "".join(f"    {name}: {value}\n" for name, value in values.items())
        self._writer.add_text("settings", rows, 0)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(_plain(name), value, step)
        self._writer.flush()

    def picture(self, name: str, png: bytes, step: int) -> None:
        """See `Tracker`."""
        import numpy as np
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._writer.add_image(f"figures/{name}", pixels, step, dataformats="HWC")

    def close(self, line: str) -> None:
        """See `Tracker`."""
        self._writer.add_text("ended", line, self._step)
        self._writer.close()


class WandbTracker:
    """A run that later invocations continue, by its id."""

    def __init__(self, name: str, key: str, uri: str) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=name, id=key, resume="allow",
            notes=uri, settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def settings(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._run.config.update(dict(values), allow_val_change=True)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def picture(self, name: str, png: bytes, step: int) -> None:
        """See `Tracker`."""
        import wandb
        from PIL import Image

        self._run.log({f"figures/{name}": wandb.Image(Image.open(io.BytesIO(png)))}, step=step)

    def close(self, line: str) -> None:
        """See `Tracker`."""
        self._run.summary["ended"] = line
        self._run.finish(exit_code=0 if line == "done" else 1)


TRACKERS: dict[str, tuple[Callable[[str, str, str], Tracker], tuple[str, ...]]] = {
    "mlflow": (MlflowTracker, ("mlflow", "alembic", "sqlalchemy")),
    "tensorboard": (TensorboardTracker, ("tensorboard",)),
    "wandb": (WandbTracker, ("wandb",)),
}
"""Name in `run.trackers` → how it is opened (name of the run, key, URI), and what it imports."""


def require_installed(names: tuple[str, ...]) -> None:
    """Raise ModuleNotFoundError, with what to install, for a tracker whose library is missing."""
    for name in names:
        with optional_imports():
            for module in TRACKERS[name][1]:
                importlib.import_module(module)


def _plain(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)
