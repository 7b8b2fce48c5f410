"""The botocore client for S3, one per process, configured by the environment alone.

Endpoint (AWS_ENDPOINT_URL), credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, web identity, container
and instance roles), region and certificates are those of every AWS tool.
SPECTRO_S3_TIMEOUT_SECONDS is the read timeout (default 30).
"""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import datetime
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

TIMEOUT_VARIABLE = "SPECTRO_S3_TIMEOUT_SECONDS"
TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 10.0
CONNECTIONS = 32
"""Connection pool: more than `CONCURRENT_READS` + `MAX_WRITES`."""

_lock = threading.Lock()
_clients: dict[tuple[int, str], Any] = {}


def client() -> Any:
    """The client of this process and environment; thread-safe.

    Raises ValueError if the environment's endpoint or timeout cannot be read.
    """
    key = os.getpid(), environment_digest()
    with _lock:
        if key not in _clients:
            _clients.clear()
            _clients[key] = _new()
        return _clients[key]


def bucket_and_key(path: str) -> dict[str, str]:
    """Arguments of a request for the object at `bucket/key`."""
    bucket, _, key = path.partition("/")
    return {"Bucket": bucket, "Key": key}


def environment_digest() -> str:
    """Digest of the variables that a client depends on: no secret is kept as a key."""
    names = sorted(
        name
        for name in os.environ
        if name.startswith("AWS_") or name == TIMEOUT_VARIABLE or name.lower().endswith("_proxy")
    )
    return hashlib.sha256(repr([(n, os.environ[n]) for n in names]).encode()).hexdigest()


def _new() -> Any:
    session = botocore.session.get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_timestamp)  # halves the time of a long listing
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=timeout_seconds(),
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": 1},
        tcp_keepalive=True,
    )
    try:
        return session.create_client("s3", region_name=region or "us-east-1", config=config)
    except ValueError as error:
        if "endpoint" not in str(error).lower():
            raise
        raise ValueError(
            "the S3 endpoint of the environment (AWS_ENDPOINT_URL or the profile's endpoint_url) "
            "is no URL: expected something like https://host:port"
        ) from None


def _timestamp(text: Any) -> datetime:
    """Fast path for ISO 8601 timestamps."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):  # headers use another format
        found: datetime = parse_timestamp(text)
        return found


def timeout_seconds() -> float:
    """How long a silent connection is waited for; raises ValueError for a wrong setting."""
    text = os.environ.get(TIMEOUT_VARIABLE, str(TIMEOUT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise ValueError(f"{TIMEOUT_VARIABLE}: expected a positive number, found {text!r}")
    return seconds
