"""The report's stage."""

from __future__ import annotations

from typing import Any

from spectro.formats.object_kinds import PAGE
from spectro.views.page.units import ReportUnit, report_units
from spectro.work.stage import Goal, ObjectKind, PartContents, Stage


def file_of_page(contents: PartContents, name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The page that its marker names."""
    return {name.replace("page.json", "index.html"): content["page"]}


REPORT = Stage(
    name="report",
    goal=Goal.REPORT,
    run={ReportUnit: "spectro.views.page.write:run_report"},
    units=report_units,
    objects=(
        ObjectKind(
            name="page",
            read_marker=file_of_page,
            damaged="delete the folder report/; the run makes it again",
        ),
    ),
    completed_by=rf"{PAGE}/page\.json",
)
