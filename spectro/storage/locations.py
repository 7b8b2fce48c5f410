"""Normalises a path or URI as given by a user to one absolute location.

A text that begins with `scheme://` is a URI; everything else is a local path, taken literally but
for `~`, `.`, `..` and repeated or trailing slashes. Two spellings of one folder give the same
location.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from spectro.storage.credentials import redact, refuse_credentials

URI = r"[A-Za-z][A-Za-z0-9+.-]*://"
LOCAL_SCHEMES = ("file", "local")
REMOTE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
"""Storage that outlives a process and has an exclusive create: S3 by our client, Google's and
Azure's by gcsfs and adlfs."""
TOO_FEW_SLASHES = r"[A-Za-z0-9+.-]+:/(?!/)|(?:s3|file):(?!//)"
CHAIN = rf"[A-Za-z][A-Za-z0-9+.-]*::{URI}"
"""`simplecache::s3://…`: chained filesystems of fsspec."""


def resolve_location(text: str, setting: str = "run.uri", *, recorded: bool = True) -> str:
    """Absolute local path, or URI; idempotent.

    Relative paths start at the current folder; `~` and `~name` are home folders at the beginning
    only; `..` after a link is the folder above the link's target. `file://` URIs are paths with
    percent codes. Of other URIs only trailing slashes are removed.

    Args:
        text: path or URI.
        setting: its name in messages.
        recorded: whether the location is written to files, and so must be UTF-8.

    Raises ValueError, in one line, for an empty text, bytes that are not UTF-8, credentials, a
    scheme without `//` or of no durable storage, chained URLs of fsspec, and an unknown user's
    home.
    """
    found = _resolve(text, setting, recorded=recorded)
    scheme = _scheme(found)
    if scheme and scheme not in REMOTE_SCHEMES:
        remote = ", ".join(f"{known}://" for known in REMOTE_SCHEMES)
        raise ValueError(
            f"{setting} {redact(text)!r} is a {scheme}:// URI, which is not durable storage "
            f"that can be written to: expected a path of this machine, file://, or one of {remote}"
        )
    return found


def _resolve(text: str, setting: str, *, recorded: bool) -> str:
    """`resolve_location` without the check of the scheme."""
    _refuse(text, setting, recorded=recorded)
    if re.match(URI, text) is None:
        return _absolute(_from_home(text, setting))
    scheme, _, rest = text.partition("://")
    if scheme.lower() in LOCAL_SCHEMES:
        return _absolute(_of_file_uri(rest, text, setting))
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def is_uri(text: str) -> bool:
    """Whether a location is not a local path."""
    return re.match(URI, text) is not None


def _scheme(found: str) -> str:
    return found.partition("://")[0] if is_uri(found) else ""


def local_path(text: str, setting: str, *, recorded: bool = True) -> str:
    """`resolve_location` for a setting that must be a local path; ValueError for a URI."""
    found = _resolve(text, setting, recorded=recorded)
    if scheme := _scheme(found):
        raise ValueError(f"{setting}: expected a path of this machine, found a {scheme}:// URI")
    return found


def path_or_url(text: str, setting: str, *, recorded: bool = True) -> str:
    """`resolve_location` for what is read or replaced whole: URLs of any protocol of fsspec."""
    return _resolve(text, setting, recorded=recorded)


def path_or_name(text: str, setting: str, names: tuple[str, ...] = ()) -> str:
    """Absolute path of a local file or folder, a URL, or a name unchanged.

    A path begins as one (`/`, `./`, `../`, `~`, `file://`) or exists; `names` are never paths.
    Errors as `path_or_url`.
    """
    if text in names or not text:
        return text
    if is_uri(text):
        return path_or_url(text, setting)
    begins_as_path = re.match(r"/|~|\.{1,2}(?:/|$)|(?:file|local):", text, re.IGNORECASE)
    return resolve_location(text, setting) if begins_as_path or os.path.exists(text) else text


def _refuse(text: str, setting: str, *, recorded: bool) -> None:
    refuse_credentials(text, setting)
    if not text.strip():
        raise ValueError(f"{setting} is empty: give a folder or a URI such as s3://bucket/run")
    if recorded and re.search("[\ud800-\udfff]", text):
        shown = text.encode(errors="backslashreplace").decode()
        raise ValueError(
            f"{setting} {shown} has bytes that are not UTF-8, or that the shell's locale (LC_ALL) "
            "does not have: rename the folder, or choose a locale of UTF-8"
        )
    if "\0" in text:
        raise ValueError(f"{setting} has a NUL character, which no path can have")
    if re.match(TOO_FEW_SLASHES, text):
        raise ValueError(
            f"{setting} {redact(text)!r} has one slash after its scheme: expected two; "
            "./ before it is a folder of that name"
        )
    is_s3 = text[:5].lower() == "s3://"
    if re.match(CHAIN, text) or ("::" in text and is_uri(text) and not is_s3):
        raise ValueError(
            f"{setting} {redact(text)!r} chains filesystems (::), which a run cannot be in: give "
            "the folder or the URI itself"
        )


def _from_home(path: str, setting: str) -> str:
    if not path.startswith("~"):
        return path
    found = os.path.expanduser(path)
    if found.startswith("~"):
        name = path.partition("/")[0]
        raise ValueError(
            f"{setting} {path!r}: no home folder is known for {name!r}; ./{name} is a folder of "
            "that name"
        )
    return found


def _of_file_uri(rest: str, text: str, setting: str) -> str:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise ValueError(
            f"{setting} {text!r} names the machine {host!r}: expected file:///path, with three "
            "slashes"
        )
    return f"/{unquote(path, errors='surrogateescape')}"


def _absolute(path: str) -> str:
    whole = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    found = ""
    for part in whole.split("/"):
        if part == "..":
            found = os.path.dirname(os.path.realpath(found) if os.path.islink(found) else found)
            found = found.rstrip("/")
        elif part not in ("", "."):
            found = f"{found}/{part}"
    return found or "/"
