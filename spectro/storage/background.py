"""A background thread for writes: uploads overlap with computation, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

MAX_PENDING = 2
"""Length of the queue beyond which `submit` blocks: a slow storage must not fill the memory."""


class BackgroundWriter:
    """Runs calls in order in one thread; a context manager.

    The next `submit`, or the exit, raises the error of a failed call. No call runs after a failed
    one: it may depend on what was not written.
    """

    def __init__(self) -> None:
        self._failed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._pending: deque[Future[Any]] = deque()

    def submit(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Queue a call; blocks while too many are pending."""
        while self._pending and (self._pending[0].done() or len(self._pending) >= MAX_PENDING):
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._run, call, *arguments))

    def drain(self) -> None:
        """Wait for all calls; raises the error of a failed one."""
        while self._pending:
            self._pending.popleft().result()

    def _run(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.drain()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)
