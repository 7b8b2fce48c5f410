"""What objects are called over HTTP, by the ends of their names.

Browsers run no script of another type, and machines differ in what they guess from a name.
"""

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
    """Of an object or a file; `OTHER` where its name says nothing."""
    return TYPES.get(PurePosixPath(name).suffix, OTHER)
