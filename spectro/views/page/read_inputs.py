"""What the page shows, read from a place: what is asked for, never all of χ.

Of the tokens only a sample and those on cards are read, χ shard by shard; the control is the folder
of clusters of the same name in `control/`, which measured the same tokens.
Shapes: K clusters, M members, n tokens drawn, s tokens shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.analysis.known_kinds import KnownKinds, commonest_kind, find
from spectro.analysis.patterns import Traits
from spectro.clustering.matching import BestMatches, Clustering, best_matches
from spectro.clustering.vectors.vector_reliability import report_lines
from spectro.formats.clusters.clusters import PROVENANCE, StoredClusters, read_clusters
from spectro.formats.parts import CONTROL
from spectro.formats.product import SUMMARY_NAME
from spectro.formats.run_dir import NAME
from spectro.sampling.config import TokenDraws
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.interval import Interval
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.cluster_tables import (
    array,
    floats,
    how_it_holds,
    matrix,
    members,
    ragged,
    subset_counts,
)
from spectro.views.page.cluster_examples import examples
from spectro.views.page.config import ReportConfig
from spectro.views.page.inputs import (
    MeasurementSummary,
    PageClusters,
    PageColumns,
    Points,
    Probe,
    ReportInputs,
)
from spectro.views.page.known_kinds_sample import found_sample
from spectro.views.page.ledger import Ledger
from spectro.views.page.sampled_map import sampled_map
from spectro.views.run_view import RunView

NUM_TOP_TOKENS, NUM_NEIGHBOURS = 10, 5


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A measurement, and the members of its clusters."""

    told: MeasurementSummary
    stored: StoredClusters
    token_id_M: npt.NDArray[np.int64]
    cluster_M: npt.NDArray[np.integer]


def read_report_inputs(
    view: RunView,
    vocabulary: Vocabulary,
    config: ReportConfig,
    ledger: Ledger | None = None,
) -> ReportInputs:
    """Everything that `spectro.views.page.render` needs.

    Args:
        view: of a run with clusters, all of its tokens measured.
        vocabulary: how token ids are shown.
        config: how much is shown.
        ledger: what the run's records say; None: nothing.

    Raises ValueError where parts are missing or belong to different runs, FileNotFoundError
    where a stage has not finished.
    """
    _check_components(view)
    names = view.subset_names
    real = _side(
        view.store, view.clusters, members(view), names, config, config.max_cards, view.interval
    )
    control = _control(view, config)
    drawn = sampled_map(view, config)
    shown_s = _shown([real, control])
    probe = _probe(view, np.concatenate([drawn.token_id_n, shown_s]))
    row_n, position_n = probe.locate(drawn.token_id_n)
    file, columns = view.file, real.told.columns
    found, kind_K = _found(view, vocabulary)
    return ReportInputs(
        title=view.title,
        facts=run_facts(
            file.config,
            file.fingerprint,
            view.num_tokens,
            len(view.subset_names),
            columns,
            view.clusters,
        ),
        provenance=view.store.read(NAME).decode("utf-8"),
        ledger=ledger or Ledger(),
        vocabulary=vocabulary,
        num_tokens=view.num_tokens,
        probe=probe,
        shown_token_id_s=shown_s,
        shown_loss_s=array(view.labels_of(shown_s, ["loss"])["loss"]),
        points=Points(
            xy_n2=drawn.xy_n2,
            cluster_n=drawn.cluster_n,
            subset_n=probe.subset_S[row_n],
            token_n=probe.ids_ST1[row_n, position_n + 1],
            centre_K2=drawn.centre_K2,
        ),
        found=found,
        kind_K=kind_K,
        real=real.told,
        control=None if control is None else control.told,
        matches=None if control is None else matches(real, control),
    )


def _found(
    view: RunView, vocabulary: Vocabulary
) -> tuple[tuple[KnownKinds, ...], npt.NDArray[np.floating] | None]:
    """What is found of the kinds of token that a reader knows; nothing without a tokenizer."""
    if vocabulary.pieces is None:
        return (), None
    sample, traits = found_sample(view), Traits.of(vocabulary.pieces)
    return find(sample, traits), commonest_kind(sample, traits, view.clusters.clusters.num_rows)


def _side(
    store: Store,
    stored: StoredClusters,
    members_M: tuple[npt.NDArray[np.int64], npt.NDArray[np.integer]],
    subset_names: Sequence[str],
    config: ReportConfig,
    num_cards: int,
    interval: Interval,
) -> _Side:
    components: Sequence[str] = stored.provenance["components"]
    threshold = stored.provenance.get("config", {}).get("min_reliability")
    kept = set(stored.transform.kept_K.tolist())
    columns = replace(
        read_columns(store, components, interval),
        threshold=threshold,
        left_out=tuple(name for h, name in enumerate(components) if h not in kept),
        vectors=report_lines(stored.transform, components),
    )
    clusters = _clusters(stored, subset_names, members_M, config, num_cards)
    return _Side(
        told=MeasurementSummary(columns=columns, clusters=clusters),
        stored=stored,
        token_id_M=members_M[0],
        cluster_M=members_M[1],
    )


def _control(view: RunView, config: ReportConfig) -> _Side | None:
    """None unless the control has been measured and clustered under the same name."""
    store = view.store.child(CONTROL)
    if not (store.exists(SUMMARY_NAME) and store.exists(f"{view.folder}/{PROVENANCE}")):
        return None
    stored = read_clusters(store.child(view.folder).uri)
    members_M = array(stored.members["token_id"]), array(stored.members["cluster_id"])
    num_cards, names = config.max_control_cards, view.subset_names
    return _side(store, stored, members_M, names, config, num_cards, view.interval)


def matches(real: _Side, control: _Side) -> BestMatches:
    """Of each cluster the control's most alike; counted among members, whatever the run's size."""
    both_M = np.concatenate([real.token_id_M, control.token_id_M])
    token_id, row_M = np.unique(both_M, return_inverse=True)
    rows = row_M[: real.token_id_M.size], row_M[real.token_id_M.size :]
    found = [
        Clustering.of_pairs(side.cluster_M, row, side.stored.clusters.num_rows, token_id.size)
        for side, row in zip((real, control), rows, strict=True)
    ]
    return best_matches(*found)


def _check_components(view: RunView) -> None:
    """Raise ValueError if the clusters are not of the product's columns."""
    found = view.clusters.provenance["components"]
    if list(found) != list(view.components):
        raise ValueError(
            f"{view.uri}/{view.folder} is of {len(found)} components, expected the "
            f"{len(view.components)} of the product, in their order: were the clusters found in "
            "another run?"
        )


def _shown(sides: Sequence[_Side | None]) -> npt.NDArray[np.int64]:
    """Tokens on the cards of all sides, ascending."""
    ids = [
        token_ids
        for side in sides
        if side is not None
        for each in side.told.clusters.examples_E
        for token_ids in (each.random, each.central)
    ]
    return np.unique(np.concatenate([np.empty(0, np.int64), *ids])).astype(np.int64)


def _probe(view: RunView, token_id_s: npt.NDArray[np.int64]) -> Probe:
    """The sequences of some tokens."""
    sequence_id = np.unique(token_id_s // view.context)
    ids_ST1, subset_S = view.sequences(sequence_id)
    return Probe(
        sequence_id_S=sequence_id,
        ids_ST1=ids_ST1,
        subset_S=subset_S,
        subset_names=view.subset_names,
    )


def read_columns(store: Store, components: Sequence[str], interval: Interval) -> PageColumns:
    """What is known of every column of one part of a run; ValueError for other components.

    `interval` is that of the run's χ (`RunView.interval`).
    """
    summary = read_sealed(store, SUMMARY_NAME)
    if list(summary["components"]) != list(components):
        raise ValueError(
            f"{store.uri}/{SUMMARY_NAME} has {len(summary['components'])} components, expected the "
            f"{len(components)} of the product, in their order: was it made by another run?"
        )

    def optional(name: str) -> npt.NDArray[np.float64] | None:
        values = summary.get(name)
        return None if values is None else _floats(values)

    return PageColumns(
        components=tuple(components),
        reliability_H=_floats(summary["reliability"]),
        centred_reliability_H=optional("centred_reliability"),
        standard_error_H=optional("standard_error"),
        interval=interval,
        mean_phi_H=optional("mean_phi"),
        warnings=tuple(summary.get("warnings", ())),
    )


def _floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """JSON's null is NaN."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _clusters(
    stored: StoredClusters,
    subset_names: Sequence[str],
    members_M: tuple[npt.NDArray[np.int64], npt.NDArray[np.integer]],
    config: ReportConfig,
    num_cards: int,
) -> PageClusters:
    table = stored.clusters
    return PageClusters(
        size_K=array(table["size"]),
        conductance_K=floats(table["conductance"]),
        **{f"{name}_K": values for name, values in how_it_holds(table).items()},
        purity_K=floats(table["purity"]),
        token_purity_K=floats(table["token_purity"]),
        mean_chi_KH=matrix(table["mean_chi"], len(stored.provenance["components"])),
        top_tokens_KT=ragged(table["top_tokens"], NUM_TOP_TOKENS, np.int32, -1),
        top_counts_KT=ragged(table["top_counts"], NUM_TOP_TOKENS, np.int32, 0),
        subset_counts_KP=subset_counts(table, subset_names).astype(np.int64),
        neighbours_KM=ragged(table["neighbours"], NUM_NEIGHBOURS, np.int32, -1),
        num_clustered=int(np.unique(members_M[0]).size),
        examples_E=examples(
            *members_M,
            range(min(num_cards, table.num_rows)),
            num_random=config.contexts_per_cluster,
            num_central=config.num_central,
            seed=config.seed,
        ),
    )


def run_facts(
    config: Mapping[str, Any],
    fingerprint: str,
    num_tokens: int,
    num_subsets: int,
    columns: PageColumns,
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
        "Chains": _chains(chain),
        "Estimator": _settings(config.get("estimator", {}), first="kind"),
        "Clustering": _clustering(stored.provenance.get("config", {})),
        "Seed": str(config.get("seed", "")),
        "Median reliability": f"{np.nanmedian(columns.reliability_H):.2f}"
        if np.isfinite(columns.reliability_H).any()
        else "",
        "Fingerprint": fingerprint[:16],
    }
    return tuple((name, value) for name, value in known.items() if value)


def _chains(chain: Mapping[str, Any]) -> str:
    if not chain:
        return ""
    whose = ", of each token shard's own" if chain.get("draws") == TokenDraws.PER_SHARD else ""
    return f"{chain.get('num_chains')} × {chain.get('num_draws')} draws{whose}"


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
