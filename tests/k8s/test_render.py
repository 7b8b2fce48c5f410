"""`spectro render`: what is wrong is said on the laptop; what is right is one valid manifest."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import ROOT, validate

from jobs.manifests import overlays, patched, refuse_secrets

Job = Callable[..., int]
URI = "run.uri=s3://bucket/run"
HERE = {"local-cpu": "run.uri=/runs/mine"}
NO_PLAN = "render.rates=null"
"""The plan takes seconds, and test_render_plan.py compares with it."""


def manifests(
    job: Job, capsys: pytest.CaptureFixture[str], *arguments: str
) -> list[dict[str, Any]]:
    status = job("render", NO_PLAN, *arguments)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return list(yaml.safe_load_all(shown.out))


OPTIONS = {
    "queued": ["render.queue=team-a", "render.priority=spectro-sweep"],
    "fixed": ["render.autoscale=false"],
    "any capacity": ["render.spot=false", "render.service_account=runs"],
}
GPUS_PER_POD = [f"render.gpus_per_pod={number}" for number in (1, 4, 8)]


@pytest.mark.parametrize("kind", ["sample", "pipeline", "cluster"])
@pytest.mark.parametrize("overlay", overlays())
def test_every_overlay_renders_to_a_valid_job(
    job: Job, capsys: pytest.CaptureFixture[str], overlay: str, kind: str
) -> None:
    uri = HERE.get(overlay, URI)
    sizes = GPUS_PER_POD if kind == "pipeline" and overlay not in HERE else ["seed=0"]
    for size in sizes:
        arguments = [f"render.overlay={overlay}", f"render.job={kind}", uri, size]
        [manifest] = manifests(job, capsys, *arguments)
        validate(manifest)
        assert shlex.split(manifest["spec"]["entrypoint"])[:2] == ["spectro", kind]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_leave_a_job_valid(
    job: Job, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    [manifest] = manifests(job, capsys, URI, *options)
    validate(manifest)


def test_whole_machines_have_their_gpus_and_shares_what_goes_with_them(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for gpus in (1, 2, 8):
        options = [f"render.gpus_per_pod={gpus}", "render.workers=16"]
        [manifest] = manifests(job, capsys, URI, *options)
        group = groups(manifest)["gpu-workers"]
        found[gpus] = group["maxReplicas"], container(group)["resources"]["requests"]
        assert "run.num_workers=16" in manifest["spec"]["entrypoint"]
    assert [pods for pods, _ in found.values()] == [16, 8, 2]
    assert [r["nvidia.com/gpu"] for _, r in found.values()] == ["1", "2", "8"]
    assert [r["cpu"] for _, r in found.values()] == ["10", "20", "80"]
    assert [r["memory"] for _, r in found.values()] == ["192Gi", "384Gi", "1536Gi"]


def groups(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return {group["groupName"]: group for group in listed}


def container(group: dict[str, Any]) -> dict[str, Any]:
    [found] = group["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_a_cpu_worker_fits_no_gpu_machine_and_fills_one_of_its_own(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ([], ["run.cpu_worker_cores=30"], ["render.gpus_per_pod=1"]):
        [manifest] = manifests(job, capsys, URI, *given)
        gpu, cpu = groups(manifest).values()
        settings = dict(
            word.split("=", 1) for word in shlex.split(manifest["spec"]["entrypoint"])[2:]
        )
        cores = int(settings["run.cpu_worker_cores"])
        assert cpu["rayStartParams"]["num-cpus"] == str(cores)
        assert container(cpu)["resources"]["limits"]["cpu"] == str(cores)
        assert int(gpu["rayStartParams"]["num-cpus"]) < cores
        gpus = int(container(gpu)["resources"]["limits"]["nvidia.com/gpu"])
        threads = int(settings["run.threads_per_worker"])
        assert gpu["rayStartParams"]["num-cpus"] == str(gpus * threads)
        assert (gpu["replicas"], cpu["replicas"]) == (0, 0)


def test_memory_follows_the_cores_of_a_cpu_worker(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    [manifest] = manifests(job, capsys, URI, "run.cpu_worker_cores=30")
    assert container(groups(manifest)["cpu-workers"])["resources"]["requests"]["memory"] == "200Gi"


def test_clusters_alone_ask_for_no_gpu(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["render.job=cluster", "render.workers=3", "cluster.num_neighbours=30", "seed=2"]
    [manifest] = manifests(job, capsys, "experiment=pythia_1_4b_fast", URI, *options)
    assert "nvidia.com/gpu:" not in yaml.safe_dump(manifest["spec"]["rayClusterSpec"])
    [group] = groups(manifest).values()
    assert group["maxReplicas"] == 3
    words = shlex.split(manifest["spec"]["entrypoint"])
    assert words[:4] == ["spectro", "cluster", URI, "cluster.num_neighbours=30"]
    assert {"run.num_workers=3", "run.gpus_per_worker=0", "run.scratch=/scratch"} <= set(words)
    assert job("cluster", *words[2:], "--cfg", "job") == 0  # it takes every one of them


def test_the_model_and_the_tokens_are_plain_jobs(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["experiment=pythia_1_4b_fast", URI, "render.cpu_image=registry.example/spectro:cpu"]
    [stage] = manifests(job, capsys, *given, "render.job=stage")
    options = ["render.job=tokens", "render.credentials=mine", "render.service_account=runs"]
    [tokens] = manifests(job, capsys, *given, *options)
    for manifest in (stage, tokens):
        validate(manifest)
        [found] = manifest["spec"]["template"]["spec"]["containers"]
        assert found["image"] == "registry.example/spectro:cpu"
    command = ["hf", "download", "EleutherAI/pythia-1.4b", "--revision", "step143000"]
    assert stage["spec"]["template"]["spec"]["containers"][0]["command"] == command
    assert "serviceAccountName" not in stage["spec"]["template"]["spec"]
    pod = tokens["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "runs"
    secrets = [source["secretRef"]["name"] for source in pod["containers"][0]["envFrom"]]
    assert secrets == ["mine", "spectro-hub"]
    words = pod["containers"][0]["command"]
    assert words == ["spectro", "tokens", *given[:2], "run.num_workers=0"]
    capsys.readouterr()
    assert job("tokens", *words[2:], "--cfg", "job") == 0


def test_a_rigid_queued_job_has_all_its_workers_and_no_autoscaler(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["render.queue=team-a", "render.autoscale=false", "render.workers=16"]
    [manifest] = manifests(job, capsys, URI, *options)
    validate(manifest)
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert "kueue.x-k8s.io/priority-class" not in manifest["metadata"]["labels"]
    gpu, cpu = groups(manifest).values()
    assert (gpu["minReplicas"], gpu["replicas"], gpu["maxReplicas"]) == (2, 2, 2)
    assert (cpu["minReplicas"], cpu["replicas"], cpu["maxReplicas"]) == (4, 4, 4)


def test_what_was_given_reaches_its_place(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    overrides = ["experiment=pythia_1_4b_fast", 'components=[l0h1,"l*mlp"]', URI, "seed=7"]
    options = [
        NO_PLAN,
        "render.overlay=h100",
        "render.workers=32",
        "render.job=sample",
        "render.image=registry.example/spectro@sha256:1",
        "render.cpu_image=registry.example/spectro:cpu",
        "render.namespace=research",
        "render.credentials=my-bucket",
        "render.service_account=runs",
        "render.queue=team-a",
        "render.priority=spectro-run",
        "render.retries=0",
        "render.deadline_hours=1.5",
        "render.out=job.yaml",
    ]
    assert job("render", *overrides[:2], *options, *overrides[2:]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "registry.example/spectro:cpu: a tag may name another image" in shown.err
    manifest = yaml.safe_load((tmp_path / "job.yaml").read_text())
    validate(manifest)
    metadata, spec = manifest["metadata"], manifest["spec"]
    assert re.fullmatch("spectro-pythia-1-4b-fast-sample-[0-9a-f]{6}", metadata["name"])
    assert metadata["namespace"] == "research"
    assert metadata["labels"]["kueue.x-k8s.io/priority-class"] == "spectro-run"
    assert shlex.split(spec["entrypoint"]) == [
        *("spectro", "sample"),
        *overrides,
        "run.ray_address=auto",
        f"run.job={metadata['name']}",
        "run.num_workers=32",
        "run.gpus_per_worker=1",
        "run.threads_per_worker=1",
        "run.cpu_worker_cores=15",
        "run.scratch=/scratch",
        "run.deadline_hours=1.5",
        "model.device=cuda",
    ]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 9000)
    cluster = spec["rayClusterSpec"]
    assert [group["maxReplicas"] for group in cluster["workerGroupSpecs"]] == [4, 4]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        has_gpu = "nvidia.com/gpu" in container(group)["resources"]["limits"]
        image = "@sha256:1" if has_gpu else ":cpu"
        assert container(group)["image"] == f"registry.example/spectro{image}"
        assert container(group)["envFrom"] == [{"secretRef": {"name": "my-bucket"}}]
        assert group["template"]["spec"]["serviceAccountName"] == "runs"
    [submitter] = spec["submitterPodTemplate"]["spec"]["containers"]
    assert submitter["image"] == "registry.example/spectro:cpu"


def test_without_a_secret_nothing_is_missing(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    """Storage may be open to the pods' service account instead."""
    [manifest] = manifests(job, capsys, URI)
    for group in (manifest["spec"]["rayClusterSpec"]["headGroupSpec"], *groups(manifest).values()):
        [source] = container(group)["envFrom"]
        assert source["secretRef"]["optional"] is True


@pytest.mark.parametrize("given", ["render.deadline_hours=10", "run.deadline_hours=10"])
def test_the_driver_stops_an_hour_before_its_cluster(
    job: Job, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    [manifest] = manifests(job, capsys, URI, given)
    assert manifest["spec"]["entrypoint"].count("run.deadline_hours=10") == 1
    assert manifest["spec"]["activeDeadlineSeconds"] == 11 * 3600


def test_a_rendered_job_takes_a_users_patches(
    job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The kustomization that docs/operations.md shows."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    text = (ROOT / "docs/operations.md").read_text()
    shown = text[text.index("    resources: [job.yaml]") :].split("\n\n")[0]
    (tmp_path / "kustomization.yaml").write_text(textwrap.dedent(shown))
    assert job("render", NO_PLAN, URI, "render.out=job.yaml") == 0
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [patched_job] = yaml.safe_load_all(done.stdout)
    validate(patched_job)
    pod = groups(patched_job)["gpu-workers"]["template"]["spec"]
    assert pod["nodeSelector"] == {"team": "research"}
    assert pod["tolerations"][-1] == {"key": "dedicated", "operator": "Exists"}


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
    ([URI, "render.job=demo"], "render.job must be one of stage, tokens, sample, pipeline"),
    ([URI, "render.workers=12"], "render.workers must fill pods of 8 GPUs, 8 or 16; found 12"),
    ([URI, "render.gpus_per_pod=0"], "render.gpus_per_pod must be at least 1"),
    ([URI, "run.threads_per_worker=11"], "at most the 10 cores that a pod has for each GPU"),
    ([URI, "render.priority=spectro-run"], "give render.queue with it"),
    ([URI, "render.deadline_hours=2", "run.deadline_hours=3"], "give one of them"),
    ([URI, "render.job=stage"], "render.job=stage fetches a model of the hub"),
    (["run.uri=/tmp/x", "render.job=tokens"], "run.uri must be storage that all pods see"),
    ([URI, "run.scratch=/tmp"], "run.scratch follows from the manifest"),
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
    assert job("render", NO_PLAN, *arguments) == 2
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
