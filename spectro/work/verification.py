"""Errors by which verification knows content that cannot be read."""

from __future__ import annotations

import pyarrow as pa

UNREADABLE = (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError, ValueError, AttributeError)
"""What reading a Parquet file of other bytes may raise."""
