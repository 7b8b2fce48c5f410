"""The map of a real tiny run: words, control, verification, and the command that makes it."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spectro.config import PipelineConfig
from spectro.formats.tokens import read_info
from spectro.inspect.verify import DAMAGED, MISSING, UNKNOWN, verify_run
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.views.map.config import MapConfig
from spectro.views.map.serve import served
from spectro.views.map.write import MARKER, write_map
from spectro.views.run_view import RunView
from tests.report.read_map import read_map

RunCopy = Callable[[], tuple[Store, PipelineConfig]]
CONFIG = MapConfig(landmarks=80)


@pytest.mark.parametrize("place", ["", "control"])
def test_verify_knows_maps(run_copy: RunCopy, place: str) -> None:
    store, config = run_copy()
    uri = store.child(place).uri
    written = write_map(RunView(uri), CONFIG)
    found = verify_run(store, config)
    assert found.faults == () and found.leftovers == ()
    assert found.kinds["map_files"].objects == len(written.marker["objects"])
    folder = f"{place}/map" if place else "map"
    path = Path(written.store.root) / "clusters/size.bin"
    path.write_bytes(path.read_bytes()[::-1] + b"x")
    (Path(written.store.root) / "regions.json").unlink()
    written.store.put("tokens/x-0009.bin", b"x")
    faults = {(fault.name, fault.what) for fault in verify_run(store, config).faults}
    assert faults == {
        (f"{folder}/clusters/size.bin", DAMAGED),
        (f"{folder}/regions.json", MISSING),
        (f"{folder}/tokens/x-0009.bin", UNKNOWN),
    }
    assert not write_map(RunView(uri), CONFIG, renew=True).was_there
    assert verify_run(store, config).faults == ()


def test_words_and_control_of_a_real_run(run_copy: RunCopy) -> None:
    store, _ = run_copy()
    written = write_map(RunView(store.uri), CONFIG)
    found = read_map(written.store.root)
    assert "a" in found.vocabulary and "\ue002" in found.vocabulary
    sizes = pq.read_table(f"{store.root}/control/clusters/clusters.parquet")["size"].to_pylist()
    assert found.marker["control"]["sizes"] == sizes
    assert found.marker["control"]["clusters"] == len(sizes)
    assert dict(found.marker["facts"])["Tokens"].startswith("96 in")
    assert read_sealed(written.store, MARKER)["probe_sha256"] == read_info(store).probe_sha256
    of_control = write_map(RunView(f"{store.uri}/control"), CONFIG)
    assert of_control.marker["control"] is None and of_control.marker["title"] == "copy / control"


def test_a_model_that_is_gone_leaves_ids(
    run_copy: RunCopy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = run_copy()
    gone = RunView(store.uri)
    gone.config["model"]["name_or_path"] = str(tmp_path / "nowhere")
    found = read_map(write_map(gone, CONFIG).store.root)
    assert found.vocabulary[:2] == ["#0", "#1"]
    assert "tokens are shown by their ids" in caplog.text
    assert not write_map(RunView(store.uri), CONFIG).was_there


def _heeds_interrupts() -> None:
    """Workers of pytest-xdist ignore them, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_command_exports_and_serves(run_copy: RunCopy, tmp_path: Path) -> None:
    store, _ = run_copy()
    folder = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "map",
        store.uri,
        f"export={folder}",
        "serve=0",
        "map.max_tokens=12",
    ]  # too few for UMAP, which takes long to load
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=_heeds_interrupts
    )
    try:
        assert process.stdout is not None
        address = next(line.split()[3] for line in process.stdout if "look at it" in line)
        with urllib.request.urlopen(f"{address}map.json") as answer:
            told = json.load(answer)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert told["tokens"]["count"] == 12 and (folder / "map.json").exists()
    assert not store.exists("map/map.json")
    shutil.rmtree(folder)


def asked(port: int, path: str, host: str) -> tuple[int, bytes, str | None]:
    """Status, body and type of what a server says to a request that is sent as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.getheader("Content-Type")
    connection.close()
    return found


HOSTS = {
    "127.0.0.1": 200, "localhost": 200, "127.0.0.1:80": 200, "LOCALHOST:1": 200,
    "evil.example": 403, "evil.example:80": 403, "127.0.0.1.evil.example": 403, "": 403,
    "localhost:80:80": 403, "evil@127.0.0.1": 403,
}  # fmt: skip


def test_the_server_answers_to_its_own_names_alone(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "a.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    with served(folder) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        for host, status in HOSTS.items():
            found, body, kind = asked(port, "/a.js", host)
            assert found == status, host
            if status == 200:
                assert (body, kind) == (b"1", "text/javascript")
        for path in ("/../secret", "/%2e%2e/secret", "//../secret", "/./../secret"):
            found, body, _ = asked(port, path, f"127.0.0.1:{port}")
            assert found == 404 and b"secret" not in body, path
        with pytest.raises(OSError, match="give another, or serve=0"), served(folder, port):
            pass
