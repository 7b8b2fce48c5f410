"""Made runs that maps are made of: summed up, of several subsets, with a control."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from spectro.formats.derived_objects import put_derived
from spectro.formats.product import ASSEMBLY, FOLDER, SUMMARY_NAME
from spectro.formats.tokens import read_info
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences
from spectro.views.map.config import MapConfig
from tests.run.made_runs import COMPONENTS, make_run, put_clusters, text

QUICK = MapConfig(landmarks=20, num_examples=7)
"""Too few landmarks for UMAP, which takes long to load."""


def summed_up(store: Store) -> None:
    """Put what is known of the columns."""
    told = {"components": COMPONENTS, "reliability": [None, *[0.5] * (len(COMPONENTS) - 1)]}
    put_derived(store, SUMMARY_NAME, told, read_info(store).probe_sha256)


def clustered_run(
    folder: Path, sequences: Sequences | None = None, *, model: Path | None = None
) -> Store:
    """600 tokens in four shards, unless others are given, and their clusters."""
    known = text(30, 1) if sequences is None else sequences
    store = make_run(folder, known, model=None if model is None else str(model))
    put_clusters(store)
    summed_up(store)
    return store


def of_subsets(
    sequences: Sequences, names: tuple[str, ...], subset: int | None = None
) -> Sequences:
    """The same of one of some subsets, or of them all by turns."""
    turns = np.arange(len(sequences)) % len(names)
    own = turns if subset is None else np.full(len(sequences), subset)
    return dataclasses.replace(sequences, subset_S=own.astype(np.int16), subset_names=names)


def measure_control(store: Store) -> Store:
    """A control with the rows of the run itself, without clusters."""
    control = Path(store.root) / "control"
    for folder in (FOLDER, ASSEMBLY):
        shutil.copytree(Path(store.root) / folder, control / folder)
    shutil.copy(Path(store.root) / "run.yaml", control / "run.yaml")
    return store.child("control")
