"""Doing it again: jittered exponential backoff, bounded, and told of.

Pauses before attempt k + 1 are uniform in [½, 1] · min(longest, first · 2^k): many workers that are
told to slow down together do not come back together.
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
    """The storage did not answer as it should, however often it was asked."""


class TransientError(Exception):
    """Something that may pass: the text says what, in a few words without secrets."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to go on."""

    first_seconds: float = 0.25
    """Longest pause after the first failure."""
    longest_seconds: float = 20.0
    """Longest pause of all."""
    total_seconds: float = 150.0
    """After this time no further attempt is begun; eleven or so fit in."""

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return longest * (0.5 + 0.5 * secrets.randbelow(1_000_001) / 1_000_000)


def persist(call: Callable[[], T], what: str, patience: RetryPolicy) -> T:
    """What the call returns, called again while it raises TransientError.

    Args:
        call: idempotent, or able to tell its own earlier work from another's.
        what: the operation and its object, for the log and the error.
        patience: how long.

    Raises:
        StorageUnavailableError: patience is at its end; whatever else the call raises, at once.
    """
    start, failures = time.monotonic(), 0
    while True:
        try:
            return call()
        except TransientError as error:
            failures += 1
            pause, spent = patience.pause(failures), time.monotonic() - start
            if spent + pause > patience.total_seconds:
                raise StorageUnavailableError(
                    f"{what}: expected an answer, found {error} at the last of {failures} attempts "
                    f"in {spent:.0f} s: is the storage up, and reachable from here?"
                ) from None
            log.warning("%s: %s at attempt %d; again in %.1f s", what, error, failures, pause)
            time.sleep(pause)
