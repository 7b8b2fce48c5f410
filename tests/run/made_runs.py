"""Runs without a model: planted susceptibilities of random sequences, stored as a run does."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spectro.clustering.clusters import Clusters, cluster
from spectro.clustering.config import ClusterConfig
from spectro.clustering.describe import TokenLabels, describe
from spectro.formats import run_dir, tokens
from spectro.formats.clusters.clusters import write_clusters
from spectro.formats.derived_objects import TOKENS
from spectro.formats.halves import halves_table
from spectro.formats.more_tokens import write_more
from spectro.formats.object_kinds import page_names
from spectro.formats.product import ShardRows, put_part, read_product, shard_table
from spectro.storage.store import Store
from spectro.tokens.sequences import Sequences, TokenSplits

CONTEXT = 20
PER_SHARD = 8
COMPONENTS = [f"l0h{h}" for h in range(6)]
CONFIG = ClusterConfig(num_neighbours=10, min_size=8, reach=200)


def text(num: int, seed: int) -> Sequences:
    """Random sequences."""
    rng = np.random.default_rng(seed)
    return Sequences(
        ids_ST1=rng.integers(0, 50, (num, CONTEXT + 1)).astype(np.int32),
        subset_S=np.zeros(num, np.int16),
        subset_names=("text",),
    )


def joined(*parts: Sequences) -> Sequences:
    """One after the other."""
    return Sequences(
        ids_ST1=np.concatenate([part.ids_ST1 for part in parts]),
        subset_S=np.concatenate([part.subset_S for part in parts]),
        subset_names=("text",),
    )


PILES = tuple(y // 5 if y < 20 else -1 for y in range(50))
"""Pile of each y; -1 for the body."""


def planted_chi(
    sequences: Sequences, *, noise_seed: int = 0, piles: Sequence[int] = PILES
) -> np.ndarray:
    """χ by y: piles of some y, any other in the body; a function of the text."""
    target = sequences.ids_ST1[:, 1:].reshape(-1)
    centres = np.random.default_rng(1).normal(size=(max(piles) + 1, len(COMPONENTS))) * 6
    noise = np.concatenate(
        [
            np.random.default_rng([noise_seed, *ids]).normal(size=(CONTEXT, len(COMPONENTS)))
            for ids in sequences.ids_ST1.tolist()
        ]
    )
    pile = np.asarray(piles)[target]
    chi = np.where(pile[:, None] >= 0, centres[pile] + 0.2 * noise, 3 * noise)
    return chi.astype(np.float32)


def make_run(
    folder: Path,
    sequences: Sequences,
    *,
    fingerprint: str = "f",
    noise_seed: int = 0,
    model: str | None = None,
    halves: bool = False,
    piles: Sequence[int] = PILES,
) -> Store:
    """Sequences and rows of a run, without clusters; of the tokenizer at `model` where given."""
    store = Store(str(folder))
    config = {} if model is None else {"model": {"name_or_path": model}}
    run_dir.start(store, config, {"fingerprint": fingerprint})
    splits = TokenSplits(probe=sequences, sampling=text(2, 98), evaluation=text(2, 99))
    tokens.write_tokens(store, splits, vocab_size=50, sequences_per_shard=PER_SHARD)
    put_rows(store, fingerprint=fingerprint, noise_seed=noise_seed, halves=halves, piles=piles)
    return store


def put_rows(
    store: Store,
    *,
    fingerprint: str = "f",
    noise_seed: int = 0,
    halves: bool = False,
    piles: Sequence[int] = PILES,
) -> None:
    """Rows of all shards that have none; halves differ by noise."""
    for shard in range(tokens.read_info(store).splits["probe"].num_shards):
        sequence_id, sequences = tokens.read_shard(store, "probe", shard)
        chi = planted_chi(sequences, noise_seed=noise_seed, piles=piles)
        rows = ShardRows(
            ids_nT1=sequences.ids_ST1,
            sequence_id_n=sequence_id,
            subset_n=sequences.subset_S,
            subset_names=sequences.subset_names,
            values={
                "loss": np.zeros(len(chi)),
                "full_response": np.zeros(len(chi)),
                "chi": chi,
            },
        )
        part = shard_table(rows, COMPONENTS, fingerprint, {})
        apart = 0.5 * np.random.default_rng(shard).normal(size=chi.shape).astype(np.float32)
        pairs = {"chi": (chi + apart, chi - apart)} if halves else {}
        put_part(store, shard, part, {}, halves_table(part, pairs) if halves else None)


def add_tokens(store: Store, sequences: Sequences) -> None:
    """An addition, measured."""
    known = len(tokens.read_info(store).additions)
    write_more(
        store, known + 1, sequences, config={"num_probe_sequences": len(sequences)}, sources={},
        sequences_per_shard=PER_SHARD,
    )  # fmt: skip
    put_rows(store)


def put_clusters(
    store: Store, folder: str = "clusters", *, config: ClusterConfig = CONFIG
) -> Clusters:
    """Cluster all tokens that the run has now."""
    product = read_product(store)
    found = cluster(product.chi_NH, config)
    subset = product.table["subset"].combine_chunks()
    labels = TokenLabels(
        token_id_N=product.column("token_id"),
        token_N=product.column("token"),
        subset_N=np.asarray(subset.indices).astype(np.int16),
        subset_names=tuple(subset.dictionary.to_pylist()),
    )
    told = {
        TOKENS: tokens.read_info(store).probe_sha256,
        "product_fingerprint": product.fingerprint,
    }
    write_clusters(
        store.child(folder).uri, found, describe(found, labels), labels,
        components=COMPONENTS, extra=told,
    )  # fmt: skip
    return found


def page_objects(store: Store, clusters: str = "clusters") -> dict[str, bytes]:
    """The objects that a run's page holds, unpacked."""
    page = store.read(page_names(clusters)[0]).decode()
    found = re.search(r'id="objects">(.*?)</script>', page)
    assert found is not None
    inlined = json.loads(found[1])
    return {name: gzip.decompress(base64.b64decode(data)) for name, data in inlined.items()}
