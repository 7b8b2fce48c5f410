"""Sizes of a rendered job's pods, and the settings of the run that follow from them (ADR 083).

Pods with GPUs are whole machines, or equal shares of one: `render.gpus_per_pod` scales what the
overlay's pod has. Pods without a GPU have `run.cpu_worker_cores` cores.
"""

from __future__ import annotations

import re
from typing import Any

from .manifests import Manifest

GPU, CPU, MEMORY = "nvidia.com/gpu", "cpu", "memory"
GPU_GROUP, CPU_GROUP = "gpu-workers", "cpu-workers"
SCRATCH = "scratch"
CAPACITY = (
    "karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType",
    "kubernetes.azure.com/scalesetpriority", "cloud.google.com/gke-spot",
    "cloud.google.com/gke-provisioning",
)  # fmt: skip
"""Labels that tell spot machines from others."""
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{prefix}i": 1024.0 ** (power + 1) for power, prefix in enumerate("KMGT")
}
GIB = 2**30


def group_named(manifest: Manifest, name: str) -> Manifest | None:
    """A group of workers; None if the job has none of this name."""
    groups = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return next((group for group in groups if group["groupName"] == name), None)


def limit(group: Manifest, resource: str) -> float:
    """Limit of a pod's resource, in cores, bytes or GPUs."""
    return quantity(_container(group)["resources"]["limits"].get(resource, 0))


def quantity(value: Any) -> float:
    """A Kubernetes quantity as a number: `500m`, `128Gi`."""
    found = re.fullmatch(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(value))
    if found is None:
        raise ValueError(f"a quantity such as 500m or 128Gi was expected, found {value!r}")
    return float(found[1]) * UNITS[found[2] or ""]


def drop_gpus(manifest: Manifest) -> None:
    """Leave out the pods with GPUs, for a job that needs none."""
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = cluster["workerGroupSpecs"]
    cluster["workerGroupSpecs"] = [g for g in groups if g["groupName"] != GPU_GROUP]


def size_pods(
    manifest: Manifest,
    *,
    workers: int,
    gpus_per_pod: int | None,
    cpu_workers: int,
    cores: int | None,
    threads: int | None,
) -> dict[str, int]:
    """Size pods and their numbers in a manifest.

    Args:
        manifest: changed in place.
        workers: on GPUs, or without one if no pod has any.
        gpus_per_pod: None: as many as the overlay says.
        cpu_workers: machines without a GPU beside workers that have one.
        cores: of each such machine; None: as many as the overlay says.
        threads: `run.threads_per_worker`; None: as many as fit.

    Returns: settings of the run that follow. Raises ValueError for what does not go together.
    """
    gpu, cpu = group_named(manifest, GPU_GROUP), group_named(manifest, CPU_GROUP)
    assert cpu is not None
    if cores is not None:
        _scale(cpu, cores / limit(cpu, CPU))
    cores = int(limit(cpu, CPU))
    cpu["rayStartParams"]["num-cpus"] = str(cores)
    if gpu is None:
        return _without_gpus(cpu, cores, workers, threads or cores)
    if gpus_per_pod is not None:
        _scale(gpu, gpus_per_pod / limit(gpu, GPU))
    gpus, per_gpu = int(limit(gpu, GPU)), int(limit(gpu, CPU) / limit(gpu, GPU))
    threads = threads or max(1, min(per_gpu, (cores - 1) // gpus))
    if workers % gpus:
        raise ValueError(
            f"render.workers must fill pods of {gpus} GPUs, {gpus} or {2 * gpus}; found {workers}: "
            "another number, or other render.gpus_per_pod"
        )
    if threads > per_gpu:
        raise ValueError(
            f"run.threads_per_worker must be at most the {per_gpu} cores that a pod has for each "
            f"GPU, found {threads}"
        )
    gpu["rayStartParams"]["num-cpus"] = str(gpus * threads)
    gpu["maxReplicas"], cpu["maxReplicas"] = workers // gpus, cpu_workers
    return {
        "run.num_workers": workers, "run.gpus_per_worker": 1,
        "run.threads_per_worker": threads, "run.cpu_worker_cores": cores,
    }  # fmt: skip


def _without_gpus(cpu: Manifest, cores: int, workers: int, threads: int) -> dict[str, int]:
    if threads > cores:
        raise ValueError(
            f"run.threads_per_worker must be at most the {cores} cores of a pod, found {threads}: "
            "run.cpu_worker_cores makes it larger"
        )
    cpu["maxReplicas"] = -(-workers // (cores // threads))
    return {
        "run.num_workers": workers, "run.gpus_per_worker": 0, "run.threads_per_worker": threads,
    }  # fmt: skip


def hold_all(manifest: Manifest) -> None:
    """All pods from the start to the end, without an autoscaler."""
    cluster = manifest["spec"]["rayClusterSpec"]
    cluster["enableInTreeAutoscaling"] = False
    del cluster["autoscalerOptions"]
    for group in cluster["workerGroupSpecs"]:
        group["minReplicas"] = group["replicas"] = group["maxReplicas"]


def allow_on_demand(manifest: Manifest) -> None:
    """Let GPU workers go to machines that are not spot ones, too."""
    group = group_named(manifest, GPU_GROUP)
    if group is None:
        return
    required = group["template"]["spec"]["affinity"]["nodeAffinity"]
    for term in required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]:
        term["matchExpressions"] = [e for e in term["matchExpressions"] if e["key"] not in CAPACITY]


def scratch_folder(manifest: Manifest) -> str | None:
    """Where CPU workers have their volume for scratch."""
    group = group_named(manifest, CPU_GROUP)
    assert group is not None
    mounts = _container(group).get("volumeMounts", [])
    return next((mount["mountPath"] for mount in mounts if mount["name"] == SCRATCH), None)


def enlarge_scratch(manifest: Manifest, num_bytes: float) -> None:
    """Make the ephemeral volume at least so large."""
    group = group_named(manifest, CPU_GROUP)
    assert group is not None
    for volume in group["template"]["spec"].get("volumes", []):
        if volume["name"] == SCRATCH and "ephemeral" in volume:
            claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]
            if quantity(claim["storage"]) < num_bytes:
                claim["storage"] = f"{-(-int(num_bytes) // GIB)}Gi"


def _container(group: Manifest) -> Manifest:
    container: Manifest = group["template"]["spec"]["containers"][0]
    return container


def _scale(group: Manifest, ratio: float) -> None:
    """Scale cores, memory and GPUs of a pod."""
    for bounds in _container(group)["resources"].values():
        for name in (CPU, MEMORY, GPU):
            if name in bounds:
                bounds[name] = _written(quantity(bounds[name]) * ratio, name)


def _written(value: float, resource: str) -> str:
    if resource == MEMORY:
        return f"{int(value / 2**20)}Mi" if value % GIB else f"{int(value / GIB)}Gi"
    return f"{value:.0f}" if value == round(value) else f"{1000 * value:.0f}m"
