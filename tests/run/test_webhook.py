"""Events of a run to a real server that accepts, refuses, redirects, hangs or is not there."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from spectro.formats.sessions import Heartbeat, StageCount
from spectro.work import webhook
from spectro.work.config import RunConfig
from spectro.work.webhook import Webhook, post

SECRET_PATH = "/services/T0/B0/hunter2hunter2"
BEAT = Heartbeat(
    session="a", number=1, started=0.0, time=9.0, host="node7", process=1, ended=None,
    device="cuda", num_workers=1, worker_seconds=0.0,
    stages={
        "tiles": StageCount(units=10, done=4, cost=10.0, done_cost=4.0, seconds=9.0),
        "pilot": StageCount(units=2, done=2, cost=2.0, done_cost=2.0, seconds=9.0),
    },
    gpu_seconds_held=7200.0, gpu_seconds_worked=3600.0, price_per_gpu_hour=3.0,
)  # fmt: skip


class Receiver:
    """A server whose answers are set: statuses, or None to give none."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(json.loads(body))
                receiver.headers.append(dict(self.headers))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if answer is None:
                    receiver.over.wait()
                    return
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing: the test looks at what was received."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    threading.Thread(target=found.server.serve_forever, daemon=True).start()
    yield found
    found.over.set()
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("done", "done"),
        ("failed: unit tiles/00000/l1.safetensors: no memory", "failed"),
        (
            "stopped: run.deadline_hours reached after 4:00:00; the same command resumes",
            "limit_reached",
        ),
        ("stopped: run.max_gpu_hours reached", "limit_reached"),
        ("stopped: run.max_cost reached", "limit_reached"),
        ("stopped: asked to stop (SIGTERM)", "stopped"),
        ("stopped: nothing has moved for 1:00:00 (run.idle_minutes)", "stopped"),
    ],
)
def test_how_a_run_ended(receiver: Receiver, line: str, event: str) -> None:
    before = time.time()
    earlier = replace(BEAT, session="b", gpu_seconds_held=3600.0)
    hook = Webhook(receiver.url, "s3://bucket/run", [earlier])
    hook.observe(BEAT, 0.0)
    hook.ended(line)
    (found,) = receiver.received
    assert before <= found.pop("time") <= time.time()
    assert found == {
        "run": "s3://bucket/run", "event": event, "line": line, "units_done": 6, "units_left": 6,
        "gpu_hours": 3.0, "cost": 9.0,
    }  # fmt: skip
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_no_worker_is_reported_once_until_one_has_come(receiver: Receiver) -> None:
    hook = Webhook(receiver.url, "runs/x")
    for seconds in (60.0, 3599.0, 3600.0, 3700.0, 9000.0, 0.0, 3600.0):
        hook.no_worker(seconds)
    lines = [(found["event"], found["line"]) for found in receiver.received]
    assert lines == [("no_worker", "no worker for 1:00:00")] * 2
    assert receiver.received[0]["units_done"] is None


@pytest.mark.parametrize("first", [500, 404, 302])
def test_what_is_refused_is_sent_once_more(receiver: Receiver, first: int) -> None:
    receiver.answers = [first, 200]
    assert post(receiver.url, {"event": "done"})
    assert receiver.received == [{"event": "done"}] * 2


def test_a_receiver_that_refuses_ends_nothing(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500, 500, 200]
    with caplog.at_level(logging.WARNING):
        Webhook(receiver.url + SECRET_PATH, "runs/x").ended("done")
    assert len(receiver.received) == 2
    assert f"{receiver.url} did not accept the event done: status 500" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_receiver_that_hangs_or_is_away_ends_nothing(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.2)
    receiver.answers = [None, None]
    assert not post(receiver.url + SECRET_PATH, {"event": "failed"})
    assert len(receiver.received) == 2
    assert not post("http://127.0.0.1:1" + SECRET_PATH, {"event": "failed"})
    assert not post("http://[nonsense" + SECRET_PATH, {"event": "failed"})
    assert caplog.text.count("did not accept the event failed") == 3
    assert "hunter2" not in caplog.text


def test_no_credential_leaves(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    line = "failed: ftp://me:hunter2@host/x refused wJalrXUtnFEMI"
    Webhook(receiver.url, "runs/x").ended(line)
    sent = json.dumps(receiver.received)
    assert "hunter2" not in sent and "wJalrXUtnFEMI" not in sent
    for url in ("https://me:hunter2@host/x", "https://host/x?token=hunter2"):
        with pytest.raises(ValueError, match="webhook carries") as caught:
            RunConfig(uri="runs/x", webhook=url)
        assert "hunter2" not in str(caught.value)


def test_without_a_webhook_nothing_is_sent(receiver: Receiver) -> None:
    Webhook(None, "runs/x").ended("done")
    assert receiver.received == []
