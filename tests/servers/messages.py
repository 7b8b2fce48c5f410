"""As much of HTTP as the fault proxy needs: one whole request or answer per connection."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request, whole."""

    head: bytes
    """Request line and headers, with the empty line."""
    body: bytes

    @property
    def method(self) -> str:
        """GET, PUT, …"""
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        """Path and query."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def operation(self) -> str:
        """The method, or LIST for the listing of a bucket."""
        parts = urlsplit(self.target)
        in_bucket = len(parts.path.strip("/").split("/")) == 1
        listing = in_bucket and "location" not in parse_qs(parts.query, keep_blank_values=True)
        return "LIST" if self.method == "GET" and listing else self.method


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next request; None if the client has gone. It is told to go on if it waits for that."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    if _header(head, b"expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
    if (_header(head, b"transfer-encoding") or b"").lower() == b"chunked":
        return Request(head, await _chunks(reader))
    length = int(_header(head, b"content-length") or 0)
    return Request(head, await reader.readexactly(length))


def with_closed_connection(message: bytes) -> bytes:
    """The message, saying that its connection ends after it."""
    head, empty, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + empty + body


def of_next_range(message: bytes) -> bytes:
    """An answer that says that its bytes are those after the ones that were asked for."""

    def after(found: re.Match[bytes]) -> bytes:
        start, last = int(found[1]), int(found[2])
        return b"Content-Range: bytes %d-%d/" % (last + 1, 2 * last + 1 - start)

    head, empty, body = message.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^content-range: bytes (\d+)-(\d+)/", after, head)
    return head + empty + body


def of_other_version(message: bytes) -> bytes:
    """An answer with another ETag, and a body of zeros."""
    head, empty, body = message.partition(b"\r\n\r\n")
    return re.sub(rb"(?im)^etag:.*\r$", b'ETag: "other"\r', head) + empty + bytes(len(body))


def answer(status: int, code: str, *, with_body: bool) -> bytes:
    """An error as S3 says it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made</Message></Error>"
    body = text.encode() if with_body else b""
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def _header(head: bytes, name: bytes) -> bytes | None:
    found = re.search(rb"(?im)^" + name + rb":[ \t]*(.*?)[ \t]*\r$", head)
    return found[1] if found else None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it came, framing included."""
    whole = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        whole += line + await reader.readexactly(size + 2)
        if size == 0:
            return whole
