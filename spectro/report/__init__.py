"""The page: one self-contained HTML file that shows a run (numbers in, text out)."""

from spectro.report.config import ReportConfig
from spectro.report.inputs import Clusters, Columns, Measurement, Probe, ReportInputs
from spectro.report.page import render
from spectro.report.vocabulary import byte_pieces, vocabulary

__all__ = [
    "Clusters",
    "Columns",
    "Measurement",
    "Probe",
    "ReportConfig",
    "ReportInputs",
    "byte_pieces",
    "render",
    "vocabulary",
]
