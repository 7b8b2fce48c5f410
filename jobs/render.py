"""The Kubernetes job for a run, as YAML.

Composes and validates the run first: what is wrong with it fails here, not on a machine that is
paid for. The manifest's entrypoint carries exactly the overrides that were given, and how the run
joins its cluster. Nothing is sent anywhere.

  spectro render render.overlay=h200 run.uri=s3://bucket/run | kubectl create -f -
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from spectro.config import PipelineConfig
from spectro.formats.out_file import put_file
from spectro.storage.locations import is_uri, resolve_location

from .command import Command
from .manifests import Manifest, built, containers, gpus_per_pod, refuse_secrets

MAX_NAME = 40
"""KubeRay allows 47 characters; Kubernetes adds five to a `generateName`."""
OWN = ("run.ray_address", "run.num_workers", "run.gpus_per_worker", "model.device")
"""Settings that follow from the manifest."""
JOBS = ("pipeline", "sample")


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """The Kubernetes job. Nothing here changes the run's numbers."""

    overlay: str
    """A folder of `k8s/overlays/`: which machines."""
    workers: int
    """Workers at most; the autoscaler adds and removes them as there is work."""
    job: str = "pipeline"
    """What is run: `pipeline`, or `sample` (no clusters, no page)."""
    name: str | None = None
    """First part of the job's name; None: from the experiment."""
    image: str | None = None
    """Image of all pods; None: the overlay's."""
    namespace: str | None = None
    """Kubernetes namespace; None: that of the `kubectl` command."""
    queue: str | None = None
    """Kueue's LocalQueue that admits the job; None: it starts at once."""
    autoscale: bool = True
    """False: all workers from the start to the end."""
    credentials: str | None = None
    """Secret whose entries become environment variables of head and workers; None: the
    overlay's."""
    retries: int = 3
    """Times that the job is started again, from storage, after it failed."""
    deadline_hours: float | None = None
    """The cluster is deleted so long after its start; None: the overlay's."""
    out: str | None = None
    """File for the manifest; None: standard output."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"render.workers must be at least 1, found {self.workers}")
        if self.retries < 0:
            raise ValueError(f"render.retries must be at least 0, found {self.retries}")
        if self.job not in JOBS:
            raise ValueError(f"render.job must be one of {', '.join(JOBS)}, found {self.job!r}")
        if self.deadline_hours is not None and not 0 < self.deadline_hours < float("inf"):
            raise ValueError(f"render.deadline_hours must be above 0, found {self.deadline_hours}")
        for name in ("name", "namespace", "queue", "credentials"):
            _require_label(f"render.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class RenderJob(PipelineConfig):
    """Settings of `spectro render`: those of a run, and of its Kubernetes job."""

    render: RenderConfig
    """Machines, image, queue, limits."""


def _render(job: RenderJob) -> None:
    from hydra.core.hydra_config import HydraConfig  # not for --help
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if job.render.out is not None and hydra.mode == RunMode.MULTIRUN:
        raise ValueError("render.out is one file, but a sweep has many jobs: redirect the output")
    experiment = hydra.runtime.choices.get("experiment")
    manifest = rendered(job, list(hydra.overrides.task), experiment)
    text = yaml.safe_dump(manifest, sort_keys=False, width=10**6, allow_unicode=True)
    if job.render.out is None:
        sys.stdout.write(f"---\n{text}")
    else:
        put_file(job.render.out, text.encode())


COMMAND = Command(name="render", config=RenderJob, run=_render, root="render_job")
main = COMMAND.main


def rendered(job: RenderJob, overrides: Sequence[str], experiment: str | None) -> Manifest:
    """The RayJob for a run.

    Args:
        job: the composed configuration.
        overrides: what was given on the command line; those of `render` stay out of the job.
        experiment: name of its experiment, if it has one.

    Raises ValueError if the run cannot be done there, or a credential would be written down.
    """
    render = job.render
    passed = [text for text in overrides if not re.match(r"[+~]*(render[.=@]|run\.root=)", text)]
    if not any(text.startswith("run.uri=") for text in passed):  # its settings gave it a place
        passed.append(f"run.uri={job.run.uri}")
    refuse_secrets(passed)
    manifest = built(render.overlay, ["queue"] if render.queue is not None else [])
    _require_shared(resolve_location(job.run.uri), manifest)
    manifest["metadata"] = _metadata(manifest["metadata"], render, experiment)
    manifest["spec"] |= {
        "entrypoint": entrypoint(render, passed, gpus_per_pod(manifest)),
        "backoffLimit": render.retries,
    }
    if render.deadline_hours is not None:
        manifest["spec"]["activeDeadlineSeconds"] = max(1, round(render.deadline_hours * 3600))
    _scale(manifest, render)
    _fill(manifest, render)
    refuse_secrets(manifest)
    return manifest


def entrypoint(render: RenderConfig, overrides: Sequence[str], gpus: float) -> str:
    """The command that the cluster runs, as one line for a shell."""
    for text in overrides:
        name = text.lstrip("+~").partition("=")[0]
        if name in OWN[:3]:
            raise ValueError(f"{name} follows from the manifest: give render.workers, not {name}")
        if "$(" in text:
            raise ValueError(f"{name}: Kubernetes would expand its `$(`; write it differently")
    device = "cuda" if gpus else "cpu"
    own = [
        "run.ray_address=auto",
        f"run.num_workers={render.workers}",
        f"run.gpus_per_worker={1 if gpus else 0}",
    ]
    if not any(text.startswith("model.device=") for text in overrides):
        own.append(f"model.device={device}")
    return shlex.join(["spectro", render.job, *overrides, *own])


def _metadata(old: Manifest, render: RenderConfig, experiment: str | None) -> Manifest:
    stem = render.name or "spectro-" + (experiment or "run")
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[: MAX_NAME - 1]
    metadata: Manifest = {"generateName": f"{plain}-"}
    if render.namespace is not None:
        metadata["namespace"] = render.namespace
    metadata |= {name: value for name, value in old.items() if name != "name"}
    if render.queue is not None:
        metadata["labels"]["kueue.x-k8s.io/queue-name"] = render.queue
        if not render.autoscale:
            del metadata["annotations"]
    return metadata


def _scale(manifest: Manifest, render: RenderConfig) -> None:
    cluster = manifest["spec"]["rayClusterSpec"]
    group, per_pod = cluster["workerGroupSpecs"][0], max(1, int(gpus_per_pod(manifest)))
    pods = -(-render.workers // per_pod)
    group["maxReplicas"] = pods
    if not render.autoscale:
        cluster["enableInTreeAutoscaling"] = False
        del cluster["autoscalerOptions"]
        group["minReplicas"] = group["replicas"] = pods


def _fill(manifest: Manifest, render: RenderConfig) -> None:
    _, *in_cluster = found = containers(manifest)
    for container in found:
        container["image"] = render.image or container["image"]
    for container in in_cluster:
        if render.credentials is not None:
            container["envFrom"] = [{"secretRef": {"name": render.credentials}}]


def _require_shared(uri: str, manifest: Manifest) -> None:
    """Raise ValueError if pods would not see the run at the same place."""
    mounts = containers(manifest)[-1].get("volumeMounts", [])
    shared = [mount["mountPath"] for mount in mounts if not mount.get("readOnly", False)]
    if is_uri(uri):
        return
    if any(uri.startswith(f"{place}/") for place in shared):
        return
    places = " or ".join(["s3://bucket/run", *(f"{place}/<name>" for place in shared)])
    raise ValueError(f"run.uri must be storage that all pods see, {places}; found {uri!r}")


def _require_label(place: str, value: str | None) -> None:
    if value is not None and not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", value):
        raise ValueError(
            f"{place} must be 1 to {MAX_NAME} small letters, digits and hyphens, the first a "
            f"letter; found {value!r}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
