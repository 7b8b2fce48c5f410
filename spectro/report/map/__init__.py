"""The data of the cluster map: arrays in, the files of its folder out (ADR 033, 034)."""

from spectro.report.map.config import MapConfig
from spectro.report.map.folder import (
    CONTROL_FOLDER,
    FORMAT,
    MARKER,
    VOCABULARY,
    ClusterColumns,
    MapData,
    SequenceSource,
    TokenColumns,
    json_bytes,
    manifest,
    objects,
    within,
)
from spectro.report.map.layout import Places, draw, place
from spectro.report.map.page_files import page_files
from spectro.report.map.regions import Laid, Region, find_regions

__all__ = [
    "CONTROL_FOLDER",
    "FORMAT",
    "MARKER",
    "VOCABULARY",
    "ClusterColumns",
    "Laid",
    "MapConfig",
    "MapData",
    "Places",
    "Region",
    "SequenceSource",
    "TokenColumns",
    "draw",
    "find_regions",
    "json_bytes",
    "manifest",
    "objects",
    "page_files",
    "place",
    "within",
]
