"""A folder over HTTP on this machine alone: browsers read no data files from a disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from spectro.storage.content_types import OTHER, TYPES

HOST = "127.0.0.1"
_OWN_NAMES = re.compile(rf"({re.escape(HOST)}|localhost)(:\d+)?", re.IGNORECASE)
"""Hosts that are answered; browsers leave the port out where it is 80."""


@contextmanager
def served(folder: Path | str, port: int = 0) -> Iterator[str]:
    """Serve a folder until the block ends; gives its address. Port 0 takes any that is free.

    Raises OSError, in one line, where the port is taken.
    """
    handler = partial(_Handler, directory=str(folder))
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise OSError(
            f"port {port} of {HOST} cannot be had ({error.strerror}): give another, or serve=0 for "
            "any that is free"
        ) from error
    thread = Thread(target=server.serve_forever, name="map-server", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Files of the folder, to those alone who ask this machine by its own name."""

    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        **TYPES,
        ".bin": OTHER,
    }

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Refuse requests that another site made by giving this address its own name."""
        if not _OWN_NAMES.fullmatch(self.headers.get("Host", "")):
            self.send_error(403, "this server answers to 127.0.0.1 and localhost")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """A map that is made again is seen at once."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is said of requests."""
