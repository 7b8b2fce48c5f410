"""How the chains of a run went: what is stored of them, judged (`analysis/chain_diagnosis.py`).

Reads the markers of the draw bank, the summary, the moments of the token shards that are measured,
and the names of their columns: no rows, no draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from spectro.analysis.chain_diagnosis import Diagnosis, diagnose
from spectro.analysis.chain_traces import Settings, traces_of
from spectro.formats.chain_names import chains_among, pilot_name
from spectro.formats.chain_records import read_pilot, read_record
from spectro.formats.product import SUMMARY_NAME
from spectro.models.components import FULL
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import TokenDraws
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.storage.checksummed_json import with_nan
from spectro.susceptibility.reliability import ColumnMoments, reliability
from spectro.views.columns import column_moments_of, matching
from spectro.views.run_view import RunView


def diagnose_run(view: RunView, patterns: Sequence[str] = ("*",)) -> list[Diagnosis]:
    """A diagnosis of every component that a pattern (`l0*`, `embed`) names, in their order.

    Chains that have not finished are left out; the unrestricted chains (`full`) come last.

    Raises ValueError where no chain is stored, or a pattern names none.
    """
    stored = stored_chains(view)
    known = [name for name in view.components if name in stored]
    known += [name for name in stored if name not in known]
    chosen: set[int] = set()
    for pattern in patterns:
        named = matching(known, pattern)
        if not named:
            raise ValueError(
                f"diagnose.components: {pattern!r} names nothing; {view.uri} has chains of "
                f"{', '.join(known[:8])}{', …' if len(known) > 8 else ''}"
            )
        chosen.update(named)
    wanted = [known[index] for index in sorted(chosen)]
    columns, settings = _columns(view), settings_of(view)
    pilots: dict[str, dict[str, PosteriorMoments]] = {}
    found = []
    for name in wanted:
        group, chains = stored[name]
        if group not in pilots:
            there = view.store.exists(pilot_name(group))
            pilots[group] = read_pilot(view.store, group) if there else {}
        column = columns.get(name, {}) | {"num_sets": _num_sets(view, len(chains))}
        own = traces_of(name, chains, pilots[group].get(name), column)
        found.append(diagnose(own, settings))
    return found


def stored_chains(view: RunView) -> dict[str, tuple[str, dict[int, ComponentChain]]]:
    """Component → its group and finished chains by number, also those whose draws were removed.

    Raises ValueError where there is none.
    """
    view.require_draws()
    found: dict[str, tuple[str, dict[int, ComponentChain]]] = {}
    chains = chains_among(view.store.list("chains"))
    for group, chain in sorted(key for key, objects in chains.items() if objects.done):
        record = read_record(view.store, group, chain, or_dropped=True)
        for name, own in record.components.items():
            found.setdefault(name, (group, {}))[1][chain] = own
    if not found:
        raise ValueError(
            f"{view.uri} has no finished chains: expected chains/<group>/<chain>.json; were they "
            "removed, or is this a copy of the rows alone?"
        )
    full = {name: found.pop(name) for name in [FULL.name] if name in found}
    return found | full


def settings_of(view: RunView) -> Settings:
    """Settings of the run; NaN and 0 for what its file does not say."""
    chain, sampler = view.config.get("chain", {}), view.config.get("sampler", {})
    return Settings(
        num_draws=chain.get("num_draws", 0),
        num_burnin_steps=chain.get("num_burnin_steps", 0),
        gamma=sampler.get("gamma", math.nan),
        nbeta=sampler.get("nbeta", 0.0),
        step_size=sampler.get("step_size", math.nan),
    )


def _num_sets(view: RunView, num_chains: int) -> int:
    """Token shards that so many finished chains are of; 1 where all shards share them."""
    if view.config.get("chain", {}).get("draws") != TokenDraws.PER_SHARD:
        return 1
    return max(1, num_chains // (view.num_chains or 1))


def _columns(view: RunView) -> dict[str, dict[str, Any]]:
    """What is known of every column over the tokens that are measured, as fields of the traces.

    Row-centred reliability is the summary's, over all tokens; there is none before that is made.
    """
    summary = with_nan(view.summary) if view.store.exists(SUMMARY_NAME) else {}
    unknown = [math.nan] * len(view.components)
    centred = summary.get("centred_reliability", unknown)
    merged = column_moments_of(view)
    return {
        name: {"centred_reliability": centred[index], **_halves(merged.get(name))}
        for index, name in enumerate(view.components)
    }


def _halves(column: ColumnMoments | None) -> dict[str, Any]:
    """How the halves of every split of the chains agree, over all tokens; their mean."""
    if column is None:
        return {}
    aa, bb, ab = column.half_products_P3.T
    with np.errstate(invalid="ignore", divide="ignore"):
        splits = tuple((ab / np.sqrt(aa * bb)).tolist())
    return {"reliability": reliability(column), "split_reliability": splits}
