"""What an S3 server will not do: one clear line, at once, and no secret in it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from spectro.storage.s3_client import TIMEOUT_VARIABLE
from spectro.storage.store import Store
from tests.servers.moto_server import MotoServer
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def store(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    return Store(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_wrong_credentials(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("x", b"1")
    monkeypatch.setenv(name, "not-the-one-expected")
    for call in (
        lambda: store.put("y", b"1"),
        lambda: store.read("x"),
        lambda: store.exists("x"),
        store.list,
        lambda: store.delete("x"),
    ):
        with caplog.at_level(logging.INFO), pytest.raises(PermissionError) as caught:
            call()
        message = str(caught.value)
        assert store.uri in message
        assert "likely cause" in message
        assert "\n" not in message
        for secret in (ACCESS_KEY, SECRET_KEY, "not-the-one-expected"):
            assert secret not in message + repr(caught.value) + caplog.text
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
    assert "at attempt" not in caplog.text


def test_no_credentials(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(PermissionError, match=r"NoCredentialsError.*AWS_ACCESS_KEY_ID"):
        store.put("x", b"1")


def test_a_missing_bucket(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With moto: the other server makes buckets for whoever may do everything."""
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    elsewhere = Store("s3://no-such-bucket/run")
    for call in (lambda: elsewhere.put("x", b"1"), lambda: elsewhere.read("x"), elsewhere.list):
        with pytest.raises(
            ValueError, match=r"s3://no-such-bucket/run.*no bucket 'no-such-bucket'"
        ):
            call()


@pytest.mark.usefixtures("store")
def test_settings_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="ParamValidationError"):
        Store("s3://no bucket has spaces/run").list()
    monkeypatch.setenv(TIMEOUT_VARIABLE, "soon")
    with pytest.raises(ValueError, match=f"{TIMEOUT_VARIABLE}: expected a positive number"):
        Store("s3://bucket/run").list()
    monkeypatch.delenv(TIMEOUT_VARIABLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL"):
        Store("s3://bucket/run").list()


@pytest.mark.parametrize("uri", ["s3://", "s3:///run", "s3://key:hunter2@bucket/run"])
def test_uris_without_bucket_or_with_secrets_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/prefix|credentials from") as caught:
        Store(uri)
    assert "hunter2" not in str(caught.value)
