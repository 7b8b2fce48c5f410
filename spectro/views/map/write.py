"""The cluster map of a run as a folder of files: made, found again, copied (ADR 033, 034).

It is beside the clusters that it shows: `<run>/map`, `<run>/map-k30` for `<run>/clusters-k30`; in
it, below `control/`, that of the nβ = 0 control.
`map.json`, put last and sealed, names all other objects with their sizes and checksums, and says
what they were made from; a map that was made from the same is left as it is, but for its page.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from spectro.config import PipelineConfig
from spectro.formats.clusters.clusters import PROVENANCE, clusters_sha256
from spectro.formats.clusters.names import GIVEN
from spectro.formats.clusters.names import MARKER as NAMES_MARKER
from spectro.formats.derived_objects import TOKENS, put_derived
from spectro.formats.product import SUMMARY_NAME, moments_name
from spectro.formats.run_parts import CONTROL
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import ObjectInfo, Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.display.vocabulary import display
from spectro.views.cluster_names import put_cluster_names
from spectro.views.map.assigned import read_assigned_tokens
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import (
    CONTROL_FOLDER,
    FORMAT,
    MARKER,
    VOCABULARY,
    MapData,
    json_bytes,
    manifest,
    objects,
    within,
)
from spectro.views.map.features import read_features
from spectro.views.map.folder import (
    FOLDER,
    Marker,
    clear,
    has_data,
    put_all,
    put_page,
    read_marker,
    read_words,
    require_own,
)
from spectro.views.map.placed import OnProgress, require_whole
from spectro.views.map.read_data import read_map_data
from spectro.views.page.read_ledger import Ledger, read_ledger
from spectro.views.run_view import DEFAULT_CLUSTERS, RunView
from spectro.views.token_contexts import vocabulary_of
from spectro.views.viewer.packages import page_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WrittenMap:
    """What there is now."""

    store: Store
    """Its folder."""
    marker: Mapping[str, Any]
    """map.json."""
    was_there: bool
    """Whether its data had been made before."""

    @property
    def size_bytes(self) -> int:
        """Of all its objects but map.json."""
        return sum(info["size_bytes"] for info in self.marker["objects"].values())

    @property
    def num_objects(self) -> int:
        """With map.json."""
        return len(self.marker["objects"]) + 1


def map_folder(view: RunView) -> str:
    """Name of the map of the clusters that a view looks at, beside them."""
    return FOLDER + view.folder.removeprefix(DEFAULT_CLUSTERS)


def write_map(
    view: RunView,
    config: MapConfig,
    target: Store | None = None,
    *,
    renew: bool = False,
    run: PipelineConfig | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> WrittenMap:
    """Make the map of a run, unless it is there and made from the same.

    Tokens are named by the tokenizer of the run's model; where it is missing, as the map
    that is there names them, else by their ids, with a warning.

    Args:
        view: of a run with clusters, all of its tokens measured.
        config: what is drawn, and how.
        target: folder to write to; None: the run's own storage, beside the clusters.
        renew: make it again even so.
        run: the run's configuration, which its records and bill are read by; None: without them.
        on_progress: called with tokens placed and tokens in all.

    Raises ValueError, in one line, where parts of the run are missing or the folder holds
    something else; FileExistsError if another process writes the same map.
    """
    require_whole(view)
    store, of_run = _place(view, target), target is None
    control, known = _control_view(view, config), vocabulary_of(view)
    for each in (view, control):
        if of_run and each is not None:
            put_cluster_names(each, known)
    made_of, page, there = _made_of(view, control, config), dict(page_files()), read_marker(store)
    shown = _shown(view, known, store, there)
    if not renew and there is not None and _is_same(view, store, there, made_of, shown):
        marker = put_page(store, there, page, of_run=of_run)
        return WrittenMap(store=store, marker=marker, was_there=True)
    require_own(store, of_run=of_run)
    _check_ready(view, config)
    ledger = None if run is None else read_ledger(view, run)
    data, *controls = _read_all(view, control, config, known, shown, ledger, on_progress)
    clear(store, of_run=of_run)
    others = (within(CONTROL_FOLDER, each) for each in controls)
    infos = put_all(store, page.items(), objects(data), *others)
    content = {**manifest(data), "made_of": made_of, "objects": infos}
    put_derived(store, MARKER, content, view.info.probe_sha256)
    return WrittenMap(store=store, marker=read_sealed(store, MARKER), was_there=False)


def settings_there(view: RunView, target: Store | None = None) -> MapConfig | None:
    """What the map that is there was made with, on today's default device.

    None where there is none of the clusters and the tokens that there are now.
    """
    marker = read_marker(_place(view, target))
    if marker is None or marker.get(TOKENS) != view.info.probe_sha256:
        return None
    made = marker.get("made_of", {})
    if [made.get("clusters"), made.get("clusters_sha256")] != [view.folder, _digest_of(view)]:
        return None
    try:
        return MapConfig(**made["config"])
    except (KeyError, TypeError, ValueError):  # of another version
        return None


def copy_map(source: Store, target: Store) -> WrittenMap:
    """Copy a map object by object, each checked; what the target holds of a map is removed.

    Raises FileNotFoundError where there is none, DamagedObjectError, ValueError where the target
    holds something else.
    """
    marker = read_sealed(source, MARKER)
    clear(target, of_run=False)
    for name, info in marker["objects"].items():
        data = source.read(name)
        ObjectInfo(**info).verify(data, f"{source.uri}/{name}")
        target.put(name, data)
    target.put(MARKER, source.read(MARKER))
    return WrittenMap(store=target, marker=marker, was_there=False)


def _place(view: RunView, target: Store | None) -> Store:
    return target or view.store.child(map_folder(view))


def _control_view(view: RunView, config: MapConfig) -> RunView | None:
    """The control's clusters of the same name, if all of its tokens are measured; else None."""
    if not config.control or view.is_control or view.is_half:
        return None
    part = view.store.child(CONTROL)
    wanted = (f"{view.folder}/{PROVENANCE}", moments_name(view.num_shards - 1), SUMMARY_NAME)
    if not all(part.exists(name) for name in wanted):
        return None
    return RunView(part.child(view.folder).uri)


def _read_all(
    view: RunView,
    control: RunView | None,
    config: MapConfig,
    known: Vocabulary,
    shown: Sequence[str | None],
    ledger: Ledger | None,
    on_progress: OnProgress,
) -> list[MapData]:
    """The data of the run's map, then of its control's, which the first points to."""
    views = [view] if control is None else [view, control]
    found = []
    for index, each in enumerate(views):
        title = f"{config.title} / {CONTROL}" if index and config.title else config.title

        def share(done: float, total: float, index: int = index) -> None:
            on_progress(done + index * total, total * len(views))

        records = None if index else ledger
        own = replace(config, title=title)
        found.append(read_map_data(each, own, known, shown, records, share))
    if control is not None:
        found[0] = replace(found[0], control={**(found[0].control or {}), "map": CONTROL_FOLDER})
    return found


def _check_ready(view: RunView, config: MapConfig) -> None:
    """Raise ValueError where a map cannot be made yet, or not here."""
    last = moments_name(view.num_shards - 1)
    if not view.store.exists(last):
        raise ValueError(
            f"{view.uri} has tokens that are not measured yet (no {last}): measure them with "
            f"spectro resume run.uri={view.root.uri}"
        )
    if config.device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"map.device is {config.device!r} but torch sees no CUDA device here")


def _shown(
    view: RunView, known: Vocabulary, store: Store, there: Marker | None
) -> Sequence[str | None]:
    """Each token in the display alphabet; see `write_map`."""
    if known.pieces is not None:
        return [None if piece is None else display(piece) for piece in known.pieces]
    if there is not None and there.get(TOKENS) == view.info.probe_sha256:
        words = read_words(store, there)
        if words is not None:
            logger.warning("the map at %s keeps the words that it has", store.uri)
            return words
    return [f"#{token}" for token in range(view.info.vocab_size)]


def _made_of(view: RunView, control: RunView | None, config: MapConfig) -> dict[str, Any]:
    """What decides over the data of a map, beside the tokens and their words."""
    settings = asdict(config)
    del settings["device"]
    other = view.store.child(f"{CONTROL}/{view.folder}")
    views = [each for each in (view, control) if each is not None]
    assigned = [read_assigned_tokens(each) for each in views]
    matches = [match and match.stem for match in map(read_features, views)]
    return {
        "format": FORMAT,
        "config": settings,
        "clusters": view.folder,
        "clusters_sha256": _digest_of(view),
        "control_sha256": clusters_sha256(other) if other.exists(PROVENANCE) else None,
        "control_drawn": control is not None,
        "control_measured": view.store.exists(f"{CONTROL}/{SUMMARY_NAME}"),
        "names_sha256": [_names_digest(each) for each in (view, control) if each is not None],
        "assigned_sha256": [None if each is None else each.sha256 for each in assigned],
        **({"features": matches} if any(matches) else {}),  # maps of before are still the same
    }


def _digest_of(view: RunView) -> str | None:
    """Of the clusters of a view; None where there are none."""
    return clusters_sha256(view.store.child(view.folder)) if view.has_clusters else None


def _names_digest(view: RunView) -> list[str | None]:
    """Of the names that are stored beside the clusters, by rules and from a file."""
    folder = view.store.child(view.folder)
    return [
        hashlib.sha256(folder.read(name)).hexdigest() if folder.exists(name) else None
        for name in (NAMES_MARKER, GIVEN)
    ]


def _is_same(
    view: RunView,
    store: Store,
    marker: Marker,
    made_of: Mapping[str, Any],
    shown: Sequence[str | None],
) -> bool:
    """Whether a map's data are whole and made from the same."""
    words = asdict(ObjectInfo.of(json_bytes(list(shown))))
    return (
        marker.get(TOKENS) == view.info.probe_sha256
        and marker.get("made_of") == made_of
        and marker.get("objects", {}).get(VOCABULARY) == words
        and has_data(store, marker)
    )
