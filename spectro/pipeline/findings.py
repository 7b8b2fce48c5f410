"""What a finished run is shown by in experiment trackers: numbers and small pictures.

Of summaries and tables alone: χ of a large run is not read again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from spectro.extras import missing_extra
from spectro.views.figures.config import FigureConfig, Kind
from spectro.views.page.read_columns import read_columns
from spectro.views.page.read_ledger import NOT_THERE
from spectro.views.run_view import RunView

logger = logging.getLogger(__name__)
PICTURES = (Kind.RELIABILITY, Kind.RHAT, Kind.CONTROL, Kind.CLUSTERS)


def findings(uri: str) -> Iterable[tuple[str, bytes] | dict[str, float]]:
    """Numbers, then pictures as (name, PNG); nothing of a run that has no susceptibilities yet."""
    try:
        view = RunView(uri)
    except ValueError:
        return
    yield numbers(view)
    for kind in PICTURES:
        try:
            yield kind.value, _png(view, kind)
        except NOT_THERE as error:
            logger.info("no picture %s for the trackers: %s", kind.value, error)
        except ModuleNotFoundError as error:
            if (missing := missing_extra(error)) is None:
                raise
            logger.warning("no pictures for the trackers: %s", missing)
            return


def numbers(view: RunView) -> dict[str, float]:
    """Tokens, median reliabilities, clusters and how many of them hold."""
    found = {"result/tokens": float(view.num_tokens)}
    if view.is_complete:
        columns = read_columns(view.store, view.components, view.interval)
        for name, values_H in (
            ("reliability", columns.reliability_H),
            ("centred_reliability", columns.centred_reliability_H),
        ):
            if values_H is not None and np.isfinite(values_H).any():
                found[f"result/median_{name}"] = float(np.nanmedian(values_H))
    if view.has_clusters:
        provenance = view.clusters.provenance
        found["result/clusters"] = float(provenance["num_clusters"])
        if provenance.get("num_that_hold") is not None:
            found["result/clusters_that_hold"] = float(provenance["num_that_hold"])
    return found


def _png(view: RunView, kind: Kind) -> bytes:
    from spectro.views.drawing.save import to_bytes  # matplotlib
    from spectro.views.figures.figures import drawn

    figure, theme = drawn(view, FigureConfig(kind=kind))
    return to_bytes(figure, ".png", theme)
