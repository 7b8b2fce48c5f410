"""Logs: each line says run, unit and worker; none says a secret; a remote run gets its log."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path

import pytest

from jobs.log import run_log
from spectro.storage.credentials import redact, refuse_credentials
from spectro.storage.store import Store
from spectro.work import logs

LINE = re.compile(r"\S+ \S+ [A-Z]+ run=(\S+) unit=(\S+) worker=(\S+) (\S+): (.*)")
logger = logging.getLogger("spectro.test")


def lines_of(text: str) -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(line) for line in text.strip().splitlines()]
    assert all(found), text
    return [match.groups() for match in found if match]


def test_every_line_of_a_local_run_and_nothing_before_it_is_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with run_log(store):
        logger.info("before")
        assert list(tmp_path.iterdir()) == []
        store.put("run.yaml", b"x")
        with logs.unit("tiles/00000/l1"):
            logger.info("within")
        logger.info("about a unit", extra={"unit": "chains/l1/0", "worker": "w3"})
    (log,) = (tmp_path / "logs").iterdir()
    assert [line[1:3] + line[4:] for line in lines_of(log.read_text())] == [
        ("-", "driver", "before"),
        ("tiles/00000/l1", "driver", "within"),
        ("chains/l1/0", "w3", "about a unit"),
    ]
    assert {line[0] for line in lines_of(log.read_text())} == {str(tmp_path)}


@pytest.mark.usefixtures("google")
def test_a_remote_run_gets_its_log_at_the_end_also_of_a_failure() -> None:
    store = Store("gs://logs-of-a-run")
    with pytest.raises(RuntimeError), run_log(store):
        store.put("run.yaml", b"x")
        raise RuntimeError("out of luck")
    (name,) = store.list("logs")
    text = store.read(name).decode()
    assert "the run ended with an error" in text and "out of luck" in text


@pytest.mark.usefixtures("google")
def test_a_refused_remote_run_leaves_nothing() -> None:
    store = Store("gs://refused")
    with run_log(store):
        logger.info("nothing began")
    assert store.list() == {}


def test_a_worker_logs_once_however_often_it_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    own = [logging.getLogger(name) for name in logs.LOGGERS]
    before = [(log.handlers[:], log.level, log.propagate) for log in own]
    try:
        logs.configure_worker_logging("s3://bucket/run", "node7/4")
        logs.configure_worker_logging("s3://bucket/run", "node7/5")
        with logs.unit("chains/l0/1"):
            logger.info("a step")
    finally:
        for log, (handlers, level, propagate) in zip(own, before, strict=True):
            log.handlers[:], log.propagate = handlers, propagate
            log.setLevel(level)
    assert [line[:3] for line in lines_of(stream.getvalue())] == [
        ("s3://bucket/run", "chains/l0/1", "node7/5")
    ]


def test_no_secret_reaches_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    store = Store(str(tmp_path))
    store.put("run.yaml", b"x")
    with pytest.raises(ValueError, match="signed"), run_log(store):
        logger.info("GET https://me:hunter2@host/a?b=1")
        logger.info("the key is wJalrXUtnFEMI/K7MDENG")
        raise ValueError("signed https://host/x?X-Amz-Signature=hunter2&b=1")
    (log,) = (tmp_path / "logs").iterdir()
    text = log.read_text()
    assert "hunter2" not in text and "wJalr" not in text
    assert "https://***@host/a?b=1" in text and "X-Amz-Signature=***&b=1" in text


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/run", "http://host:9000/a@b", "abfs://box@account/x", "https://h/x?list=keyboard",
     "ray://host:10001", "a=b?c", "runs/token=5"],
)  # fmt: skip
def test_ordinary_places_pass(text: str) -> None:
    refuse_credentials({"run": {"uri": text}})
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["s3://AK:abc/de+f@bucket/x", "simplecache::s3://u:p@b", "https://u:1234@host/x",
     "https://h/x?a=1&sig=abc", "https://h/x?access_token=abc", "https://h/x?AWSAccessKeyId=AK"],
)  # fmt: skip
def test_credentials_anywhere_in_a_configuration_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.b\[1\]\.c carries") as error:
        refuse_credentials({"a": {"b": ["x", {"c": text}]}})
    assert text not in str(error.value)
