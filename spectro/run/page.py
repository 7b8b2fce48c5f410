"""The page of a run: everything it shows, read from storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

from spectro.models.load import ModelConfig, load_tokenizer
from spectro.report import (
    Clusters,
    Columns,
    Measurement,
    Probe,
    ReportInputs,
    byte_pieces,
    render,
)
from spectro.run.config import CONTROL, PipelineConfig
from spectro.storage import run_dir, tokens
from spectro.storage.clusters import StoredClusters, read_clusters
from spectro.storage.fs import Store
from spectro.storage.product import read_product

PAGE = "report/index.html"


def write_page(
    root: Store, config: PipelineConfig, on_progress: Callable[[float, float], None]
) -> None:
    """Put the page."""
    inputs = _inputs(root, config)
    on_progress(0.2, 1.0)
    root.put(PAGE, render(inputs, config.report).encode())


def vocabulary(model: ModelConfig, size: int) -> list[bytes | None]:
    """Bytes of each token id; None where the tokenizer has no such id."""
    tokenizer = load_tokenizer(model)
    known = min(size, len(tokenizer))
    pieces = list(tokenizer.convert_ids_to_tokens(list(range(known))))
    return byte_pieces([*pieces, *[None] * (size - known)], set(tokenizer.get_added_vocab()))


def _inputs(root: Store, config: PipelineConfig) -> ReportInputs:
    product = read_product(root)
    found = read_clusters(f"{root.uri}/clusters")
    probe = _probe(root)
    control = root.child(CONTROL) if config.control else None
    return ReportInputs(
        title=root.uri.rsplit("/", 1)[-1],
        facts=_facts(config, product.chi_NH.shape, len(probe.ids_ST1), found),
        provenance=yaml.safe_dump(
            yaml.safe_load(root.read(run_dir.NAME)), sort_keys=False, allow_unicode=True
        ),
        vocabulary=vocabulary(config.model, tokens.read_info(root).vocab_size),
        probe=probe,
        token_id_N=product.column("token_id"),
        loss_N=product.column("loss"),
        points_ND=found.transform.apply(product.chi_NH),
        real=_measurement(root, found),
        control=None
        if control is None
        else _measurement(control, read_clusters(f"{control.uri}/clusters")),
    )


def _probe(root: Store) -> Probe:
    parts = [
        tokens.read_shard(root, "probe", shard)
        for shard in range(tokens.read_info(root).splits["probe"].num_shards)
    ]
    return Probe(
        sequence_id_S=np.concatenate([ids for ids, _ in parts]),
        ids_ST1=np.concatenate([s.ids_ST1 for _, s in parts]),
        subset_S=np.concatenate([s.subset_S for _, s in parts]),
        subset_names=parts[0][1].subset_names,
    )


def _measurement(store: Store, found: StoredClusters) -> Measurement:
    summary = json.loads(store.read("susceptibilities/summary.json"))
    table = found.clusters.to_pydict()
    members = found.members
    num_clusters = found.clusters.num_rows
    width = len(summary["components"])
    return Measurement(
        columns=Columns(
            components=tuple(summary["components"]),
            reliability_H=_floats(summary["reliability"]),
            standard_error_H=_floats(summary["standard_error"]),
            mean_phi_H=_floats(summary["mean_phi"]),
        ),
        clusters=Clusters(
            cluster_id_K=np.array(table["cluster_id"], dtype=np.int32),
            size_K=np.array(table["size"], dtype=np.int32),
            conductance_K=np.array(table["conductance"], dtype=np.float64),
            purity_K=np.array(table["purity"], dtype=np.float32),
            mean_chi_KH=np.array(table["mean_chi"], dtype=np.float32).reshape(-1, width),
            top_tokens_K=tuple(
                tuple(zip(top, counts, strict=True))
                for top, counts in zip(table["top_tokens"], table["top_counts"], strict=True)
            ),
            subset_counts_KP=np.array(table["subset_counts"], dtype=np.int32).reshape(
                num_clusters, -1
            ),
            member_token_id_M=np.asarray(members["token_id"]),
            member_cluster_id_M=np.asarray(members["cluster_id"]),
        ),
    )


def _facts(
    config: PipelineConfig, shape: tuple[int, ...], num_sequences: int, found: StoredClusters
) -> tuple[tuple[str, str], ...]:
    """What the header says: label and value."""
    chain, sampler = config.chain, config.sampler
    drawn = f"{chain.num_chains} chains × {chain.num_draws} draws"
    statistics: dict[str, Any] = found.provenance
    return (
        ("model", config.model.name_or_path),
        ("tokens", f"{shape[0]:,} in {num_sequences:,} sequences"),
        ("components", str(shape[1])),
        ("sampler", f"{type(sampler).__name__.lower()}, γ {sampler.gamma:g}, nβ {sampler.nbeta:g}"),
        ("draws", f"{drawn}, {chain.steps_between_draws} steps between"),
        ("estimator", str(config.estimator.kind)),
        ("clusters", f"{statistics['num_clusters']:,}"),
        ("clustered", f"{statistics['num_clustered_tokens']:,} tokens"),
    )


def _floats(values: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
