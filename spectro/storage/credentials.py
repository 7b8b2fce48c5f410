"""Finds and redacts credentials in configurations, URLs, logs and heartbeats.

Storage takes credentials from the environment; a configuration is written to run.yaml and logs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

USER = r"://[^/\s@:'\"]*:(?!\d+(?:[/\s'\"]|$))[^\s@'\"]+@"
"""`://name:password@`; `://host:9000/a@b` is an address with a port."""
KEYS = (
    r"(?:[a-z0-9_-]*(?:secret|token|password|passwd|signature|credential|apikey|api_key|"
    r"access_key|accesskey|key_id|keyid)[a-z0-9_-]*|key|sig)"
)
QUERY = rf"[?&;]{KEYS}=[^&\s'\"]+"
"""`?…key=…` of a URL."""
SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
)  # fmt: skip
HIDDEN = "***"


def refuse_credentials(value: Any, where: str = "") -> None:
    """Raise ValueError, without quoting it, if a plain value (string, list, mapping) has a
    credential.

    `where` is the value's name, such as `run.uri`.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            refuse_credentials(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            refuse_credentials(item, f"{where}[{index}]")
    elif isinstance(value, str):
        found = _kind(value)
        if found is not None:
            raise ValueError(
                f"{where} carries {found}, and would be written to run.yaml and logs: leave it "
                "out, storage takes credentials from the environment (AWS_ACCESS_KEY_ID, "
                "AWS_PROFILE, ...)"
            )


def redact(text: str) -> str:
    """The text without passwords and keys of URLs and without values of secret variables."""
    text = re.sub(USER, f"://{HIDDEN}@", text)
    text = re.sub(rf"([?&;]{KEYS}=)[^&\s'\"]+", rf"\g<1>{HIDDEN}", text, flags=re.IGNORECASE)
    for name in SECRET_VARIABLES:
        secret = os.environ.get(name, "")
        if len(secret) >= 8:  # shorter values are test values or parts of ordinary words
            text = text.replace(secret, HIDDEN)
    return text


def redacted(value: Any) -> Any:
    """Plain values with `redact` applied to every text."""
    if isinstance(value, Mapping):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _kind(text: str) -> str | None:
    if re.search(USER, text):
        return "a password (://user:password@)"
    if "://" in text and re.search(QUERY, text, flags=re.IGNORECASE):
        return "a key in its query (?...=)"
    return None
