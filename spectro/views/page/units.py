"""The report's unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spectro.cluster_stage.units import ClusterUnit
from spectro.formats.object_kinds import page_names
from spectro.work.stage import RunPlan
from spectro.work.units import Unit


@dataclass(frozen=True, kw_only=True)
class ReportUnit(Unit):
    """The page of one folder of clusters."""

    stage: ClassVar[str] = "report"
    needs_model: ClassVar[bool] = False
    probe_sha256: str = ""
    """Of the tokens that it is made from; what is of others is stale."""
    clusters: str = "clusters"
    """Folder of the clusters that it shows."""

    @property
    def names(self) -> tuple[str, ...]:
        """See `Unit`."""
        return page_names(self.clusters)


def report_units(plan: RunPlan) -> list[Unit]:
    """The one page of a run."""
    return [
        ReportUnit(
            probe_sha256=plan.tokens.probe_sha256,
            clusters=plan.config.run.clusters,
            needs=tuple(plan.of_type(ClusterUnit)),
        )
    ]
