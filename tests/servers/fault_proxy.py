"""A proxy in front of an S3 server that makes the faults of bad days, seeded and counted.

    with FaultProxy(server.port, seed=7) as proxy:
        proxy.inject(Fault.SLOW_DOWN, count=3)              # the next three requests
        proxy.inject(Fault.LOST_ANSWER, probability=0.05)   # and some of all that follow
        ... a client whose AWS_ENDPOINT_URL is proxy.endpoint ...
        proxy.made                                          # how many of each were made

Requests pass unchanged, Host included: clients sign for the proxy's address, and servers check the
signature against the Host that they see.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

from tests.servers.messages import (
    Request,
    answer,
    of_next_range,
    of_other_version,
    read_request,
    with_closed_connection,
)
from tests.servers.ports import HOST, free_ports

LISTS_KEPT = 100
"""Answers kept of every listing."""


class Fault(StrEnum):
    """What may happen to a request."""

    SLOW_DOWN = "slow_down"
    """503 SlowDown at once; the server never hears of it."""
    INTERNAL_ERROR = "internal_error"
    """500 InternalError at once."""
    FORBIDDEN = "forbidden"
    """403 AccessDenied at once."""
    HANG = "hang"
    """No answer; the server never hears of it."""
    HANG_LATE = "hang_late"
    """No answer, though the server has done it."""
    CUT = "cut"
    """The connection ends in the middle of the request's body, for the server too."""
    LOST_ANSWER = "lost_answer"
    """The connection ends when the server has done it."""
    TRUNCATED = "truncated"
    """Half of the answer's body, and the end of the connection."""
    STALLED = "stalled"
    """Half of the answer's body, then silence."""
    SLOW = "slow"
    """The whole answer, in `slow_pieces` pieces with `slow_seconds` between them."""
    SLOW_CUT = "slow_cut"
    """The same without the last piece, and the end of the connection."""
    WRONG_RANGE = "wrong_range"
    """An answer that says that its bytes are the next ones."""
    OTHER_VERSION = "other_version"
    """Bytes of an object that was replaced: the answer has another ETag and other bytes."""
    DAMAGED = "damaged"
    """The answer's last byte is another one."""
    STALE_LIST = "stale_list"
    """The answer that the same listing got some time ago."""


OPERATIONS = {
    Fault.CUT: {"PUT"},
    Fault.LOST_ANSWER: {"PUT", "POST", "DELETE"},
    Fault.HANG_LATE: {"PUT", "POST", "DELETE"},
    Fault.TRUNCATED: {"GET", "LIST"},
    Fault.STALLED: {"GET"},
    Fault.SLOW: {"GET"},
    Fault.SLOW_CUT: {"GET"},
    Fault.WRONG_RANGE: {"GET"},
    Fault.OTHER_VERSION: {"GET"},
    Fault.DAMAGED: {"GET"},
    Fault.STALE_LIST: {"LIST"},
}
"""What a fault may happen to, unless it is told."""
REFUSALS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.INTERNAL_ERROR: (500, "InternalError"),
    Fault.FORBIDDEN: (403, "AccessDenied"),
}
ALL = {"PUT", "POST", "DELETE", "GET", "HEAD", "LIST"}


@dataclass(kw_only=True)
class Rule:
    """When a fault is made."""

    fault: Fault
    operations: set[str]
    count: int | None
    """How many more times; None for no end."""
    probability: float
    name: str
    """Part of the request's path."""


@dataclass
class FaultProxy:
    """The proxy, in a thread of its own; use as a context manager."""

    target_port: int
    seed: int = 0
    hang_seconds: float = 3600.0
    """How long a hanging connection is held."""
    slow_pieces: int = 10
    slow_seconds: float = 0.1
    stale_seconds: float = 0.0
    """Least age of a stale list."""
    port: int = field(default_factory=lambda: free_ports(1)[0])
    made: Counter[Fault] = field(default_factory=Counter)
    """Faults made."""
    seen: Counter[str] = field(default_factory=Counter)
    """Requests, by operation."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._lists: dict[str, list[tuple[float, bytes]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def inject(
        self,
        fault: Fault,
        *,
        count: int | None = None,
        probability: float = 1.0,
        operations: set[str] | None = None,
        name: str = "",
    ) -> None:
        """Have a fault made: `count` times, or for ever, of requests that fit."""
        fits = operations or OPERATIONS.get(fault, ALL)
        rule = Rule(fault=fault, operations=fits, count=count, probability=probability, name=name)
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Make no more faults."""
        with self._lock:
            self._rules.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, HOST, self.port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader, writer)
            if request is not None:
                self.seen[request.operation] += 1
                await self._handle(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> None:
        fault = self._chosen(request)
        if fault in REFUSALS:
            writer.write(answer(*REFUSALS[fault], with_body=request.method != "HEAD"))
        elif fault is Fault.HANG:
            await asyncio.sleep(self.hang_seconds)
        elif fault is Fault.CUT:
            await self._forward(request, len(request.body) // 2)
            writer.transport.abort()
        else:
            await self._answer(request, fault, writer)
        if not writer.transport.is_closing():
            await writer.drain()

    async def _answer(
        self, request: Request, fault: Fault | None, writer: asyncio.StreamWriter
    ) -> None:
        whole = await self._forward(request)
        if fault is Fault.HANG_LATE:
            await asyncio.sleep(self.hang_seconds)
        elif fault is Fault.LOST_ANSWER:
            writer.transport.abort()
        elif fault in (Fault.TRUNCATED, Fault.STALLED):
            head, _, body = whole.partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
            if fault is Fault.STALLED:
                await writer.drain()
                await asyncio.sleep(self.hang_seconds)
        elif fault in (Fault.SLOW, Fault.SLOW_CUT):
            piece = -(-len(whole) // self.slow_pieces)
            stop = len(whole) if fault is Fault.SLOW else (self.slow_pieces - 1) * piece
            for start in range(0, stop, piece):
                writer.write(whole[start : start + piece])
                await writer.drain()
                await asyncio.sleep(self.slow_seconds)
        elif fault is Fault.WRONG_RANGE:
            writer.write(of_next_range(whole))
        elif fault is Fault.OTHER_VERSION:
            writer.write(of_other_version(whole))
        elif fault is Fault.DAMAGED:
            writer.write(whole[:-1] + bytes([whole[-1] ^ 1]))
        elif request.operation == "LIST":
            writer.write(self._listed(request, whole, stale=fault is Fault.STALE_LIST))
        else:
            writer.write(whole)

    def _listed(self, request: Request, whole: bytes, *, stale: bool) -> bytes:
        """The answer, or an old one; a listing is known by what it asks for."""
        now, kept = time.monotonic(), self._lists.setdefault(request.target, [])
        old = [found for when, found in kept if now - when >= self.stale_seconds]
        kept.append((now, whole))
        del kept[:-LISTS_KEPT]
        if stale and old:
            return self._random.choice(old)
        return whole

    async def _forward(self, request: Request, only_bytes: int | None = None) -> bytes:
        """The server's whole answer; nothing if only a part of the body is sent."""
        reader, writer = await asyncio.open_connection(HOST, self.target_port)
        try:
            writer.write(with_closed_connection(request.head))
            writer.write(request.body[:only_bytes])
            await writer.drain()
            if only_bytes is not None:
                writer.transport.abort()
                return b""
            return with_closed_connection(await reader.read())
        finally:
            writer.close()

    def _chosen(self, request: Request) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                fits = request.operation in rule.operations and rule.name in request.target
                if not fits or rule.count == 0 or self._random.random() >= rule.probability:
                    continue
                if rule.count is not None:
                    rule.count -= 1
                self.made[rule.fault] += 1
                return rule.fault
        return None
