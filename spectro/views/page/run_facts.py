"""The facts of a run that every view shows beside its title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectro.formats.clusters.clusters import StoredClusters
from spectro.sampling.config import TokenDraws
from spectro.views.page.read_columns import ColumnSummary


def run_facts(
    config: Mapping[str, Any],
    fingerprint: str,
    num_tokens: int,
    num_subsets: int,
    columns: ColumnSummary,
    stored: StoredClusters,
) -> tuple[tuple[str, str], ...]:
    """The header's facts; what the configuration does not say is left out.

    Subsets are those of the tokens: additions may have brought some that it does not name.
    """
    model, chain = config.get("model", {}), config.get("chain", {})
    revision, gguf_file = model.get("revision"), model.get("gguf_file")
    known = {
        "Model": f"{model.get('name_or_path', '')}{f' @ {revision}' if revision else ''}",
        "Weights": f"dequantised from {gguf_file}" if gguf_file else "",
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
    per_shard = (
        ", drawn anew for each token shard" if chain.get("draws") == TokenDraws.PER_SHARD else ""
    )
    return f"{chain.get('num_chains')} × {chain.get('num_draws')} draws{per_shard}"


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
