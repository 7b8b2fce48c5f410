"""`spectro render`: what is wrong is said on the laptop; what is right is one valid manifest."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import validate

from jobs.manifests import overlays, patched, refuse_secrets

Job = Callable[..., int]
URI = "run.uri=s3://bucket/run"
HERE = {"local-cpu": "run.uri=/runs/mine"}


def manifests(
    job: Job, capsys: pytest.CaptureFixture[str], *arguments: str
) -> list[dict[str, Any]]:
    status = job("render", *arguments)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return list(yaml.safe_load_all(shown.out))


@pytest.mark.parametrize("options", [[], ["render.queue=team-a"], ["render.autoscale=false"]])
@pytest.mark.parametrize("overlay", overlays())
def test_every_overlay_renders_to_a_valid_job(
    job: Job, capsys: pytest.CaptureFixture[str], overlay: str, options: list[str]
) -> None:
    uri = HERE.get(overlay, URI)
    [manifest] = manifests(job, capsys, f"render.overlay={overlay}", uri, *options)
    validate(manifest)
    assert shlex.split(manifest["spec"]["entrypoint"])[:2] == ["spectro", "pipeline"]


def test_a_rigid_queued_job_has_all_its_workers_and_no_autoscaler(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["render.queue=team-a", "render.autoscale=false", "render.workers=5"]
    [manifest] = manifests(job, capsys, URI, *options)
    validate(manifest)
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    [group] = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (5, 5, 5)


def test_what_was_given_reaches_its_place(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    overrides = ["experiment=pythia_1_4b_fast", 'components=[l0h1,"l*mlp"]', URI, "seed=7"]
    options = [
        "render.overlay=h100",
        "render.workers=32",
        "render.job=sample",
        "render.image=registry.example/spectro:1",
        "render.namespace=research",
        "render.credentials=my-bucket",
        "render.retries=0",
        "render.deadline_hours=1.5",
        "render.out=job.yaml",
    ]
    assert job("render", *overrides[:2], *options, *overrides[2:]) == 0
    assert capsys.readouterr().out == ""
    manifest = yaml.safe_load((tmp_path / "job.yaml").read_text())
    validate(manifest)
    assert manifest["metadata"]["generateName"] == "spectro-pythia-1-4b-fast-"
    assert manifest["metadata"]["namespace"] == "research"
    spec = manifest["spec"]
    assert shlex.split(spec["entrypoint"]) == [
        *("spectro", "sample"),
        *overrides,
        "run.ray_address=auto",
        "run.num_workers=32",
        "run.gpus_per_worker=1",
        "model.device=cuda",
    ]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 5400)
    cluster = spec["rayClusterSpec"]
    assert cluster["workerGroupSpecs"][0]["maxReplicas"] == 32
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert container["image"] == "registry.example/spectro:1"
        assert container["envFrom"] == [{"secretRef": {"name": "my-bucket"}}]


def test_a_sweep_renders_a_job_for_each_member(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    found = manifests(job, capsys, "-m", "seed=1,2,3", "run.root=s3://bucket/sweep")
    assert len(found) == 3
    places = set()
    for seed, manifest in enumerate(found, start=1):
        words = shlex.split(manifest["spec"]["entrypoint"])
        assert f"seed={seed}" in words and not [w for w in words if w.startswith("run.root")]
        places |= {word for word in words if word.startswith("run.uri=s3://bucket/sweep/")}
    assert len(places) == 3


def test_a_sweep_into_one_file_is_refused(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("render", "-m", "seed=1,2", "run.root=s3://b/x", "render.out=a.yaml") == 2
    assert "render.out is one file" in capsys.readouterr().err


WRONG = [
    ([URI, "sampler.gama=3"], "sampler.gama: unknown key; did you mean gamma?"),
    ([URI, "chain.num_draws=0"], "chain.num_draws must be at least 1"),
    ([URI, "render.workers=0"], "render.workers must be at least 1, found 0"),
    ([URI, "render.worker=3"], "did you mean workers?"),
    ([URI, "render.overlay=a100"], "render.overlay must be one of h100, h200, local-cpu"),
    ([URI, "render.job=demo"], "render.job must be one of pipeline, sample"),
    ([URI, "render.queue=Team_A"], "render.queue must be"),
    ([URI, "render.deadline_hours=0"], "render.deadline_hours must be above 0"),
    ([URI, "run.num_workers=3"], "give render.workers, not run.num_workers"),
    (["run.uri=runs/mine"], "run.uri must be storage that all pods see, s3://bucket/run; found"),
    (
        ["run.uri=memory://x/run"],
        "is a memory:// URI, which is not durable storage that can",
    ),
    (["run.uri=/runs/mine"], "run.uri must be storage that all pods see"),
    (["run.uri=/tmp/x", "render.overlay=local-cpu"], "s3://bucket/run or /runs/<name>; found"),
    ([URI, "tokens.subsets.python.name='$(HOME)'"], "Kubernetes would expand"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[a[-1] for a, _ in WRONG])
def test_what_is_wrong_is_said_here_in_one_line(
    job: Job, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert job("render", *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


SECRETS = [
    "s3://user:hunter2hunter2@bucket/run",
    "s3://key@bucket/run",
    "s3://bucket/run?X-Amz-Signature=abcdef&a=b",
    "https://host/path?sv=1&sig=abc",
    "+x.aws_secret_access_key=abc",
    "a.password=abc",
    "{token: 1, hf_token: abc}",
    "AKIA" + "ABCDEFGH12345678",
    "hf_" + "abcdefghijklmnopqrstuvwx",
    "-----BEGIN PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", SECRETS)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="looks like a credential") as error:
        refuse_secrets({"spec": {"entrypoint": f"spectro pipeline run.uri={text} seed=1"}})
    assert text not in str(error.value)
    assert "spec.entrypoint" in str(error.value)


def test_a_credential_in_a_manifests_environment_is_refused() -> None:
    variable = {"name": "AWS_SECRET_ACCESS_KEY", "value": "abc"}
    step = {"op": "add", "path": "/env", "value": [variable]}
    with pytest.raises(ValueError, match=r"env\[0\].value holds"):
        refuse_secrets(patched({}, [step]))


def test_a_credential_in_the_uri_never_reaches_a_manifest(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert job("render", "run.uri=s3://user:hunter2@bucket/run", "render.out=a.yaml") == 2
    shown = capsys.readouterr()
    assert "run.uri carries a password" in shown.err
    assert "hunter2" not in shown.err + shown.out
    assert not (tmp_path / "a.yaml").exists()


def test_ordinary_settings_are_no_secrets() -> None:
    refuse_secrets(
        [
            "tokens.subsets.python.path=/data/tokens.jsonl",
            "tokens=pythia_pretokenised",
            "run.uri=s3://secret-project/access-keys/run",
            "model.name_or_path=EleutherAI/pythia-1.4b",
            "run.uri=abfs://container@account.dfs.core.windows.net/run",
        ]
    )
