"""The page: one self-contained HTML file that shows a run (numbers in, text out)."""

from spectro.report.config import ReportConfig
from spectro.report.inputs import (
    Clusters,
    Columns,
    Examples,
    Measurement,
    Points,
    Probe,
    ReportInputs,
)
from spectro.report.ledger import Ledger, StageCost
from spectro.report.page import render

__all__ = [
    "Clusters",
    "Columns",
    "Examples",
    "Ledger",
    "Measurement",
    "Points",
    "Probe",
    "ReportConfig",
    "ReportInputs",
    "StageCost",
    "render",
]
