"""The viewer of a run as one file, from storage to storage (ADR 081).

A file to mail around holds what fits: so many tokens and clusters as `ReportConfig` says, and the
sequences of the run where they are few, else those of the largest clusters' examples alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from spectro.config import PipelineConfig
from spectro.formats.derived_objects import put_derived
from spectro.formats.object_kinds import page_names
from spectro.formats.run_parts import CONTROL
from spectro.storage.store import ObjectInfo, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_names import put_cluster_names
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import (
    CONTROL_FOLDER,
    MARKER,
    VOCABULARY,
    MapData,
    SequenceSource,
    json_bytes,
    manifest,
    objects,
    within,
)
from spectro.views.map.read_data import read_map_data
from spectro.views.page.config import ReportConfig
from spectro.views.page.read_ledger import Ledger, read_ledger
from spectro.views.page.report_data import control_view
from spectro.views.page.units import ReportUnit
from spectro.views.run_view import RunView
from spectro.views.token_contexts import known_vocabulary
from spectro.views.viewer.packages import one_file
from spectro.work.stage import OnProgress, ShouldStop, WorkerContext

logger = logging.getLogger(__name__)
_EXAMPLES = ("examples", "central", "assigned_examples")
LANDMARKS = 6000
"""Points that UMAP lays out, a third of them for the control: every run ends with a report."""
ALL_SEQUENCES_BYTES = 4 << 20
"""A run whose sequences need no more has all of them in its file, and cards of all clusters."""


def run_report(
    unit: ReportUnit, context: WorkerContext, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Put the page of a run."""
    write_page(context.root, context.config, unit.probe_sha256, on_progress)


def write_page(
    root: Store,
    config: PipelineConfig,
    probe_sha256: str,
    on_progress: OnProgress,
) -> None:
    """Put the page of `run.clusters`, then its size, checksum and the tokens that it is of."""
    page, marker = page_names(config.run.clusters)
    view = RunView(root.child(config.run.clusters).uri)
    known = known_vocabulary(config.model, view.info.vocab_size)
    for each in (view, control_view(view)):
        if each is not None:
            put_cluster_names(each, known)
    parts = read_data(view, config.report, known, read_ledger(view, config), on_progress)
    data = render(*parts).encode()
    logger.info("page of %d clusters: %.1f MB", len(parts[0].clusters), len(data) / 1e6)
    root.delete(marker)  # of another page, or none
    root.delete(page)
    root.put(page, data)
    put_derived(root, marker, {"page": asdict(ObjectInfo.of(data))}, probe_sha256)


def read_data(
    view: RunView,
    config: ReportConfig,
    known: Vocabulary,
    ledger: Ledger | None = None,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> list[MapData]:
    """What the file holds of a run, then of its control, if that has clusters."""
    shown = [known.show(token) for token in range(view.info.vocab_size)]
    control = control_view(view)
    data = _read(view, config, (LANDMARKS, config.max_cards), known, shown, ledger)
    on_progress(0.5, 1.0)
    if control is None:
        return [data]
    title = None if config.title is None else f"{config.title} / {CONTROL}"
    own = replace(config, title=title)
    of_control = _read(control, own, (LANDMARKS // 3, config.max_control_cards), known, shown, None)
    on_progress(0.9, 1.0)
    return [replace(data, control={**(data.control or {}), "map": CONTROL_FOLDER}), of_control]


def render(data: MapData, *control: MapData) -> str:
    """The page of a run's data, and of its control's; the same data give the same bytes."""
    inlined = dict(objects(data)) | {MARKER: json_bytes(manifest(data))}
    for other in control:
        inlined |= dict(within(CONTROL_FOLDER, other))
        del inlined[f"{CONTROL_FOLDER}/{VOCABULARY}"]  # the same as the run's
    return one_file(data.title, inlined)


def _read(
    view: RunView,
    config: ReportConfig,
    most: tuple[int, int],
    known: Vocabulary,
    shown: Sequence[str],
    ledger: Ledger | None,
) -> MapData:
    """`most`: landmarks of the layout, clusters with contexts."""
    landmarks, max_cards = most
    settings = MapConfig(
        title=config.title,
        max_tokens=config.max_points,
        landmarks=min(config.max_points, landmarks),
        num_neighbours=config.num_neighbours,
        num_examples=config.contexts_per_cluster,
        num_central=config.num_central,
        rows_per_file=config.max_points,
        seed=config.seed,
    )
    data = read_map_data(view, settings, known, shown, ledger)
    data = replace(data, window=(config.tokens_before, config.tokens_after))
    return reduced(data, config.max_rows, max_cards)


def reduced(data: MapData, max_clusters: int, max_cards: int) -> MapData:
    """What fits in one file: the largest clusters, and the contexts of the largest of them.

    Tokens of clusters that are left out are in none; the viewer says how many clusters there are.
    """
    num = len(data.clusters)
    data = replace(data, total_clusters=num)
    if num > max_clusters:
        data = _without_small(data, max_clusters)
    source = data.sequences
    sequence_bytes = len(source.subset_S) * (source.context + 1) * source.dtype.itemsize
    if sequence_bytes <= ALL_SEQUENCES_BYTES:
        return data
    columns = data.clusters.columns()
    shown = [name for name in _EXAMPLES if name in columns]
    for name in shown:
        columns[name] = columns[name].copy()
        columns[name][max_cards:] = -1
    for name in ("examples", "central"):
        loss_Km = columns[f"{name}_loss"]
        columns[f"{name}_loss"] = np.where(columns[name] < 0, np.float32(np.nan), loss_Km)
    token_ids = np.concatenate([columns[name].ravel() for name in shown])
    held_S = np.unique(token_ids[token_ids >= 0] // source.context).astype(np.int64)
    return replace(
        data, clusters=replace(data.clusters, **columns), sequences=_held(source, held_S)
    )


def _without_small(data: MapData, num: int) -> MapData:
    columns = {name: values[:num] for name, values in data.clusters.columns().items()}
    near = columns["neighbours"]
    columns["neighbours"] = np.where(near < num, near, -1)
    names = {column: list(values[:num]) for column, values in data.names.items()}
    cluster = data.tokens.cluster
    home = np.where(cluster < -1, -2 - cluster, cluster)
    tokens = replace(data.tokens, cluster=np.where(home < num, cluster, np.int32(-1)))
    return replace(
        data,
        clusters=replace(data.clusters, **columns),
        tokens=tokens,
        profile_KH=data.profile_KH[:num],
        names=names,
    )


def _held(source: SequenceSource, held_S: NDArray[np.int64]) -> SequenceSource:
    """Only some of the sequences, by their ascending ids."""

    def blocks() -> list[NDArray[np.integer]]:
        found, first = [], 0
        for ids_sT1 in source.blocks():
            own = held_S[(held_S >= first) & (held_S < first + len(ids_sT1))] - first
            found.append(np.asarray(ids_sT1)[own])
            first += len(ids_sT1)
        return found

    return replace(
        source,
        subset_S=source.subset_S[held_S],
        held_S=held_S.astype(np.float64),
        blocks=blocks,
    )
