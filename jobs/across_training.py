"""Tables of `spectro across` over training: curves, means of sets, clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.table import Table

from spectro.tokens.display.terminal_text import plain as on_one_line

from .output import NOT_KNOWN, number, plain, table

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.analysis.cluster_lineages import CheckpointFlow, ClustersOverTraining, Lineage
    from spectro.analysis.training_curves import SetsOverTraining, TrainingCurves


def curves_tables(found: TrainingCurves) -> tuple[Table, Table]:
    """A row for each component, a column for each training step."""
    columns = ("component", *(f"{step:,}" for step in found.steps))
    coefficients = [
        (name, *(_with_error(*pair) for pair in zip(values, errors, strict=True)))
        for name, values, errors in zip(
            found.components, found.lambda_hat_SH.T, found.lambda_error_SH.T, strict=True
        )
    ]
    sizes = [
        (name, *(number(value, ".3g") for value in values))
        for name, values in zip(found.components, found.chi_size_SH.T, strict=True)
    ]
    return (
        table("Local learning coefficient by training step, ± one standard error of two halves of "
              "the chains", columns, coefficients, left=("component",)),
        table("Standard deviation of chi over tokens, nats², by training step", columns, sizes,
              left=("component",)),
    )  # fmt: skip


def _with_error(value: float, error: float) -> str:
    return number(value, ".3g") + ("" if math.isnan(error) else f" ± {error:.2g}")


def sets_table(found: SetsOverTraining) -> Table:
    """A row for each set and component, a column for each training step."""
    rows = []
    for row, name in enumerate(found.sets):
        for column, component in enumerate(found.components):
            pairs = zip(
                found.mean_SRH[:, row, column].tolist(),
                found.half_width_SRH[:, row, column].tolist(),
                strict=True,
            )
            rows.append((on_one_line(name), component, *(_mean(*pair) for pair in pairs)))
    columns = ("set", "component", *(f"{step:,}" for step in found.steps))
    return table(
        f"Mean chi by training step, {found.unit}", columns, rows, left=("set", "component"),
        caption="Mean over the set less that over all tokens ± 95 % interval (Student t, over the "
        "sequences that have the set);\nbelow zero the component expresses what the set has more "
        "of.",
    )  # fmt: skip


def _mean(value: float, width: float) -> str:
    if math.isnan(value):
        return NOT_KNOWN
    return f"{value:+.3f}" + ("" if math.isnan(width) else f" ± {width:.3f}")


def flow_tables(found: ClustersOverTraining, max_rows: int) -> tuple[Table, Table]:
    """What becomes of clusters between neighbours, and the largest clusters' lineages."""
    rows = []
    for (before, after), own in zip(pairwise(found.checkpoints), found.flows, strict=True):
        steps = f"{before.step:,} → {after.step:,}"
        for what, counts, compared in (
            (f"{len(before.size_C):,} become", own.flow.num_by_fate, _fates(own)),
            (f"{len(after.size_C):,} are from", own.flow.num_by_origin, _origins(own)),
        ):
            for kind, count in counts.items():
                rows.append((steps, what, kind.value, f"{count:,}", *compared[kind]))
    columns = ("steps", "clusters", "", "number", "by chance", "same y", "other draws")
    left = ("steps", "clusters", "")
    caption = (
        "By chance: the later clusters with their tokens shuffled; same y: among tokens of the "
        "same y; other draws: from one half of the chains to the other at the later checkpoint."
    )
    return (
        table("Clusters over training", columns, rows, left=left, caption=caption),
        _lineage_table(found, max_rows),
    )


def _fates(own: CheckpointFlow) -> dict[str, list[str]]:
    draws = None if own.other_draws is None else own.other_draws.fates
    return _percent(own.chance.fates, own.chance_same_y.fates, draws)


def _origins(own: CheckpointFlow) -> dict[str, list[str]]:
    draws = None if own.other_draws is None else own.other_draws.origins
    return _percent(own.chance.origins, own.chance_same_y.origins, draws)


def _percent(
    first: Mapping[str, float], *others: Mapping[str, float] | None
) -> dict[str, list[str]]:
    """Shares by kind, one cell for each comparison."""
    return {
        kind: [
            NOT_KNOWN if shares is None else number(shares[kind], ".0%")
            for shares in (first, *others)
        ]
        for kind in first
    }


def _lineage_table(found: ClustersOverTraining, max_rows: int) -> Table:
    shown = found.lineages[:max_rows]
    columns = ("cluster", "began", *(f"{own.step:,}" for own in found.checkpoints))
    left_out = len(found.lineages) - len(shown)
    return table(
        "Members of the clusters of the last checkpoint, followed back",
        columns,
        [_lineage_cells(found, own) for own in shown],
        left=("cluster", "began"),
        caption=f"{left_out:,} more in format=json." if left_out else "",
    )


def _lineage_cells(found: ClustersOverTraining, own: Lineage) -> list[str]:
    last = found.checkpoints[own.end]
    name = f"#{own.clusters[-1]} {on_one_line(last.shown_C[own.clusters[-1]])}"
    began = "at the first" if own.origin is None else own.origin.value
    sizes = []
    for index, checkpoint in enumerate(found.checkpoints):
        cluster = own.cluster_at(index)
        sizes.append("" if cluster is None else f"{checkpoint.size_C[cluster]:,}")
    return [name, began, *sizes]


def clusters_as_dict(found: ClustersOverTraining) -> dict[str, Any]:
    """Everything, with the number of clusters by fate and origin; names as on a terminal."""
    result: dict[str, Any] = plain(found)
    for checkpoint in result["checkpoints"]:
        checkpoint["shown_C"] = [on_one_line(name) for name in checkpoint["shown_C"]]
    for own, shown in zip(found.flows, result["flows"], strict=True):
        shown["num_by_fate"] = plain(own.flow.num_by_fate)
        shown["num_by_origin"] = plain(own.flow.num_by_origin)
    return result
