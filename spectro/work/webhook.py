"""Reports to a URL by POST how a run ends, and that no worker comes (`run.webhook`).

The body is one JSON object: run, event, line, time, units_done, units_left, gpu_hours, cost. A
receiver that is away must not end a run: what cannot be delivered is logged, without the URL's
path, which of some services is the secret.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from spectro.formats.gpu_time import gpu_time
from spectro.formats.sessions import Heartbeat
from spectro.storage.credentials import redact, redacted
from spectro.work.progress import clock

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10.0
"""How long an answer is waited for, each time."""
ATTEMPTS = 2
NO_WORKER_SECONDS = 3600.0
"""Without a worker for so long the event `no_worker` is sent, once until one has come."""
_LIMIT = re.compile(r"stopped: run\.(deadline_hours|max_gpu_hours|max_cost)\b")


def post(url: str, event: dict[str, Any]) -> bool:
    """Send an event, credentials taken out, twice if need be; whether it was accepted.

    Never raises: what goes wrong is logged.
    """
    data = json.dumps(redacted(event)).encode()
    why = ""
    for _ in range(ATTEMPTS):
        try:
            request = urllib.request.Request(
                url, data=data, headers={"Content-Type": "application/json"}, method="POST"
            )
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            why = f"status {error.code}"
            error.close()
        except Exception as error:  # noqa: BLE001 - the run must not end for want of a receiver
            why = f"{type(error).__name__}: {error}"
    logger.warning(
        "run.webhook at %s did not accept the event %s: %s",
        re.sub(r"(//[^/?#]*).*", r"\1", url),
        event.get("event"),
        redact(why).replace(url, "the URL"),
    )
    return False


class Webhook:
    """The receiver of one invocation.

    Args:
        url: where events are sent; None: nowhere.
        run: URI of the run.
        earlier: the last heartbeat of every earlier session, for hours and cost.
    """

    def __init__(self, url: str | None, run: str, earlier: Sequence[Heartbeat] = ()) -> None:
        self._url, self._run, self._earlier = url, run, earlier
        self._last: Heartbeat | None = None
        self._is_sent = False

    def observe(self, heartbeat: Heartbeat, waiting_seconds: float) -> None:
        """Note a heartbeat of this session, and how long ready units have had no worker."""
        self._last = heartbeat
        self.no_worker(waiting_seconds)

    def ended(self, line: str) -> None:
        """The invocation has ended as its last heartbeat says: `done`, `stopped: …`, `failed: …`.

        Events: `done`, `failed`, `limit_reached` (deadline, GPU-hours, cost), `stopped`.
        """
        if line == "done" or line.startswith("failed"):
            event = line.partition(":")[0]
        else:
            event = "limit_reached" if _LIMIT.match(line) else "stopped"
        self._send(event, line)

    def no_worker(self, seconds: float) -> None:
        """No worker has been there for so long; 0 once one is. Sends `no_worker` once an hour is
        over."""
        if seconds < NO_WORKER_SECONDS:
            self._is_sent = False
        elif not self._is_sent:
            self._is_sent = True
            self._send("no_worker", f"no worker for {clock(seconds)}")

    def _send(self, event: str, line: str) -> None:
        if self._url is None:
            return
        found = {"run": self._run, "event": event, "line": line, "time": time.time()}
        post(self._url, found | _figures(self._earlier, self._last))


def _figures(earlier: Sequence[Heartbeat], last: Heartbeat | None) -> dict[str, Any]:
    if last is None:
        return {"units_done": None, "units_left": None, "gpu_hours": None, "cost": None}
    stages, used = last.stages.values(), gpu_time([*earlier, last])
    done = sum(stage.done for stage in stages)
    return {
        "units_done": done,
        "units_left": sum(stage.units for stage in stages) - done,
        "gpu_hours": used.held_seconds / 3600,
        "cost": used.cost,
    }


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An event goes to the host that the user named, and to no other."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)
