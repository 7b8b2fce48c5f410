"""From arrays to the files of the map's folder, one after the other (ADR 033).

No file is held longer than it takes to hand it over, and sequences are asked for block by block,
so that millions of tokens need the memory of their columns. The same data gives the same bytes.
Shapes: n tokens drawn, K clusters, H components, P subsets, S sequences of T + 1 ids.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectro.views.map.columns import GRID, data_of, dtype_name, narrow, parts
from spectro.views.map.regions import Region

FORMAT = 3
MARKER = "map.json"
VOCABULARY = "vocabulary.json"
REPORT = "report.json"
"""The sections beside the map: what was found, columns, control, records (ADR 081)."""
NAMES = "names.json"
"""Names of the clusters, column by column."""
CONTROL_FOLDER = "control"
"""Folder of the map of the nβ = 0 control in the map of its run."""
PROFILES_BYTES = SEQUENCES_BYTES = 1 << 18
"""About so large are files of which a page fetches one at a time."""
SequenceBlocks = Iterable[NDArray[np.integer]]


class _Columns:
    """Columns of equal length, named as their files."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """By name, in the order of definition; without those that there are not."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: values for name, values in found.items() if values is not None}

    def __len__(self) -> int:
        return len(next(iter(self.columns().values())))

    def __post_init__(self) -> None:
        """Refuse columns of different lengths."""
        lengths = {name: len(values) for name, values in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of the map must be equally long, found {lengths}")


@dataclass(frozen=True, kw_only=True)
class TokenColumns(_Columns):
    """The tokens drawn, in keyed random order: the first of them are a sample."""

    x: NDArray[np.uint16]
    """On the grid."""
    y: NDArray[np.uint16]
    """On the grid, upwards."""
    cluster: NDArray[np.int32]
    """−1 in none; the smallest where clusters overlap; −2 − c where it was assigned to c later."""
    subset: NDArray[np.unsignedinteger]
    """Index into the names of the subsets."""
    token: NDArray[np.uint32]
    """y of the token (x, y)."""
    token_id: NDArray[np.float64]
    """A whole number: sequence · T + position."""
    loss: NDArray[np.float32]
    """ℓ at w*, nats."""


@dataclass(frozen=True, kw_only=True)
class ClusterColumns(_Columns):
    """One row per cluster, by id."""

    x: NDArray[np.uint16]
    """On the grid."""
    y: NDArray[np.uint16]
    """On the grid, upwards."""
    size: NDArray[np.uint32]
    """Members, drawn or not."""
    conductance: NDArray[np.float32]
    """In the whole graph."""
    stability: NDArray[np.float32]
    """NaN: not known."""
    repeatability: NDArray[np.float32]
    """Best Jaccard index among clusters from other seeds; NaN: not known."""
    shared_neighbours: NDArray[np.float32]
    """Share of the members' neighbours that two halves of the chains have; NaN: not known."""
    q_value: NDArray[np.float32]
    """That it is no more than its y; NaN: not known."""
    holds: NDArray[np.float32]
    """1 where it holds, 0 where it does not; NaN: not known."""
    purity: NDArray[np.float32]
    """Share of the most common subset."""
    token_purity: NDArray[np.float32]
    """Share of the most common y."""
    subset: NDArray[np.unsignedinteger]
    """The most common one."""
    region: NDArray[np.int32]
    """−1 in none."""
    top_tokens: NDArray[np.int32]
    """Most common y [K, 10], most common first; −1 beyond the last."""
    top_counts: NDArray[np.uint32]
    """How often [K, 10]."""
    neighbours: NDArray[np.int32]
    """Clusters of the nearest centroids [K, 5], nearest first; −1 beyond the last."""
    examples: NDArray[np.float64]
    """Token ids of random members [K, m]; −1 beyond the last."""
    central: NDArray[np.float64]
    """Token ids of the members of highest rank [K, m]; −1 beyond the last."""
    examples_loss: NDArray[np.float32]
    """Their ℓ at w*, nats; NaN beyond the last."""
    central_loss: NDArray[np.float32]
    """The same."""
    subset_counts: NDArray[np.uint32]
    """Members of each subset [K, P]."""
    name_f1: NDArray[np.float32] | None = None
    """F1 of the name by a rule on held-out sequences; NaN: not known; None: not read."""
    name_precision: NDArray[np.float32] | None = None
    """Its precision."""
    name_recall: NDArray[np.float32] | None = None
    """Its recall."""
    neighbourhood_f1: NDArray[np.float32] | None = None
    """F1 of the name of the cluster with its nearest clusters."""
    assigned: NDArray[np.uint32] | None = None
    """Tokens assigned to it later, drawn or not; None where nothing was assigned."""
    control_match: NDArray[np.int32] | None = None
    """The control's cluster that shares most members, −1 where none does; None: no control."""
    control_jaccard: NDArray[np.float32] | None = None
    """Jaccard index of the members of both."""
    assigned_examples: NDArray[np.float64] | None = None
    """Token ids of random ones of them [K, m]; −1 beyond the last."""


@dataclass(frozen=True, kw_only=True)
class SequenceSource:
    """Where the contexts of tokens come from."""

    subset_S: NDArray[np.integer]
    """Subset of every sequence."""
    context: int
    """T."""
    largest_id: int
    """Largest token id that may occur."""
    blocks: Callable[[], SequenceBlocks]
    """Token ids [s, T + 1] of all sequences in order, cut anywhere."""
    held_S: NDArray[np.float64] | None = None
    """Ascending ids of these sequences where they are some of the run's; None: all."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the ids in the files."""
        return narrow(self.largest_id)

    @property
    def per_file(self) -> int:
        """Sequences in a file."""
        return max(1, SEQUENCES_BYTES // ((self.context + 1) * self.dtype.itemsize))


@dataclass(frozen=True, kw_only=True)
class MapData:
    """All that a map's folder says of a run."""

    title: str
    """Heading."""
    facts: tuple[tuple[str, str], ...]
    """(label, value), in order."""
    provenance: str
    """Resolved configuration and versions."""
    subsets: tuple[str, ...]
    """Names of the subsets."""
    components: tuple[str, ...]
    """Names of the columns of χ."""
    reliability_H: NDArray[np.floating]
    """Split-half reliability of each; NaN: not known."""
    num_tokens: int
    """Tokens that the run has, drawn or not."""
    tokens: TokenColumns
    """Those drawn."""
    clusters: ClusterColumns
    """All of them."""
    profile_KH: NDArray[np.floating]
    """Mean standardised χ of every cluster."""
    sequences: SequenceSource
    """All of the run's."""
    vocabulary: Sequence[str | None]
    """Each token in the display alphabet, None for an id that is no token."""
    regions: Sequence[Region]
    """Groups of clusters."""
    names: Mapping[str, Sequence[str]]
    """Of the clusters, in the display alphabet: shown, source, rule, named_by, neighbourhood."""
    control: dict[str, Any] | None
    """Number, tokens, sizes, conductances of the control's clusters; `map`, their folder."""
    layout: dict[str, Any]
    """How positions were made."""
    rows_per_file: int
    """Tokens in a file of a column."""
    num_clustered_tokens: int | None = None
    """Tokens in any cluster, drawn or not, each counted once; None: not known."""
    control_measured: bool = False
    """Whether there is a control, clustered under this name or not."""
    is_control: bool = False
    """Whether the run is itself an nβ = 0 control."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """Sections beside the map, as plain JSON types (report_data.py)."""
    window: tuple[int, int] = (26, 8)
    """Tokens shown before and after y in a folded context."""
    total_clusters: int | None = None
    """Clusters that the run has, where not all are here."""
    assigned: dict[str, Any] | None = None
    """How many of the tokens that were added later were assigned, and how; None: nothing was."""


def objects(data: MapData) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file but `map.json`, which `manifest` gives, and the page's own."""
    yield VOCABULARY, json_bytes(list(data.vocabulary))
    yield REPORT, json_bytes(data.report)
    yield NAMES, json_bytes(data.names)
    yield "regions.json", json_bytes([region.to_dict() for region in data.regions])
    for name, values in data.clusters.columns().items():
        yield f"clusters/{name}.bin", data_of(values)
    for number, rows in parts(len(data.profile_KH), _profiles_per_file(data)):
        yield f"clusters/profiles-{number:04d}.bin", data_of(_half(data.profile_KH[rows]))
    yield from _sequence_files(data)
    for number, rows in parts(len(data.tokens), data.rows_per_file):
        for name, values in data.tokens.columns().items():
            yield f"tokens/{name}-{number:04d}.bin", data_of(values[rows])


def manifest(data: MapData) -> dict[str, Any]:
    """The content of `map.json`, as plain JSON types."""
    tokens, clusters = data.tokens, data.clusters
    reliability = [float(value) for value in data.reliability_H]
    return {
        "format": FORMAT,
        "title": data.title,
        "facts": [list(fact) for fact in data.facts],
        "provenance": data.provenance,
        "grid": GRID,
        "context": data.sequences.context,
        "window": list(data.window),
        "subsets": list(data.subsets),
        "components": list(data.components),
        "tokens": {
            "count": len(tokens),
            "total": data.num_tokens,
            "rows_per_file": data.rows_per_file,
            "columns": {name: dtype_name(values) for name, values in tokens.columns().items()},
        },
        "clusters": {
            "count": len(clusters),
            "total": len(clusters) if data.total_clusters is None else data.total_clusters,
            "tokens": data.num_clustered_tokens,
            "columns": {name: _described(values) for name, values in clusters.columns().items()},
            "profiles": {"rows_per_file": _profiles_per_file(data)},
        },
        "sequences": {
            "count": len(data.sequences.subset_S),
            "sequences_per_file": data.sequences.per_file,
            "dtype": dtype_name(np.empty(0, data.sequences.dtype)),
            "subsets": "sequences/subsets.bin",
            "held": None if data.sequences.held_S is None else "sequences/held.bin",
        },
        "control": data.control,
        "control_measured": data.control_measured,
        "is_control": data.is_control,
        "assigned": data.assigned,
        "reliability": [value if math.isfinite(value) else None for value in reliability],
        "layout": data.layout,
    }


def within(folder: str, data: MapData) -> Iterator[tuple[str, bytes]]:
    """The files of a second map below a folder, with its `map.json`: the page's own are shared."""
    for name, content in objects(data):
        yield f"{folder}/{name}", content
    yield f"{folder}/{MARKER}", json_bytes(manifest(data))


def json_bytes(content: Any) -> bytes:
    """JSON in ASCII, without spaces; ValueError for a number that is not finite."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii")


def _described(values: NDArray[Any]) -> str | list[str | int]:
    name = dtype_name(values)
    return name if values.ndim == 1 else [name, values.shape[1]]


def _profiles_per_file(data: MapData) -> int:
    return max(1, PROFILES_BYTES // (2 * max(1, len(data.components))))


def _half(values_KH: NDArray[np.floating]) -> NDArray[np.float16]:
    """float16; what is beyond its range becomes its largest number."""
    largest = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(values_KH, -largest, largest), np.float16)


def _sequence_files(data: MapData) -> Iterator[tuple[str, bytes]]:
    """Subsets, then the ids cut into files; ValueError unless there is one subset per sequence."""
    source, written = data.sequences, 0
    yield "sequences/subsets.bin", data_of(source.subset_S.astype(data.tokens.subset.dtype))
    if source.held_S is not None:
        yield "sequences/held.bin", data_of(source.held_S.astype(np.float64))
    for number, ids_sT1 in enumerate(_recut(source.blocks(), source.per_file)):
        written += len(ids_sT1)
        yield f"sequences/ids-{number:04d}.bin", data_of(ids_sT1.astype(source.dtype))
    if written != len(source.subset_S):
        raise ValueError(
            f"expected {len(source.subset_S)} sequences, one for each subset, found {written}: "
            "is a token shard missing?"
        )


def _recut(blocks: SequenceBlocks, num_rows: int) -> Iterator[NDArray[np.integer]]:
    """The same rows in blocks of `num_rows`, the last one shorter."""
    rest: NDArray[np.integer] | None = None
    for block in blocks:
        rows = block if rest is None else np.concatenate([rest, block])
        full = len(rows) // num_rows * num_rows
        yield from (rows[start : start + num_rows] for start in range(0, full, num_rows))
        rest = rows[full:]
    if rest is not None and len(rest):
        yield rest
