"""Every manifest, shipped or rendered, is one that its cluster would take."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from schemas import ROOT, Manifest, crd_folder, validate

from jobs import errors
from jobs.manifests import (
    K8S,
    built,
    containers,
    overlays,
    patched,
    plain_job,
    pod_templates,
    refuse_secrets,
)

COMPONENTS: dict[str, list[str]] = {"alone": [], "queued": ["queue"]}
INVALID = (
    jsonschema.ValidationError,
    kubernetes_validate.ValidationError,
)


def kustomized(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize` makes of a folder; skips the test where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture
def overlay_with(tmp_path: Path) -> Callable[[str, list[str]], Path]:
    """Make a copy of `k8s/` with an overlay that has components too, as a user would write it."""

    def make(overlay: str, components: list[str]) -> Path:
        shutil.copytree(K8S, tmp_path / "k8s")
        folder = tmp_path / "k8s" / "overlays" / "mine"
        folder.mkdir()
        lines = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../{overlay}"],
            "components": [f"../../components/{name}" for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(lines))
        return folder

    return make


@pytest.mark.parametrize("components", COMPONENTS)
@pytest.mark.parametrize("overlay", overlays())
def test_overlays_are_valid_and_the_same_with_and_without_kubectl(
    overlay: str, components: str, overlay_with: Callable[[str, list[str]], Path]
) -> None:
    names = COMPONENTS[components]
    documents = kustomized(overlay_with(overlay, names))
    for document in documents:
        validate(document)
    ours = built(overlay, names)
    validate(ours)
    assert [d for d in documents if d["kind"] == "RayJob"] == [ours]


def test_what_is_set_up_once_is_valid() -> None:
    kinds = set()
    for document in kustomized(K8S / "setup"):
        validate(document)
        kinds.add(document["kind"])
    assert kinds == {
        "ClusterQueue",
        "LocalQueue",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "ResourceFlavor",
        "WorkloadPriorityClass",
    }


def test_the_job_that_fetches_weights_fetches_those_of_the_experiment() -> None:
    [job] = kustomized(K8S / "stage")
    validate(job)
    experiment = yaml.safe_load((ROOT / "conf/experiment/pythia_1_4b_fast.yaml").read_text())
    model = yaml.safe_load((ROOT / "conf/model/pythia_1_4b.yaml").read_text())
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][2:] == [
        model["name_or_path"],
        "--revision",
        experiment["model"]["revision"],
    ]


@pytest.mark.parametrize("name", ["stage", "tokens"])
def test_plain_jobs_are_valid_and_the_same_with_and_without_kubectl(name: str) -> None:
    job = plain_job(name)
    validate(job)
    assert kustomized(K8S / name) == [job]


def test_a_tokens_job_is_retried_where_the_same_command_may_end_otherwise() -> None:
    final, lost = plain_job("tokens")["spec"]["podFailurePolicy"]["rules"]
    assert final["action"] == "FailJob"
    codes = {errors.FAILED, errors.WRONG_INPUT, 3}  # 3: a limit of the run
    assert set(final["onExitCodes"]["values"]) == codes
    assert errors.STOPPED not in codes
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    assert lost == {"action": "Ignore", "onPodConditions": [disrupted]}


def test_the_network_policy_lets_in_pods_of_spectro_the_operator_and_metrics() -> None:
    [policy] = yaml.safe_load_all((K8S / "setup/network.yaml").read_text())
    own, operator, metrics = policy["spec"]["ingress"]
    selected = policy["spec"]["podSelector"]["matchLabels"]
    for template in pod_templates(built("h200")):
        assert selected.items() <= template["metadata"]["labels"].items()
    assert own == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    head, worker = containers(built("h200"))[1:3]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert [port["port"] for port in operator["ports"]] == [ports["dashboard"]]
    assert [port["port"] for port in metrics["ports"]] == [ports["metrics"]]
    assert worker["ports"] == [{"name": "metrics", "containerPort": ports["metrics"]}]


@pytest.mark.parametrize("overlay", overlays())
def test_pods_are_confined_and_have_time_to_leave(overlay: str) -> None:
    job = built(overlay)
    submitter, *in_cluster = [template["spec"] for template in pod_templates(job)]
    for pod in (submitter, *in_cluster):
        assert pod["securityContext"]["runAsNonRoot"] is True
    for container in containers(job):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["requests"] and container["resources"]["limits"]
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for pod in in_cluster:
        container = pod["containers"][0]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert ("RAY_LOG_TO_STDERR" in environment) == (container["name"] == "ray-worker")
        drain = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert drain < pod["terminationGracePeriodSeconds"]
        assert {"name": "metrics", "containerPort": 8080} in container["ports"]
        assert container["lifecycle"]["preStop"]["exec"]["command"]


def test_rays_version_is_the_locked_one() -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    version = built("h200")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ray=={version}" in lock


def _in(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


WORKER = "/spec/rayClusterSpec/workerGroupSpecs/0"
TYPOS = [
    _in("/spec/backOffLimit", 3),
    _in("/spec/ttlSecondsAfterFinished", "soon"),
    _in("/spec/rayClusterSpec/autoscalerOptions/version", "v3"),
    _in("/spec/rayClusterSpec/authOptions/mode", "on"),
    _in(f"{WORKER}/minReplica", 0),
    _in(f"{WORKER}/template/spec/terminationGracePeriod", 5),
    _in(f"{WORKER}/template/spec/containers/0/resource", {}),
    _in(f"{WORKER}/template/spec/containers/0/resources/limits/memory", [1]),
    _in(f"{WORKER}/template/spec/securityContext/runAsNonroot", True),
    _in("/metadata/lables", {"a": "b"}),
]


@pytest.mark.parametrize("typo", TYPOS, ids=[typo["path"] for typo in TYPOS])
def test_a_typo_is_found(typo: dict[str, Any]) -> None:
    crd_folder()
    with pytest.raises(INVALID):
        validate(patched(built("h200"), [typo]))


def test_a_typo_in_a_core_kind_and_in_a_queue_is_found() -> None:
    for document in kustomized(K8S / "setup"):
        spoilt = copy.deepcopy(document)
        spoilt.setdefault("spec", {})["minAvailble"] = 1
        with pytest.raises(INVALID):
            validate(spoilt)


def test_a_patch_without_a_place_is_refused() -> None:
    for path in ("/spec/nothing/here", "/spec/nothing", "/spec/rayClusterSpec/workerGroupSpecs/7"):
        with pytest.raises(ValueError, match="no such place"):
            patched(built("h200"), [{"op": "replace", "path": path, "value": 1}])


def test_no_secret_is_shipped() -> None:
    shipped = [d for path in K8S.rglob("*.yaml") for d in yaml.safe_load_all(path.read_text())]
    assert len(shipped) > 10
    for document in shipped:
        refuse_secrets(document)
        assert not (isinstance(document, dict) and document.get("kind") == "Secret")
