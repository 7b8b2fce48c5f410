"""The cluster map of a run as a folder of files: made, found again, copied (ADR 033, 034).

It lies beside the clusters that it shows: `<run>/map`, `<run>/map-k30` for `<run>/clusters-k30`; in
it, below `control/`, that of the nβ = 0 control.
`map.json`, put last and sealed, names all other objects with their sizes and checksums, and says
what they were made from; a map that was made from the same is left as it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from spectro.models.load import ModelConfig
from spectro.report.map import (
    CONTROL_FOLDER,
    FORMAT,
    MARKER,
    VOCABULARY,
    MapConfig,
    MapData,
    json_bytes,
    manifest,
    objects,
    page_files,
    within,
)
from spectro.report.vocabulary import display
from spectro.run.page import vocabulary
from spectro.storage.clusters import PROVENANCE
from spectro.storage.derived import TOKENS, put_derived
from spectro.storage.fs import DamagedObjectError, ObjectInfo, Store
from spectro.storage.kinds import kind_of
from spectro.storage.product import SUMMARY_NAME, moments_name
from spectro.storage.report_inputs import CONTROL
from spectro.storage.run_view import DEFAULT_CLUSTERS, RunView
from spectro.storage.sealed import read_sealed
from spectro.views.map_assigned import read_assigned_tokens
from spectro.views.map_data import read_map_data
from spectro.views.map_placed import OnProgress, require_whole

logger = logging.getLogger(__name__)
FOLDER = "map"


@dataclass(frozen=True, kw_only=True)
class WrittenMap:
    """What there is now."""

    store: Store
    """Its folder."""
    told: Mapping[str, Any]
    """map.json."""
    was_there: bool
    """Whether it had been made before."""

    @property
    def size_bytes(self) -> int:
        """Of all its objects but map.json."""
        return sum(info["size_bytes"] for info in self.told["objects"].values())

    @property
    def num_objects(self) -> int:
        """With map.json."""
        return len(self.told["objects"]) + 1


def map_folder(view: RunView) -> str:
    """Name of the map of the clusters that a view looks at, beside them."""
    return FOLDER + view.folder.removeprefix(DEFAULT_CLUSTERS)


def write_map(
    view: RunView,
    config: MapConfig,
    target: Store | None = None,
    *,
    model: ModelConfig | None = None,
    renew: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> WrittenMap:
    """Make the map of a run, unless it is there and made from the same.

    Args:
        view: of a run with clusters, all of its tokens measured.
        config: what is drawn, and how.
        target: folder to write to; None: the run's own storage, beside the clusters.
        model: whose tokenizer says what tokens are; None, or one that is not at hand: ids are
            shown, with a warning.
        renew: make it again even so.
        on_progress: called with tokens placed and tokens in all.

    Raises ValueError, in one line, where parts of the run are missing or the folder holds
    something else; FileExistsError if another process writes the same map.
    """
    require_whole(view)
    store = target or view.store.child(map_folder(view))
    shown = _vocabulary(view, model)
    control = _control_view(view, config)
    made_of = _made_of(view, control, config)
    fixed = {VOCABULARY: json_bytes(shown), **dict(page_files())}
    if not renew and (told := _found(store, view, made_of, fixed)) is not None:
        return WrittenMap(store=store, told=told, was_there=True)
    _check_free(store)
    _check_ready(view, config)
    data, *controls = _read_all(view, control, config, shown, on_progress)
    _clear(store)
    others = (within(CONTROL_FOLDER, each) for each in controls)
    infos = _put_all(store, page_files(), objects(data), *others)
    content = {**manifest(data), "made_of": made_of, "objects": infos}
    put_derived(store, MARKER, content, view.info.probe_sha256)
    return WrittenMap(store=store, told=read_sealed(store, MARKER), was_there=False)


def copy_map(source: Store, target: Store) -> WrittenMap:
    """Copy a map object by object, each checked; what the target holds of a map is removed.

    Raises FileNotFoundError where there is none, DamagedObjectError.
    """
    told = read_sealed(source, MARKER)
    _clear(target)
    for name, info in told["objects"].items():
        data = source.read(name)
        ObjectInfo(**info).verify(data, f"{source.uri}/{name}")
        target.put(name, data)
    target.put(MARKER, source.read(MARKER))
    return WrittenMap(store=target, told=told, was_there=False)


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
    shown: list[str | None],
    on_progress: OnProgress,
) -> list[MapData]:
    """The data of the run's map, then of its control's, which the first points to."""
    views = [view] if control is None else [view, control]
    found = []
    for index, each in enumerate(views):
        title = f"{config.title} / {CONTROL}" if index and config.title else config.title

        def share(done: float, total: float, index: int = index) -> None:
            on_progress(done + index * total, total * len(views))

        found.append(read_map_data(each, replace(config, title=title), shown, share))
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


def _vocabulary(view: RunView, model: ModelConfig | None) -> list[str | None]:
    """Each token in the display alphabet; ids where the tokenizer is not at hand."""
    size = view.info.vocab_size
    if model is not None:
        try:
            pieces = vocabulary(model, size)
        except (ValueError, OSError) as error:
            logger.warning("tokens are shown by their ids: %s", error)
        else:
            return [None if piece is None else display(piece) for piece in pieces]
    return [f"#{token}" for token in range(size)]


def _made_of(view: RunView, control: RunView | None, config: MapConfig) -> dict[str, Any]:
    """What decides over the bytes of a map, beside the tokens and the page's files."""
    settings = asdict(config)
    del settings["device"]
    own, other = view.store.child(view.folder), view.store.child(f"{CONTROL}/{view.folder}")
    assigned = [read_assigned_tokens(each) for each in (view, control) if each is not None]
    return {
        "format": FORMAT,
        "config": settings,
        "clusters": view.folder,
        "clusters_sha256": _digest(own) if view.has_clusters else None,
        "control_sha256": _digest(other) if other.exists(PROVENANCE) else None,
        "control_drawn": control is not None,
        "assigned_sha256": [None if each is None else each.sha256 for each in assigned],
    }


def _digest(clusters: Store) -> str:
    return hashlib.sha256(clusters.read(PROVENANCE)).hexdigest()


def _found(
    store: Store, view: RunView, made_of: Mapping[str, Any], fixed: Mapping[str, bytes]
) -> dict[str, Any] | None:
    """map.json of a whole map that was made from the same; None if there is none."""
    try:
        told = read_sealed(store, MARKER)
    except (DamagedObjectError, FileNotFoundError):
        return None
    same = told.get(TOKENS) == view.info.probe_sha256 and told.get("made_of") == made_of
    known = told.get("objects", {})
    same = same and all(known.get(n) == asdict(ObjectInfo.of(d)) for n, d in fixed.items())
    sizes = {name: info["size_bytes"] for name, info in known.items()}
    there = store.list()
    return told if same and {name: there.get(name) for name in sizes} == sizes else None


def _clear(store: Store) -> None:
    """Remove what is there of a map, map.json first; errors as `_check_free`."""
    names = _check_free(store)
    store.delete(MARKER)
    store.delete_many(names)


def _check_free(store: Store) -> list[str]:
    """Names of what is there of a map; ValueError if there is anything else."""
    names = list(store.list())
    others = [name for name in names if kind_of(f"{FOLDER}/{name}") not in ("maps", "map_files")]
    if others:
        raise ValueError(
            f"{store.uri} holds files that are of no map ({others[0]} …): give a folder that is "
            "empty or holds a map"
        )
    return names


def _put_all(store: Store, *sources: Iterator[tuple[str, bytes]]) -> dict[str, Any]:
    """Put every object; sizes and checksums by name. ValueError if some are gone at the end."""
    infos: dict[str, Any] = {}
    for source in sources:
        for name, data in source:
            store.put(name, data)
            infos[name] = asdict(ObjectInfo.of(data))
    there = store.list()
    lost = [name for name, info in infos.items() if there.get(name) != info["size_bytes"]]
    if lost:  # a run that ends tidies what no marker names
        raise ValueError(
            f"{len(lost)} objects of {store.uri} are gone ({lost[0]} …): did another process tidy "
            "the run or write the same map meanwhile? Make it again"
        )
    return infos
