"""From the run's numbers to the page's data, and the page (ADR 031, 048).

Shapes: n tokens drawn, H components, K clusters.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spectro.analysis.known_kinds import LEAST_MEMBERS, KnownKinds
from spectro.views.page.cards import cards, ids_shown, matched, number, numbers, rows, summary
from spectro.views.page.config import ReportConfig
from spectro.views.page.html import assemble
from spectro.views.page.inputs import Floats, MeasurementSummary, PageColumns, Points, ReportInputs
from spectro.views.page.ledger import Ledger

logger = logging.getLogger(__name__)

_GRID = 4095  # positions on the map are whole numbers up to this
_STYLES = ("common/base.css", "page.css", "report.css")
_SCRIPTS = (
    "common/dom.js",
    "common/text.js",
    "common/query.js",
    "common/marks.js",
    "common/profile.js",
    "common/theme.js",
    "state.js",
    "rows.js",
    "address.js",
    "header.js",
    "filters.js",
    "view.js",
    "map.js",
    "table.js",
    "cards.js",
    "columns.js",
    "found.js",
    "control.js",
    "ledger.js",
    "main.js",
)


def render(inputs: ReportInputs, config: ReportConfig) -> str:
    """The page as one HTML text; the same inputs give the same bytes.

    Raises ValueError if parts of the inputs do not belong together.
    """
    title = config.title or inputs.title
    data = page_data(inputs, config) | {"title": title}
    page = assemble(title, data, template="page.html", styles=_STYLES, scripts=_SCRIPTS)
    logger.info("page of %d clusters: %.1f MB", len(inputs.real.clusters), len(page) / 1e6)
    return page


def page_data(inputs: ReportInputs, config: ReportConfig) -> dict[str, Any]:
    """Everything the scripts draw, as plain JSON types."""
    real = _side(inputs, inputs.real, config)
    control: dict[str, Any] | None = None
    points = _points(inputs.points, len(real["cards"]))
    shown = [points["token"], *real["rows"]["tops"], *ids_shown(real["cards"])]
    if inputs.control is not None:
        control = _side(inputs, inputs.control, config)
        shown += [*control["rows"]["tops"], *ids_shown(control["cards"])]
    return {
        "facts": [list(fact) for fact in inputs.facts],
        "provenance": inputs.provenance,
        "ledger": _ledger(inputs.ledger),
        "grid": _GRID,
        "subsets": list(inputs.probe.subset_names),
        "numTokens": inputs.num_tokens,
        "points": points,
        **real,
        "control": control,
        "matches": matched(inputs),
        "found": [_found(kind) for kind in inputs.found],
        "recognised": _recognised(inputs),
        "pieces": _pieces(inputs, shown),
    }


def _side(inputs: ReportInputs, side: MeasurementSummary, config: ReportConfig) -> dict[str, Any]:
    """What is told of the run, and of its control, in the same form."""
    return {
        "summary": summary(side),
        "rows": rows(side.clusters, config),
        "cards": cards(inputs, side, config),
        "columns": page_columns(side.columns),
    }


def _points(points: Points, num_cards: int) -> dict[str, list[Any]]:
    """Tokens drawn, and the places of the clusters that have cards."""
    grid_n2 = np.rint(points.xy_n2 * _GRID).astype(int)
    return {
        "x": grid_n2[:, 0].tolist(),
        "y": grid_n2[:, 1].tolist(),
        "cluster": points.cluster_n.tolist(),
        "subset": points.subset_n.tolist(),
        "token": points.token_n.tolist(),
        "at": [[number(v, 0) for v in xy * _GRID] for xy in points.centre_K2[:num_cards]],
    }


def page_columns(columns: PageColumns) -> dict[str, Any]:
    """What is known of every column of a side."""
    return {
        "components": list(columns.components),
        "reliability": numbers(columns.reliability_H, 3),
        "centred": numbers(columns.centred_reliability_H, 3),
        "halfWidth": numbers(_half_width(columns), None),
        "interval": columns.interval.words,
        "meanPhi": numbers(columns.mean_phi_H, None),
        "threshold": columns.threshold,
        "leftOut": list(columns.left_out),
        "vectors": list(columns.vectors),
        "warnings": list(columns.warnings),
    }


def _recognised(inputs: ReportInputs) -> dict[str, Any] | None:
    """Median over judged clusters of the share of the commonest y or kind, whichever is larger.

    Judged are those with enough members in the sample (found.py); None where none is.
    """
    if inputs.kind_K is None or not np.isfinite(inputs.kind_K).any():
        return None
    judged_K = np.isfinite(inputs.kind_K)
    of_one_K = np.fmax(inputs.kind_K, inputs.real.clusters.token_purity_K)[judged_K]
    return {
        "share": number(float(np.median(of_one_K)), 3),
        "judged": int(judged_K.sum()),
        "least": LEAST_MEMBERS,
    }


def _found(kind: KnownKinds) -> dict[str, Any]:
    return {
        "name": kind.name,
        "meaning": kind.meaning,
        "tokens": kind.num_tokens,
        "auc": number(kind.auc, 3),
        "aucOfLoss": number(kind.auc_of_loss, 3),
        "components": [[name, number(auc, 3)] for name, auc in kind.components],
        "clusters": [[cluster, number(share, 3)] for cluster, share in kind.clusters],
        "numClusters": kind.num_clusters,
        "held": number(kind.held, 3),
    }


def _half_width(columns: PageColumns) -> Floats | None:
    """Half width of the interval of χ, [H]; None where nothing of it is known."""
    if columns.standard_error_H is None:
        return None
    return columns.interval.half_width(columns.standard_error_H)


def _ledger(ledger: Ledger) -> dict[str, Any]:
    return {
        "facts": [list(fact) for fact in ledger.facts],
        "stages": [
            [s.part, s.stage, s.num_units, s.planned_flops, s.done_flops]
            + [None if s.seconds is None else number(s.seconds, None)]
            for s in ledger.stages
        ],
        "missing": list(ledger.missing),
    }


def _pieces(inputs: ReportInputs, groups: Iterable[Iterable[int]]) -> Mapping[str, str]:
    """How each token id that is shown is written."""
    shown = sorted({token for group in groups for token in group})
    return {str(token): inputs.vocabulary.show(token) for token in shown}
