"""HTTP content types by file extension; browsers refuse scripts of another type."""

from __future__ import annotations

from pathlib import PurePosixPath

OTHER = "application/octet-stream"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".yaml": "application/yaml",
    ".parquet": "application/vnd.apache.parquet",
}


def content_type(name: str) -> str:
    """Content type of an object or file; `OTHER` for an unknown extension."""
    return TYPES.get(PurePosixPath(name).suffix, OTHER)
