"""The entrypoint of a rendered manifest, run the way KubeRay runs it, on a real Ray cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray_head import __file__ as ray_head
from schemas import ROOT

from jobs.manifests import built, containers, patched
from spectro.formats.product import read_product
from spectro.storage.store import Store

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
LIMIT_SECONDS = 180
"""After which a hanging command is an error; nothing is asserted about time."""

# Two heads of the embedded model, one draw: seconds. The quotes must survive three shells.
TINY = [
    "control=false",
    'components=[l3h1,"l3h[0]"]',
    "tokens.subsets={python: {kind: embedded, name: python}}",
    "tokens.context=16",
    "tokens.num_probe_sequences=2",
    "tokens.num_sampling_sequences=2",
    "sampler=exponential",
    "estimator.kind=one_chain",
    "chain.num_chains=2",
    "chain.num_draws=2",
    "chain.steps_between_draws=1",
    "chain.num_burnin_steps=0",
    "chain.batch_size=1",
]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A running cluster."""

    address: str
    dashboard: str
    health: str
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command as a container of the cluster would run it."""
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def submit(self, entrypoint: str, *options: str) -> subprocess.CompletedProcess[str]:
        """`ray job submit` in a shell, as KubeRay's submitter does it: the line as it stands."""
        ray = f"ray job submit --address {self.dashboard} {' '.join(options)} -- {entrypoint} ;"
        return self.run("/bin/bash", "-ce", ray)

    def ask(self, path: str) -> dict[str, Any]:
        """What the dashboard says of a job."""
        token = self.environment["RAY_AUTH_TOKEN"]
        request = urllib.request.Request(
            f"{self.dashboard}/api/jobs/{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
            found = json.load(answer)
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head without CPUs and one worker machine, with a token as KubeRay sets it."""
    folder = tempfile.mkdtemp(prefix="sp-", dir="/tmp")  # Ray's socket paths must stay short
    command = Path(folder) / "bin" / "spectro"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobs.cli "$@"\n')
    command.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{command.parent}:{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "RAY_TMPDIR": folder,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # 127.0.0.1 stays what it is
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    process = subprocess.Popen(
        [sys.executable, ray_head],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        up = json.loads(process.stdout.readline())
        yield Head(
            address=up["address"],
            dashboard=up["dashboard"],
            health=up["health"],
            environment=environment,
        )
        process.stdin.close()
        process.wait(timeout=LIMIT_SECONDS)
    finally:
        process.terminate()
        process.wait(timeout=LIMIT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def entrypoint(
    job: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    *more: str,
    scratch: Path = Path("/scratch"),
) -> str:
    """That of the manifest which `spectro render` writes for the tiny run.

    `scratch` stands for the pods' volume.
    """
    options = ["render.overlay=local-cpu", "render.workers=1"]
    kind = [] if "render.job=cluster" in more else ["render.job=sample"]
    status = job("render", *options, *kind, *TINY, *more)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    line = str(yaml.safe_load(shown.out)["spec"]["entrypoint"])
    return line.replace("run.scratch=/scratch", f"run.scratch={scratch}")


def until(what: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + LIMIT_SECONDS
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_probes_of_the_manifests_are_answered_without_a_token(head: Head) -> None:
    for container in containers(built("h200"))[1:]:
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] == "/api/healthz"
    until(lambda: answers(head.health))


def test_the_entrypoint_measures_and_its_submission_succeeds(
    head: Head,
    job: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mount_runs_at(tmp_path, monkeypatch)
    line = entrypoint(job, capsys, f"run.uri={tmp_path}/run")
    done = head.submit(line)
    assert done.returncode == 0, done.stdout + done.stderr
    product = read_product(Store(str(tmp_path / "run")))
    assert product.components == ("l3h1", "l3h0")


def status_of(head: Head, submission: str) -> str:
    """How a job ended, once it has."""
    until(lambda: head.ask(submission)["status"] not in ("PENDING", "RUNNING"))
    return str(head.ask(submission)["status"])


def test_a_job_that_would_end_the_same_again_is_stopped_not_failed(
    head: Head,
    job: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mount_runs_at(tmp_path, monkeypatch)
    """KubeRay retries jobs that failed; one that was stopped counts as complete."""
    line = entrypoint(job, capsys, f"run.uri={tmp_path}/run", "model.name_or_path=/no/such/model")
    assert head.submit(line, "--submission-id", "refused", "--no-wait").returncode == 0
    assert status_of(head, "refused") == "STOPPED"
    assert "/no/such/model" in head.ask("refused/logs")["logs"]


def test_leave_ends_the_driver_so_that_its_job_fails_and_is_retried(head: Head) -> None:
    code = (
        "import os, ray, signal, time; ray.init(log_to_driver=False); "
        "signal.signal(signal.SIGTERM, lambda *a: os._exit(7)); "
        "print('ready', flush=True); [time.sleep(0.1) for _ in range(10**6)]"
    )
    options = ("--submission-id", "leaving", "--no-wait")
    assert head.submit(f'python -c "{code}"', *options).returncode == 0
    until(lambda: "\nready" in head.ask("leaving/logs")["logs"])
    left = head.run("spectro", "leave", head.dashboard)
    assert left.returncode == 0, left.stderr
    until(lambda: head.ask("leaving")["status"] not in ("PENDING", "RUNNING"))
    assert head.ask("leaving")["status"] == "FAILED"


def test_tokens_then_the_run_then_its_clusters_by_the_rendered_commands(
    head: Head,
    job: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """docs/operations.md in order: a plain Job without Ray, then two RayJobs."""
    given = ["render.job=tokens", *TINY, "run.uri=s3://bucket/run"]
    assert job("render", *given) == 0
    pod = yaml.safe_load(capsys.readouterr().out)["spec"]["template"]["spec"]
    uri = f"run.uri={tmp_path}/run"  # for the bucket, which no plain Job can do without
    words = [uri if w.startswith("run.uri=") else w for w in pod["containers"][0]["command"]]
    done = head.run(*words)
    assert done.returncode == 0, done.stderr
    store = Store(str(tmp_path / "run"))
    tokens = {name: store.read(name) for name in store.list("tokens")}
    assert tokens and not store.list("chains")
    mount_runs_at(tmp_path, monkeypatch)
    done = head.submit(entrypoint(job, capsys, uri))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: store.read(name) for name in tokens} == tokens
    small = ["cluster.num_neighbours=4", "render.job=cluster"]
    done = head.submit(entrypoint(job, capsys, uri, *small, scratch=tmp_path / "scratch"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert store.list("clusters")


def test_leave_says_when_no_dashboard_answers(head: Head) -> None:
    left = head.run("spectro", "leave", "http://127.0.0.1:9")
    assert left.returncode == 2
    assert "no Ray dashboard answers at http://127.0.0.1:9" in left.stderr


def test_a_machine_that_was_given_the_workers_notice_ends_when_it_is_idle(head: Head) -> None:
    """The manifest's own command; last, because nothing is placed on a machine that is to go."""
    until(lambda: answers(head.health))
    command = containers(built("h200"))[-1]["lifecycle"]["preStop"]["exec"]["command"]
    pod = {**head.environment, "RAY_ADDRESS": head.address}  # as KubeRay sets it
    done = dataclasses.replace(head, environment=pod).run(*command)
    assert done.returncode == 0, done.stderr
    until(lambda: not answers(head.health))


def mount_runs_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local overlay's volume at another place: nobody may write to /runs here."""
    place = "/spec/rayClusterSpec/workerGroupSpecs/0/template/spec/containers/0/volumeMounts/1"
    step = {"op": "replace", "path": f"{place}/mountPath", "value": str(folder)}
    monkeypatch.setattr(
        "jobs.render_jobs.built", lambda overlay, components=(): patched(built(overlay), [step])
    )
