"""Retries with jittered exponential backoff.

The pause before attempt k + 1 is uniform in [½, 1] · min(longest, first · 2^k), so that workers
which a server slows down do not return at the same moment. The time after which a call gives up is
counted from the last byte that arrived (`Arrivals`), so that a slow transfer is no failure.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class StorageUnavailableError(OSError):
    """The retry policy is exhausted."""


class TransientError(Exception):
    """A failure worth a retry; its text is the reason, in a few words without secrets."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Pauses between attempts, and when to give up."""

    first_seconds: float = 0.25
    """Longest pause after the first failure."""
    longest_seconds: float = 20.0
    """Upper limit of every pause."""
    total_seconds: float = 150.0
    """No attempt begins so long after the call began or its last byte arrived; about eleven fit
    in."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return longest * (0.5 + 0.5 * secrets.randbelow(1_000_001) / 1_000_000)


class Arrivals:
    """When the last new byte of a transfer arrived; at first, when the transfer began."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self._num_bytes = 0

    def note(self, num_bytes: int) -> None:
        """Record that so many bytes have arrived; bytes that arrive once more do not count."""
        if num_bytes > self._num_bytes:
            self.last, self._num_bytes = time.monotonic(), num_bytes


def call_with_retries(
    call: Callable[[], T], what: str, policy: RetryPolicy, arrivals: Arrivals | None = None
) -> T:
    """Call until it raises no TransientError; returns its result.

    Args:
        call: idempotent, or able to recognise the effect of its own earlier attempts.
        what: operation and object, for the log and the error.
        policy: pauses and total time.
        arrivals: noted by `call`; None: a call whose answer comes at once or not at all.

    Raises StorageUnavailableError once the policy is exhausted; other errors of the call at once.
    """
    arrivals, failures = arrivals or Arrivals(), 0
    while True:
        try:
            return call()
        except TransientError as error:
            failures += 1
            pause, spent = policy.pause(failures), time.monotonic() - arrivals.last
            if spent + pause > policy.total_seconds:
                raise StorageUnavailableError(
                    f"{what}: expected an answer, found {error} at the last of {failures} attempts,"
                    f" {spent:.0f} s without a byte: is the storage up, and reachable from here?"
                ) from None
            log.warning("%s: %s at attempt %d; retry in %.1f s", what, error, failures, pause)
            time.sleep(pause)
