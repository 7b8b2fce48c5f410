"""Errors raised by unreadable content."""

from __future__ import annotations

import pyarrow as pa

UNREADABLE = (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError, ValueError, AttributeError)
"""What reading a Parquet file of other bytes may raise."""
