"""How a path or a URI that somebody gives becomes the one name of its place.

A text that begins with `scheme://` is a URI, and every other is a path of this machine, taken as
it was typed but for `~`, `.`, `..`, doubled and trailing slashes: `#`, `=`, `%`, `::`, quotes,
spaces, brackets and letters of any kind mean nothing here, and é in one code point or in two are
different names, as on a Linux disk. So two spellings of one folder are the same run, and two
folders never are.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from spectro.storage.credentials import redact, refuse_credentials

URI = r"[A-Za-z][A-Za-z0-9+.-]*://"
LOCAL_SCHEMES = ("file", "local")
REMOTE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
"""Storage that outlives a process and has an exclusive create: Amazon's by our own client,
Google's and Azure's by gcsfs and adlfs."""
TOO_FEW_SLASHES = r"[A-Za-z0-9+.-]+:/(?!/)|(?:s3|file):(?!//)"
CHAIN = rf"[A-Za-z][A-Za-z0-9+.-]*::{URI}"
"""`simplecache::s3://…`: a filesystem of fsspec over another."""


def place(text: str, setting: str = "run.uri", *, recorded: bool = True) -> str:
    """Absolute local path, or URI, of what was given; a place of a place is the same.

    Relative paths are those of the current folder. `~` and `~name` are home folders, only at the
    beginning. `..` after a link leads to the folder above the link's target, as the system has
    it. `file://` URIs are paths with percent codes. Of other URIs only slashes at the end go: the
    keys of S3 are any text.

    Args:
        text: what was given.
        setting: its name in messages.
        recorded: whether the place is written down, and so must be UTF-8.

    Raises ValueError, in one line, for an empty text, bytes that are no UTF-8, credentials, a
    scheme without `//`, schemes of no storage that a run can be written to, chained URLs of fsspec,
    and the home of an unknown user.
    """
    found = _place(text, setting, recorded=recorded)
    scheme = _scheme(found)
    if scheme and scheme not in REMOTE_SCHEMES:
        remote = ", ".join(f"{known}://" for known in REMOTE_SCHEMES)
        raise ValueError(
            f"{setting} {redact(text)!r} is a {scheme}:// URI, which is no storage that can be "
            f"written to and lasts: expected a path of this machine, file://, or one of {remote}"
        )
    return found


def _place(text: str, setting: str, *, recorded: bool) -> str:
    """`place`, of whatever scheme."""
    _refuse(text, setting, recorded=recorded)
    if re.match(URI, text) is None:
        return _absolute(_from_home(text, setting))
    scheme, _, rest = text.partition("://")
    if scheme.lower() in LOCAL_SCHEMES:
        return _absolute(_of_file_uri(rest, text, setting))
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def is_uri(text: str) -> bool:
    """Whether a place is none of this machine's paths."""
    return re.match(URI, text) is not None


def _scheme(found: str) -> str:
    """Of a place, empty for a path of this machine."""
    return found.partition("://")[0] if is_uri(found) else ""


def local_path(text: str, setting: str, *, recorded: bool = True) -> str:
    """`place` of a setting that can only be a path of this machine; ValueError for a URI."""
    found = _place(text, setting, recorded=recorded)
    if scheme := _scheme(found):
        raise ValueError(f"{setting}: expected a path of this machine, found a {scheme}:// URI")
    return found


def path_or_name(text: str, setting: str, names: tuple[str, ...] = ()) -> str:
    """The absolute path of a local file or folder, or a name as it is.

    A path is what begins as one (`/`, `./`, `../`, `~`, `file://`) or is there; `names` are names
    whatever is there. Errors as `place`.
    """
    if text in names or not text:
        return text
    begins_as_path = re.match(r"/|~|\.{1,2}(?:/|$)|(?:file|local):", text, re.IGNORECASE)
    return place(text, setting) if begins_as_path or os.path.exists(text) else text


def _refuse(text: str, setting: str, *, recorded: bool) -> None:
    refuse_credentials(text, setting)
    if not text.strip():
        raise ValueError(f"{setting} is empty: give a folder or a URI such as s3://bucket/run")
    if recorded and re.search("[\ud800-\udfff]", text):
        shown = text.encode(errors="backslashreplace").decode()
        raise ValueError(
            f"{setting} {shown} has bytes that are no UTF-8, or that the shell's locale (LC_ALL) "
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
            f"{setting} {redact(text)!r} chains filesystems (::), which a run cannot lie in: give "
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
