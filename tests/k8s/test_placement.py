"""Pods find machines that are not there yet: labels of would-be nodes, provisioner by provisioner.

A provisioner simulates the scheduler on a node made of the labels that it knows beforehand. A label
that it does not know is absent there, as are those that a daemon writes on running machines.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from schemas import Manifest

from jobs.manifests import K8S, built, patched, plain_job, pod_templates
from jobs.pods import GIB, allow_on_demand, quantity, size_pods

Labels = dict[str, str]
TYPE, KARPENTER = "node.kubernetes.io/instance-type", "karpenter.sh/capacity-type"
EKS, AKS = "eks.amazonaws.com/capacityType", "kubernetes.azure.com/scalesetpriority"
GKE_GPU, GKE_SPOT = "cloud.google.com/gke-accelerator", "cloud.google.com/gke-spot"
GKE_KIND, GFD = "cloud.google.com/gke-provisioning", "nvidia.com/gpu.product"

EIGHT_GPUS = {
    "h200": ("p5en.48xlarge", "Standard_ND96isr_H200_v5", "nvidia-h200-141gb", "NVIDIA-H200"),
    "h100": (
        "p5.48xlarge",
        "Standard_ND96isr_H100_v5",
        "nvidia-h100-80gb",
        "NVIDIA-H100-80GB-HBM3",
    ),
    "a100": ("p4d.24xlarge", "Standard_ND96asr_v4", "nvidia-a100-80gb", "NVIDIA-A100-SXM4-80GB"),
}
"""By card: AWS, Azure, GKE's and NVIDIA's names."""


def nodes(aws: str, azure: str, gke: str, nvidia: str, *, spot: bool) -> dict[str, Labels]:
    """Labels that each provisioner knows of a machine before it is there."""
    kind = "spot" if spot else "on-demand"
    known = {
        "Karpenter on EKS, EKS Auto Mode": {TYPE: aws, KARPENTER: kind},
        "Karpenter on AKS": {TYPE: azure, KARPENTER: kind, AKS: "spot" if spot else "regular"},
        "Cluster Autoscaler, managed node group": {TYPE: aws, EKS: kind.replace("-", "_").upper()},
        "Cluster Autoscaler, AKS": {TYPE: azure} | ({AKS: "spot"} if spot else {AKS: "regular"}),
        "GKE": {TYPE: "a3", GKE_GPU: gke, GKE_KIND: "spot" if spot else "standard"}
        | ({GKE_SPOT: "true"} if spot else {}),
    }
    if spot:  # nothing there tells one kind from the other
        known["Cluster Autoscaler, own scaling group"] = {TYPE: aws}
        known["machines that run, with GPU feature discovery"] = {GFD: nvidia}
    return known


def matches(pod: Manifest, node: Labels) -> bool:
    """The scheduler's rule: any term, of which all expressions, and the whole selector."""
    selector = pod.get("nodeSelector", {})
    if any(node.get(key) != value for key, value in selector.items()):
        return False
    affinity = pod.get("affinity")
    return affinity is None or any(
        all(holds(rule, node) for rule in term["matchExpressions"]) for term in terms(pod)
    )


def holds(rule: dict[str, Any], node: Labels) -> bool:
    value, values = node.get(rule["key"]), rule.get("values", [])
    return {
        "In": value is not None and value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[rule["operator"]]


def terms(pod: Manifest) -> list[dict[str, Any]]:
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    found: list[dict[str, Any]] = required["nodeSelectorTerms"]
    return found


def pods(overlay: str) -> tuple[Manifest, Manifest, Manifest]:
    """The head's, the GPU workers' and the CPU workers'."""
    _, head, gpu, cpu = (template["spec"] for template in pod_templates(built(overlay)))
    return head, gpu, cpu


@pytest.mark.parametrize("overlay", ["h100", "h200"])
@pytest.mark.parametrize("provisioner", nodes(*EIGHT_GPUS["h200"], spot=True))
def test_gpu_workers_get_the_spot_machine_that_every_provisioner_would_make(
    overlay: str, provisioner: str
) -> None:
    _, worker, _ = pods(overlay)
    assert matches(worker, nodes(*EIGHT_GPUS[overlay], spot=True)[provisioner])
    for other in set(EIGHT_GPUS) - {overlay}:
        assert not matches(worker, nodes(*EIGHT_GPUS[other], spot=True)[provisioner])


@pytest.mark.parametrize("overlay", ["h100", "h200"])
@pytest.mark.parametrize("provisioner", nodes(*EIGHT_GPUS["h200"], spot=False))
def test_gpu_workers_get_on_demand_machines_only_where_allowed(
    overlay: str, provisioner: str
) -> None:
    machine = nodes(*EIGHT_GPUS[overlay], spot=False)[provisioner]
    job = built(overlay)
    assert not matches(pod_templates(job)[2]["spec"], machine)
    allow_on_demand(job)
    worker = pod_templates(job)[2]["spec"]
    assert matches(worker, machine)
    assert matches(worker, nodes(*EIGHT_GPUS[overlay], spot=True)[provisioner])
    assert not matches(worker, nodes(*EIGHT_GPUS["a100"], spot=False)[provisioner])


def test_no_gpu_worker_takes_a_machine_without_its_gpu() -> None:
    for overlay in ("h100", "h200"):
        for machine in ({}, {TYPE: "m7i.4xlarge", KARPENTER: "spot"}, {GKE_SPOT: "true"}):
            assert not matches(pods(overlay)[1], machine)


@pytest.mark.parametrize("provisioner", nodes("", "", "", "", spot=False))
def test_the_head_stays_and_cpu_workers_go_anywhere_without_a_gpu(provisioner: str) -> None:
    head, _, worker = pods("h200")
    ordinary = nodes("m7i.4xlarge", "Standard_E16s_v5", "", "", spot=False)[provisioner]
    spot = nodes("m7i.4xlarge", "Standard_E16s_v5", "", "", spot=True)[provisioner]
    for machine in (ordinary, spot):
        machine.pop(GKE_GPU, None)
        assert matches(worker, machine)
    assert matches(head, ordinary)
    assert not matches(head, spot)
    assert not matches(worker, ordinary | {GKE_GPU: "nvidia-l4"})
    assert not matches(worker, ordinary | {"nvidia.com/gpu.present": "true"})


RESTRICTED = ("karpenter.sh", "karpenter.k8s.aws", "karpenter.azure.com", "kubernetes.io", "k8s.io")
WELL_KNOWN = (TYPE, KARPENTER)


def test_karpenter_refuses_no_label_of_any_term() -> None:
    """It checks every term, and ignores a pod that has a key in a domain of its own."""
    for overlay in ("h100", "h200"):
        for template in pod_templates(built(overlay)):
            for rule in (
                rule for term in terms(template["spec"]) for rule in term["matchExpressions"]
            ):
                domain = rule["key"].partition("/")[0]
                own = [d for d in RESTRICTED if domain == d or domain.endswith(f".{d}")]
                assert rule["key"] in WELL_KNOWN or not own, rule["key"]


TAINTS = [
    {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
    {"key": GKE_SPOT, "value": "true", "effect": "NoSchedule"},
    {"key": AKS, "value": "spot", "effect": "NoSchedule"},
    {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
]


def test_gpu_workers_tolerate_what_gpu_and_spot_machines_are_tainted_with() -> None:
    tolerations = pods("h200")[1]["tolerations"]
    for taint in TAINTS:
        assert any(
            t["key"] == taint["key"] and t.get("value", taint["value"]) == taint["value"]
            for t in tolerations
        )


MACHINES = {
    "p5.48xlarge": (192, 2048), "p5en.48xlarge": (192, 2048),
    "Standard_ND96isr_H100_v5": (96, 1900), "Standard_ND96isr_H200_v5": (96, 1850),
    "a3-highgpu-8g": (208, 1872), "a3-megagpu-8g": (208, 1872), "a3-ultragpu-8g": (224, 2952),
}  # fmt: skip
"""Cores and GiB of machines of eight GPUs."""
SHARE = 0.9
"""Of a machine that pods may have, beside the kubelet and the daemons."""


@pytest.mark.parametrize("gpus_per_pod", [1, 2, 4, 8])
@pytest.mark.parametrize("overlay", ["h100", "h200"])
def test_pods_fill_every_machine_of_eight_gpus(overlay: str, gpus_per_pod: int) -> None:
    job = built(overlay)
    settings = size_pods(
        job, workers=16, gpus_per_pod=gpus_per_pod, cpu_workers=2, cores=None, threads=None
    )
    group, _ = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert requests["nvidia.com/gpu"] == str(gpus_per_pod)
    assert group["maxReplicas"] == 16 // gpus_per_pod
    for cores, gib in MACHINES.values():
        assert quantity(requests["cpu"]) * 8 / gpus_per_pod <= SHARE * cores
        assert quantity(requests["memory"]) * 8 / gpus_per_pod <= SHARE * gib * GIB
    assert int(group["rayStartParams"]["num-cpus"]) < settings["run.cpu_worker_cores"]


def queue_documents() -> dict[str, list[Manifest]]:
    found: dict[str, list[Manifest]] = {}
    for document in yaml.safe_load_all((K8S / "setup/queues.yaml").read_text()):
        found.setdefault(document["kind"], []).append(document)
    return found


def test_flavours_restrict_no_machine_and_quotas_cover_every_request() -> None:
    """Kueue turns a flavour's labels into selectors, and admits no pod that asks for more kinds."""
    documents = queue_documents()
    assert not [f for f in documents["ResourceFlavor"] if f.get("spec", {}).get("nodeLabels")]
    [queue] = documents["ClusterQueue"]
    covered = {r for group in queue["spec"]["resourceGroups"] for r in group["coveredResources"]}
    for job in (built("h200"), built("local-cpu"), plain_job("tokens"), plain_job("stage")):
        for template in pod_templates(job):
            assert set(template["spec"]["containers"][0]["resources"]["requests"]) <= covered


def test_sweeps_wait_for_runs() -> None:
    classes = {
        c["metadata"]["name"]: c["value"] for c in queue_documents()["WorkloadPriorityClass"]
    }
    assert classes["spectro-sweep"] < 0 < classes["spectro-run"]  # 0: a job that names none


def test_what_is_patched_stays_whole() -> None:
    """A base whose anchors were patched together would lose the difference between its groups."""
    step = {
        "op": "remove",
        "path": "/spec/rayClusterSpec/workerGroupSpecs/0/template/spec/tolerations/0",
    }
    _, _, gpu, cpu = (t["spec"] for t in pod_templates(patched(built("h200"), [step])))
    assert len(gpu["tolerations"]) == 3 and len(cpu["tolerations"]) == 2
