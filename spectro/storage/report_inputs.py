"""What the page shows, read from a run's folder.

Reads run.yaml, tokens/, susceptibilities/, clusters/ and, where there is one, the control's
susceptibilities/summary.json and clusters/ in control/. The control measured the same tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectro.cluster.preprocess import Transform
from spectro.report.inputs import Clusters, Columns, Measurement, Probe, ReportInputs
from spectro.storage.clusters import PROVENANCE, StoredClusters, read_clusters
from spectro.storage.fs import Store
from spectro.storage.product import SUMMARY_NAME, iterate_product
from spectro.storage.run_dir import NAME, require
from spectro.storage.sealed import read_sealed
from spectro.storage.tokens import read_split

CONTROL = "control"


def read_report_inputs(store: Store, vocabulary: Sequence[bytes | None]) -> ReportInputs:
    """Everything that `spectro.report.render` needs.

    Raises ValueError where parts are missing or belong to different runs, FileNotFoundError
    where a stage has not finished.
    """
    run = require(store)
    stored = read_clusters(store.child("clusters").uri)
    measured = _read_measured(store, stored.transform)
    sequences = read_split(store, "probe")
    probe = Probe(
        sequence_id_S=np.arange(len(sequences.ids_ST1)),
        ids_ST1=sequences.ids_ST1,
        subset_S=sequences.subset_S,
        subset_names=sequences.subset_names,
    )
    order_N = np.argsort(measured.token_id_N, kind="stable")
    columns = read_columns(store, measured.components)
    return ReportInputs(
        title=store.uri.rsplit("/", 1)[-1],
        facts=run_facts(
            run.config, run.fingerprint, len(order_N), len(probe.subset_names), columns, stored
        ),
        provenance=store.read(NAME).decode("utf-8"),
        vocabulary=vocabulary,
        probe=probe,
        token_id_N=measured.token_id_N[order_N],
        loss_N=measured.loss_N[order_N],
        points_ND=measured.points_ND[order_N],
        real=Measurement(columns=columns, clusters=_clusters(stored, probe)),
        control=_control(store, probe),
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What the page takes from the product."""

    components: tuple[str, ...]
    token_id_N: np.ndarray[Any, np.dtype[np.int64]]
    loss_N: np.ndarray[Any, np.dtype[np.float32]]
    points_ND: np.ndarray[Any, np.dtype[np.float32]]


def _read_measured(store: Store, transform: Transform) -> _Measured:
    """The product shard by shard: of χ only the coordinates are kept, one shard is held."""
    components: tuple[str, ...] = ()
    token_id, loss, points = [], [], []
    for shard in iterate_product(store, labels=("token_id", "loss")):
        components = shard.components
        token_id.append(shard.column("token_id"))
        loss.append(shard.column("loss"))
        points.append(transform.apply(shard.chi_NH))
    return _Measured(
        components=components,
        token_id_N=np.concatenate(token_id),
        loss_N=np.concatenate(loss),
        points_ND=np.concatenate(points),
    )


def _control(store: Store, probe: Probe) -> Measurement | None:
    """None unless the control has been measured and clustered."""
    child = store.child(CONTROL)
    if not (child.exists(SUMMARY_NAME) and child.exists(f"clusters/{PROVENANCE}")):
        return None
    stored = read_clusters(child.child("clusters").uri)
    return Measurement(
        columns=read_columns(child, stored.provenance["components"]),
        clusters=_clusters(stored, probe),
    )


def read_columns(store: Store, components: Sequence[str]) -> Columns:
    """What is known of every column of one part of a run; ValueError for other components."""
    summary = read_sealed(store, SUMMARY_NAME)
    if list(summary["components"]) != list(components):
        raise ValueError(
            f"{store.uri}/{SUMMARY_NAME} has {len(summary['components'])} components, expected the "
            f"{len(components)} of the product, in their order: was it made by another run?"
        )

    def optional(name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        values = summary.get(name)
        return None if values is None else _floats(values)

    return Columns(
        components=tuple(components),
        reliability_H=_floats(summary["reliability"]),
        centred_reliability_H=optional("centred_reliability"),
        standard_error_H=optional("standard_error"),
        mean_phi_H=optional("mean_phi"),
    )


def _floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """JSON's null is NaN."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _clusters(stored: StoredClusters, probe: Probe) -> Clusters:
    table, members = stored.clusters, stored.members

    def column(name: str) -> np.ndarray[Any, np.dtype[Any]]:
        return np.asarray(table[name].combine_chunks())

    tops = zip(table["top_tokens"].to_pylist(), table["top_counts"].to_pylist(), strict=True)
    counts = [
        [dict(zip(names, numbers, strict=True)).get(name, 0) for name in probe.subset_names]
        for names, numbers in zip(
            table["subset_names"].to_pylist(), table["subset_counts"].to_pylist(), strict=True
        )
    ]
    width = len(stored.provenance["components"])
    return Clusters(
        cluster_id_K=column("cluster_id"),
        size_K=column("size"),
        conductance_K=column("conductance"),
        purity_K=column("purity"),
        mean_chi_KH=np.array(table["mean_chi"].to_pylist(), np.float32).reshape(-1, width),
        top_tokens_K=tuple(tuple(zip(*pair, strict=True)) for pair in tops),
        subset_counts_KP=np.array(counts, np.int64).reshape(-1, len(probe.subset_names)),
        member_token_id_M=np.asarray(members["token_id"].combine_chunks()),
        member_cluster_id_M=np.asarray(members["cluster_id"].combine_chunks()),
        neighbours_K=tuple(tuple(ids) for ids in table["neighbours"].to_pylist()),
    )


def run_facts(
    config: Mapping[str, Any],
    fingerprint: str,
    num_tokens: int,
    num_subsets: int,
    columns: Columns,
    stored: StoredClusters,
) -> tuple[tuple[str, str], ...]:
    """The header's facts; what the configuration does not say is left out.

    Subsets are those of the tokens: additions may have brought some that it does not name.
    """
    model, chain = config.get("model", {}), config.get("chain", {})
    revision = model.get("revision")
    known = {
        "Model": f"{model.get('name_or_path', '')}{f' @ {revision}' if revision else ''}",
        "Tokens": f"{num_tokens:,} in {num_subsets} {'subset' if num_subsets == 1 else 'subsets'}",
        "Components": f"{len(columns.components)}",
        "Sampler": _settings(config.get("sampler", {}), first="kind"),
        "Chains": f"{chain.get('num_chains')} × {chain.get('num_draws')} draws" if chain else "",
        "Estimator": _settings(config.get("estimator", {}), first="kind"),
        "Clustering": _clustering(stored.provenance.get("config", {})),
        "Seed": str(config.get("seed", "")),
        "Median reliability": f"{np.nanmedian(columns.reliability_H):.2f}"
        if np.isfinite(columns.reliability_H).any()
        else "",
        "Fingerprint": fingerprint[:16],
    }
    return tuple((name, value) for name, value in known.items() if value)


def _clustering(config: Mapping[str, Any]) -> str:
    if not config:
        return ""
    neighbours = f"{config['num_neighbours']} neighbours"
    return f"{config['preprocess']}, {neighbours}, α{_EQUALS}{config['alpha']:g}"


_EQUALS = "\u00a0=\u00a0"  # a symbol and its number stay on one line
_SYMBOLS = {"gamma": "γ", "nbeta": "nβ", "step_size": "ε"}


def _settings(settings: Mapping[str, Any], *, first: str) -> str:
    """`exponential, γ = 300, nβ = 30, ε = 0.001`: the kind and what has a symbol."""
    words = [str(settings[first]).replace("_", "-")] if first in settings else []
    words += [f"{_SYMBOLS[k]}{_EQUALS}{v:g}" for k, v in settings.items() if k in _SYMBOLS]
    return ", ".join(words)
