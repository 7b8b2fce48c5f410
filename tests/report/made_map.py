"""A made-up map: the folder of ADR 033 with planted clusters, for any number of tokens.

    python tests/report/made_map.py FOLDER [NUM_TOKENS [NUM_CLUSTERS [SEED]]]

It is written by the exporter's own `folder.py`, in a few seconds for a million tokens. Some words
are hostile: markup, control characters, emoji, broken UTF-8, right-to-left scripts.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from spectro.tokens.display.vocabulary import display
from spectro.views.map.columns import first_of_each, narrow, on_grid
from spectro.views.map.config import MapConfig
from spectro.views.map.data_files import (
    CONTROL_FOLDER,
    ClusterColumns,
    MapData,
    SequenceSource,
    TokenColumns,
    json_bytes,
    manifest,
    objects,
    within,
)
from spectro.views.map.regions import Laid, find_regions
from spectro.views.viewer.packages import page_files

SUBSETS = ("code", "docs", "prose", "legal", "math", "markup", "web", "headers")
CONTEXT = 64
NUM_WORDS = 2000
HOSTILE = (
    b"<script>alert(1)</script>", b"<img src=x onerror=alert(1)>", b"</script>", b"&lt;b&gt;",
    b"\x00", b"\x1b[31m", b"\n", b" ", b"    ", b"\t", b"\r\n", b"\xf0\x9f\x98\x80", b"\xf0\x9f",
    b"\xff", "שלום".encode(), "\u202eabc".encode(), "\u0301".encode(), "\ue000".encode(),
    "\u2028".encode(), b"'\"`", b"javascript:", b"${x}", b"__proto__", b"constructor",
    b"%00", b"#1",
)  # fmt: skip


def words():
    """Hostile ones first, then made-up ones; the last id is no token."""
    rng = np.random.default_rng(1)
    letters = list("aeioubcdfghlmnprst")
    made = ["".join(rng.choice(letters, rng.integers(2, 8))) for _ in range(NUM_WORDS)]
    spaced = [f" {word}" if index % 2 else word for index, word in enumerate(made)]
    return [*HOSTILE, *(word.encode() for word in spaced)][: NUM_WORDS - 1] + [None]


def vocabulary():
    """In the display alphabet."""
    return [None if word is None else display(word) for word in words()]


def components(num_layers=4, num_heads=4):
    parts = [*(f"h{head}" for head in range(num_heads)), "mlp"]
    return ("embed", *(f"l{k}{part}" for k in range(num_layers) for part in parts), "unembed")


def planted(rng, num_tokens, num_clusters):
    """Cluster of each token, −1 for half of them; sizes fall like 1 / (rank + 10)."""
    share = 1.0 / (np.arange(num_clusters) + 10.0)
    size = np.maximum(1, (0.5 * num_tokens * share / max(share.sum(), 1e-9)).astype(int))
    label = np.repeat(np.arange(num_clusters), size)[:num_tokens]
    label = np.concatenate([label, np.full(num_tokens - len(label), -1)])
    return rng.permutation(label).astype(np.int32)


def made_map(num_tokens=20_000, num_clusters=60, seed=0, *, subsets=SUBSETS, **overrides):
    """The data of a map; `overrides` replace fields."""
    rng = np.random.default_rng(seed)
    num_sequences = -(-num_tokens // CONTEXT)
    subset_S = np.sort(rng.integers(0, len(subsets), num_sequences)).astype(np.uint8)
    label = planted(rng, num_tokens, num_clusters)
    ids = text(rng, label, num_sequences, num_clusters)
    y = ids[:, 1:].reshape(-1)[:num_tokens]
    subset = subset_S[np.arange(num_tokens) // CONTEXT]
    centre, xy = positions(rng, label, num_clusters)
    clusters, regions = made_clusters(rng, label, y, subset, centre, xy, len(subsets))
    num_components = len(components())
    num_control = num_clusters // 5
    control_sizes = list(range(20 + num_control, 20, -1))
    data = MapData(
        title="A made-up map",
        facts=(("Model", "made up, 4 layers × 4 heads"), ("Tokens", f"{num_tokens:,}")),
        provenance="seed: 0\n",
        subsets=tuple(subsets),
        components=components(),
        reliability_H=np.concatenate([[np.nan], rng.uniform(0.3, 0.95, num_components - 1)]),
        num_tokens=num_tokens,
        tokens=made_tokens(rng, label, y, subset, xy),
        clusters=clusters,
        profile_KH=rng.normal(size=(num_clusters, num_components)),
        sequences=SequenceSource(
            subset_S=subset_S, context=CONTEXT, largest_id=NUM_WORDS - 1, blocks=lambda: [ids]
        ),
        vocabulary=vocabulary(),
        regions=regions,
        names=names_of(num_clusters),
        control={
            "clusters": num_control,
            "sizes": control_sizes,
            "tokens": sum(control_sizes),
            "conductances": [0.5] * num_control,
        },
        num_clustered_tokens=int((label >= 0).sum()),
        layout={"method": "made up"},
        rows_per_file=131_072,
    )
    data = dataclasses.replace(data, **overrides)
    return data if "report" in overrides else dataclasses.replace(data, report=made_report(data))


def made_report(data, **overrides):
    """The sections beside the map; the control is half as reliable."""
    control = data.control and {
        "columns": columns_of(data, 0.5),
        "summary": summary_of(
            np.array(data.control["sizes"]), data.control["tokens"], data.control["conductances"]
        ),
    }
    report = {
        "columns": columns_of(data, 1.0),
        "summary": summary_of(
            data.clusters.size, data.num_clustered_tokens, data.clusters.conductance
        ),
        "control": control,
        "found": [],
        "names": None,
        "ledger": {
            "facts": [["Seeds", "run 0"], ["Versions", "python 3.11.7"]],
            "stages": [
                ["posterior", "tiles", 3, 10**12, 11 * 10**11, 180.0],
                ["control", "tiles", 3, 10**12, 10**12, None],
            ],
            "missing": [],
        },
    }
    return report | overrides


def columns_of(data, share):
    known = [None if np.isnan(v) else round(share * float(v), 3) for v in data.reliability_H]
    return {
        "components": list(data.components),
        "reliability": known,
        "centred": None,
        "halfWidth": [0.001] * len(known),
        "interval": "95 % interval, Student t, 4 chains",
        "meanPhi": [0.1] * len(known),
        "threshold": None,
        "leftOut": [],
        "vectors": [],
        "warnings": [],
    }


def summary_of(sizes, num_tokens, conductances):
    known = len(sizes) > 0
    return {
        "clusters": len(sizes),
        "clustered": num_tokens,
        "largest": int(max(sizes)) if known else None,
        "size": float(np.median(sizes)) if known else None,
        "conductance": round(float(np.median(conductances)), 4) if known else None,
        "stability": None,
        "repeatability": 0.9,
        "hold": len(sizes),
        "purity": 0.5,
        "tokenPurity": 0.25,
    }


def text(rng, label, num_sequences, num_clusters):
    """Token ids [sequences, T + 1]; members of a cluster mostly predict four tokens of its own.

    The most common of them is the word of the cluster's own number: the first are hostile.
    """
    ids = (rng.zipf(1.25, (num_sequences, CONTEXT + 1)) % (NUM_WORDS - 1)).astype(np.int32)
    own = rng.integers(0, NUM_WORDS - 1, (max(num_clusters, 1), 4))
    own[:, 0] = np.arange(len(own)) % (NUM_WORDS - 1)
    favoured = np.flatnonzero((label >= 0) & (rng.random(len(label)) < 0.9))
    chosen = rng.choice(4, len(favoured), p=[0.6, 0.2, 0.1, 0.1])
    ids[favoured // CONTEXT, favoured % CONTEXT + 1] = own[label[favoured], chosen]
    return ids


def positions(rng, label, num_clusters):
    """Places of clusters [K, 2] and of tokens [n, 2] in the unit square."""
    centre = 0.5 + 0.2 * rng.normal(size=(num_clusters, 2)).clip(-2, 2)
    xy = 0.5 + 0.15 * rng.normal(size=(len(label), 2)).clip(-3, 3)
    spread = 0.3 / (8 + max(1, num_clusters) ** 0.5)
    inside = label >= 0
    xy[inside] = centre[label[inside]] + spread * rng.normal(size=(int(inside.sum()), 2)).clip(
        -2, 2
    )
    return centre, xy.clip(0, 1)


def made_tokens(rng, label, y, subset, xy):
    """The columns, in random order."""
    order, grid = rng.permutation(len(label)), on_grid(xy)
    return TokenColumns(
        x=grid[order, 0],
        y=grid[order, 1],
        cluster=label[order],
        subset=subset[order],
        token=y[order].astype(np.uint32),
        token_id=order.astype(np.float64),
        loss=rng.gamma(2.0, 1.5, len(label)).astype(np.float32)[order],
    )


def made_clusters(rng, label, y, subset, centre, xy, num_subsets):
    """Columns and regions, counted from the planted tokens."""
    num = len(centre)
    member = np.flatnonzero(label >= 0)
    member = member[np.argsort(label[member], kind="stable")]
    own = label[member]
    size = np.bincount(own, minlength=num).astype(np.uint32)
    counts = np.zeros((num, num_subsets), np.uint32)
    np.add.at(counts, (own, subset[member]), 1)
    top, times = top_of(own, y[member], num)
    shuffled = rng.permutation(len(member))
    shuffled = shuffled[np.argsort(own[shuffled], kind="stable")]
    laid = Laid(
        centre_K2=centre,
        size_K=size,
        cluster_M=own,
        xy_M2=xy[member],
    )
    region, regions = find_regions(laid, MapConfig())
    shown = vocabulary()
    regions = [
        dataclasses.replace(each, name=" ".join(shown[token] for token in made_name(each.id)))
        for each in regions
    ]
    least = np.maximum(size, 1)
    stability = rng.uniform(0, 1, num).astype(np.float32)
    stability[::7] = np.nan
    grid = on_grid(centre)
    examples = first_of_each(member[shuffled].astype(float), own[shuffled], (num, 20), -1)
    central = first_of_each(member.astype(float), own, (num, 5), -1)
    columns = ClusterColumns(
        x=grid[:, 0],
        y=grid[:, 1],
        size=size,
        conductance=rng.uniform(0.02, 0.6, num).astype(np.float32),
        stability=stability,
        repeatability=np.where(np.arange(num) % 5, 0.9, 0.3).astype(np.float32),
        shared_neighbours=(stability / 2).astype(np.float32),
        q_value=np.where(np.isnan(stability), np.nan, 0.004).astype(np.float32),
        holds=(np.arange(num) % 5 > 0).astype(np.float32),
        purity=(counts.max(1, initial=0) / least).astype(np.float32),
        token_purity=(times.max(1, initial=0) / least).astype(np.float32),
        subset=counts.argmax(1).astype(narrow(num_subsets - 1)),
        region=region,
        top_tokens=top,
        top_counts=times,
        neighbours=made_neighbours(centre),
        name_f1=np.linspace(0, 1, num, dtype=np.float32),
        name_precision=np.full(num, 0.75, np.float32),
        name_recall=np.full(num, 0.5, np.float32),
        neighbourhood_f1=np.full(num, 0.25, np.float32),
        examples=examples,
        central=central,
        examples_loss=np.where(examples < 0, np.nan, examples % 7).astype(np.float32),
        central_loss=np.where(central < 0, np.nan, central % 7).astype(np.float32),
        subset_counts=counts,
    )
    return columns, regions


def made_neighbours(centre):
    """The nearest clusters on the map."""
    neighbours = np.full((len(centre), 5), -1, np.int32)
    for cluster in range(min(len(centre), 2000)):  # of more it would take long
        near = np.argsort(((centre - centre[cluster]) ** 2).sum(1))[1:6]
        neighbours[cluster, : len(near)] = near
    return neighbours


def made_name(number):
    """Tokens of a made-up name: a hostile one, then another."""
    return number % len(HOSTILE), len(HOSTILE) + number % 50


def names_of(num):
    """Of the clusters: by rules, from a file, and none."""
    shown = [
        f"“{' '.join(vocabulary()[token] for token in made_name(k))}” in code" for k in range(num)
    ]
    source = [("rule", "file", "")[k % 3 % 3] if k % 4 else "rule" for k in range(num)]
    return {
        "shown": [name if where else "" for name, where in zip(shown, source, strict=True)],
        "source": source,
        "rule": shown,
        "named_by": ["<b>someone</b>" if where == "file" else "" for where in source],
        "neighbourhood": shown,
    }


def top_of(own, y, num):
    """The ten most common y of each cluster, and how often."""
    pairs, times = np.unique(own.astype(np.int64) * NUM_WORDS + y, return_counts=True)
    order = np.lexsort((-times, pairs // NUM_WORDS))
    own, token, times = (pairs // NUM_WORDS)[order], (pairs % NUM_WORDS)[order], times[order]
    top = first_of_each(token.astype(np.int32), own, (num, 10), -1)
    return top, first_of_each(times.astype(np.uint32), own, (num, 10), 0)


def write_made_map(
    folder, num_tokens=20_000, num_clusters=60, seed=0, *, page=True, control_map=None, **overrides
):
    """Write the folder: all data, the page's own files if `page`, map.json last.

    `control_map` is the data of a second map, that of the control.
    """
    folder, data = Path(folder), made_map(num_tokens, num_clusters, seed, **overrides)
    others = ()
    if control_map is not None:
        data = dataclasses.replace(data, control={**data.control, "map": CONTROL_FOLDER})
        others = within(CONTROL_FOLDER, control_map)
    for name, content in (*(page_files() if page else ()), *objects(data), *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "map.json").write_bytes(json_bytes(manifest(data)))
    return data


if __name__ == "__main__":
    write_made_map(sys.argv[1], *(int(text) for text in sys.argv[2:5]))
