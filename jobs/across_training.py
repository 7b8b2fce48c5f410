"""Tables of `spectro across` over training: curves, means of sets, clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.table import Table

from spectro.tokens.display.terminal_text import plain as on_one_line

from .output import NOT_KNOWN, number, plain, table

if TYPE_CHECKING:  # loads scipy and numba
    from spectro.analysis.cluster_lineages import CheckpointFlow, ClustersOverTraining, Lineage
    from spectro.analysis.training_curves import SetsOverTraining, TrainingCurves

Shares = Mapping[str, float]


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
        table("Local learning coefficient by training step, ± one standard error (jackknife over "
              "chains)", columns, coefficients, left=("component",)),
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
        "sequences that have the set);\nbelow zero the component expresses the set, above it "
        "suppresses it.",
    )  # fmt: skip


def _mean(value: float, width: float) -> str:
    if math.isnan(value):
        return NOT_KNOWN
    return f"{value:+.3f}" + ("" if math.isnan(width) else f" ± {width:.3f}")


def flow_tables(found: ClustersOverTraining, max_rows: int) -> tuple[Table, Table]:
    """Fates and origins of clusters between neighbours, and the largest clusters' lineages."""
    from spectro.analysis.cluster_flow import Fate, Origin  # loads scipy

    rows = []
    for (before, after), own in zip(pairwise(found.checkpoints), found.flows, strict=True):
        steps, compared = f"{before.step:,} → {after.step:,}", _compared(own)
        fates = [_number(own.flow.num_by_fate[kind], kind, compared[0]) for kind in Fate]
        origins = [_number(own.flow.num_by_origin[kind], kind, compared[1]) for kind in Origin]
        rows.append((steps, f"{len(before.size_C):,} earlier", *fates, ""))
        rows.append((steps, f"{len(after.size_C):,} later", *origins[:-1], "", origins[-1]))
    columns = ("steps", "clusters", *Fate, Origin.BORN)
    caption = (
        "In brackets the share of the clusters; the same with the later clusters' tokens shuffled "
        "/ shuffled among tokens\nof the same y / between two halves of the chains of one "
        "checkpoint, that of the two with the larger changes."
    )
    return (
        table("Clusters over training", columns, rows, left=("steps", "clusters"), caption=caption),
        _lineage_table(found, max_rows),
    )


def _compared(own: CheckpointFlow) -> tuple[list[Shares], list[Shares]]:
    """Shares by fate and by origin: measured, shuffled, shuffled within y, other draws."""
    counts = (own.measured, own.chance, own.chance_same_y, own.other_draws)
    return (
        [{} if each is None else {k.value: x for k, x in each.fates.items()} for each in counts],
        [{} if each is None else {k.value: x for k, x in each.origins.items()} for each in counts],
    )


def _number(count: int, kind: str, compared: Sequence[Shares]) -> str:
    measured, *others = (number(shares.get(kind), ".0%") for shares in compared)
    return f"{count:,} ({measured}; {' / '.join(others)})"


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
        shown["measured"] = plain(own.measured)
        shown["num_by_fate"] = plain(own.flow.num_by_fate)
        shown["num_by_origin"] = plain(own.flow.num_by_origin)
    return result
