"""A small run as a published folder."""

from __future__ import annotations

from pathlib import Path

from spectro.views.publish.config import PublishConfig
from spectro.views.publish.folder import write_dataset
from spectro.views.run_view import RunView

CONTEXT, NUM_SEQUENCES = 8, 12


def published(run: Path, folder: Path, **settings: object) -> Path:
    folder.mkdir()
    write_dataset(RunView(str(run)), PublishConfig(**{"map": False, **settings}), folder)
    return folder
