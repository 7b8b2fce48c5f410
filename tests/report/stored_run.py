"""A made-up run in storage, as the stages write it."""

import made_up_run
import numpy as np

from spectro.clustering.clusters import Clusters
from spectro.clustering.config import ClusterConfig
from spectro.clustering.describe import TokenLabels, describe
from spectro.clustering.holds import HalvesEvidence
from spectro.clustering.vectors.preprocess import fit_transform
from spectro.formats import product, run_dir
from spectro.formats.clusters.clusters import write_clusters
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.tokens import write_tokens
from spectro.storage.checksummed_json import seal
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.tokens.sequences import Sequences, TokenSplits
from spectro.views.page.config import ReportConfig
from spectro.views.page.write import read_data
from spectro.views.run_view import RunView

CONFIG = {
    "model": {"name_or_path": "embedded", "revision": None},
    "tokens": {"subsets": {name: {} for name in made_up_run.SUBSETS}},
    "sampler": {"kind": "exponential", "gamma": 300.0, "nbeta": 30.0, "step_size": 0.001},
    "chain": {"num_chains": 4, "num_draws": 20},
    "estimator": {"kind": "two_chain"},
    "seed": 7,
}
FEW = ReportConfig(max_points=30)  # so few are placed without UMAP
PER_SHARD = 5


def write_run(folder, what, config=None):
    """The folder of a run in which a made-up run was measured."""
    store = Store(str(folder))
    probe = what.probe
    sequences = Sequences(
        ids_ST1=probe.ids_ST1, subset_S=probe.subset_S, subset_names=probe.subset_names
    )
    splits = TokenSplits(sampling=sequences, evaluation=sequences, probe=sequences)
    run_dir.start(store, CONFIG, {"seed": 7})
    write_tokens(store, splits, vocab_size=len(what.pieces), sequences_per_shard=PER_SHARD)
    for part, (columns, label) in zip(("", "control"), what.sides(), strict=False):
        own = store.child(part)
        if part:
            run_dir.start(own, CONFIG, {"seed": 7})
        write_measurement(own, what, columns)
        write_found(own, what, columns, label, config=config or ClusterConfig())
    return store


def write_measurement(store, what, columns):
    probe, names = what.probe, columns.components
    context = probe.ids_ST1.shape[1] - 1
    for shard, start in enumerate(range(0, len(probe.ids_ST1), PER_SHARD)):
        part = slice(start, start + PER_SHARD)
        tokens = slice(start * context, (start + PER_SHARD) * context)
        rows = product.ShardRows(
            ids_nT1=probe.ids_ST1[part],
            sequence_id_n=probe.sequence_id_S[part],
            subset_n=probe.subset_S[part],
            subset_names=probe.subset_names,
            values={
                "loss": what.loss_N[tokens],
                "full_response": what.loss_N[tokens],
                "chi": what.chi_NH[tokens],
            },
        )
        product.put_part(store, shard, product.shard_table(rows, names, "abc", {}), {})
    summary = {
        "components": list(names),
        "reliability": [None, *columns.reliability_H[1:].tolist()],
        "standard_error": columns.standard_error_H.tolist(),
        "mean_phi": columns.mean_phi_H.tolist(),
    }
    store.put(SUMMARY_NAME, seal(summary))


def write_found(store, what, columns, label, folder="clusters", config=None, mean_phi_H=None):
    context = what.probe.ids_ST1.shape[1] - 1
    labels = TokenLabels(
        token_id_N=np.arange(len(label)),
        token_N=what.probe.ids_ST1[:, 1:].reshape(-1),
        subset_N=np.repeat(what.probe.subset_S, context),
        subset_names=what.probe.subset_names,
    )
    found = planted(what, label, columns, config or ClusterConfig(), mean_phi_H)
    known = what.stability_K[: len(found)]
    stability = np.nan_to_num(known).astype(np.float32)
    halves = HalvesEvidence(
        stability_C=stability, shared_neighbours_C=stability / 2, q_value_C=stability / 4,
        shared_of_all=0.1, shared_by_chance=0.01,
    ) if np.isfinite(known).any() else None  # fmt: skip
    write_clusters(
        store.child(folder).uri, found, describe(found, labels), labels,
        components=columns.components, halves=halves,
    )  # fmt: skip


def planted(what, label, columns, config, mean_phi_H=None):
    """Clusters of the labels; with E[φ], of χ without E[φ]·B (the rows' B are their losses)."""
    rows = tuple(np.flatnonzero(label == k).astype(np.int32) for k in range(label.max() + 1))
    chi = what.chi_NH
    transform = fit_transform(
        chi, config, reliability_H=columns.reliability_H, names=columns.components,
        mean_phi_H=mean_phi_H, response_N=what.loss_N,
    )  # fmt: skip
    x = transform.apply(chi, what.loss_N)
    means = [x[r].mean(axis=0) for r in rows]
    chis = [transform.standardise(chi, what.loss_N)[r].mean(axis=0) for r in rows]
    return Clusters(
        config=config,
        transform=transform,
        num_tokens=len(chi),
        members=rows,
        scores=tuple(np.ones(len(r), np.float32) for r in rows),
        repeatability_C=np.full(len(rows), 0.75, np.float32),
        conductance_C=what.conductance_K[: len(rows)],
        seed_C=np.array([r[0] for r in rows], np.int32),
        centroid_CD=np.array(means, np.float32).reshape(-1, x.shape[1]),
        mean_chi_CH=np.array(chis, np.float32).reshape(-1, chi.shape[1]),
        statistics={"num_tokens": len(chi)},
    )


def data_of(store, what, config=FEW, folder="clusters"):
    """What the one-file viewer has of the run."""
    known = Vocabulary(pieces=what.pieces)
    return read_data(RunView(f"{store.uri}/{folder}"), config, known)
