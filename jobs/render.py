"""The Kubernetes jobs of a run, as YAML: its model, its tokens, the run, its clusters.

Composes and validates the run first, and compares it with its plan: what is wrong, too large or too
dear fails here, not on a machine that is paid for. The manifest's entrypoint carries exactly the
overrides that were given, and how the run joins its cluster. Nothing is sent anywhere.

  spectro render render.job=stage experiment=pythia_1_4b_fast | kubectl create -f -
  spectro render render.job=tokens run.uri=s3://bucket/run | kubectl create -f -
  spectro render render.overlay=h200 run.uri=s3://bucket/run | kubectl create -f -
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import yaml

from spectro.config import PipelineConfig
from spectro.formats.out_file import put_file

from .command import Command
from .manifests import Manifest, containers

MAX_NAME = 40
"""KubeRay allows 47 characters; seven make the name unique."""
PLAIN_JOBS = ("stage", "tokens")
"""Without Ray and GPU."""
JOBS = (*PLAIN_JOBS, "sample", "pipeline", "cluster")
BY_OVERLAY = "overlay"


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """The Kubernetes job. Nothing here changes the run's numbers."""

    overlay: str
    """A folder of `k8s/overlays/`: which machines."""
    workers: int
    """Workers at most, one to a GPU, or to a machine where the job needs no GPU; the autoscaler
    adds and removes them as there is work."""
    job: str = "pipeline"
    """What is run: `stage` (the model's files into the claim for weights), `tokens` (token
    sequences, where the hub is reachable), `pipeline`, `sample` (no clusters, no page), `cluster`
    (clusters of a measured run, on machines without a GPU)."""
    gpus_per_pod: int | None = None
    """GPUs, and the same share of everything else, of one worker pod; None: the overlay's, which
    are those of a whole machine: it is paid for as a whole."""
    cpu_workers: int = 4
    """Machines without a GPU at most, beside workers that have one: for tokens, neighbours,
    clusters and the page. `run.cpu_worker_cores` says how large."""
    spot: bool = True
    """GPU workers on spot machines only; false: on any."""
    name: str | None = None
    """First part of the job's name; None: from the experiment."""
    image: str | None = None
    """Image of all pods; None: the overlay's."""
    cpu_image: str | None = None
    """Image of the pods without a GPU (submitter, head, CPU workers, plain jobs); None: `image`."""
    namespace: str | None = None
    """Kubernetes namespace; None: that of the `kubectl` command."""
    queue: str | None = None
    """Kueue's LocalQueue that admits the job; None: it starts at once."""
    priority: str | None = None
    """Kueue's WorkloadPriorityClass, such as `spectro-sweep`; None: none, which counts as 0."""
    autoscale: bool = True
    """False: all workers from the start to the end."""
    credentials: str | None = None
    """Secret whose entries become environment variables of head and workers; None: the overlay's,
    if it is there."""
    service_account: str | None = None
    """Service account of head, workers and tokens, whose role may read and write storage; None: the
    namespace's default."""
    retries: int = 3
    """Times that the job is started again, from storage, after it failed."""
    deadline_hours: float | None = None
    """The driver hands everything back and stops so long after its start, all attempts together
    (`run.deadline_hours`); the cluster is deleted an hour later. None: the overlay's."""
    rates: str | None = BY_OVERLAY
    """File of rates of the plan that the job is compared with; `overlay`: `<overlay>-assumed`,
    where there is one. Null: no comparison, as for a run of which most is done."""
    out: str | None = None
    """File for the manifest; None: standard output."""

    def __post_init__(self) -> None:
        for name in ("workers", "cpu_workers", "gpus_per_pod"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"render.{name} must be at least 1, found {value}")
        if self.retries < 0:
            raise ValueError(f"render.retries must be at least 0, found {self.retries}")
        if self.job not in JOBS:
            raise ValueError(f"render.job must be one of {', '.join(JOBS)}, found {self.job!r}")
        if self.deadline_hours is not None and not 0 < self.deadline_hours < float("inf"):
            raise ValueError(f"render.deadline_hours must be above 0, found {self.deadline_hours}")
        if self.priority is not None and self.queue is None:
            raise ValueError("render.priority is Kueue's: give render.queue with it")
        for name in ("name", "namespace", "queue", "priority", "credentials", "service_account"):
            _require_label(f"render.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class RenderJob(PipelineConfig):
    """Settings of `spectro render`: those of a run, and of its Kubernetes job."""

    render: RenderConfig
    """Machines, image, queue, limits."""


def _render(job: RenderJob) -> None:
    from hydra.core.hydra_config import HydraConfig  # not for --help
    from hydra.types import RunMode

    from .render_jobs import rendered

    hydra = HydraConfig.get()
    if job.render.out is not None and hydra.mode == RunMode.MULTIRUN:
        raise ValueError("render.out is one file, but a sweep has many jobs: redirect the output")
    experiment = hydra.runtime.choices.get("experiment")
    manifest, notes = rendered(job, list(hydra.overrides.task), experiment)
    text = yaml.safe_dump(manifest, sort_keys=False, width=10**6, allow_unicode=True)
    for note in (*notes, *_tags(manifest)):
        sys.stderr.write(f"render: {note}\n")
    if job.render.out is None:
        sys.stdout.write(f"---\n{text}")
    else:
        put_file(job.render.out, text.encode())


COMMAND = Command(name="render", config=RenderJob, run=_render, root="render_job")
main = COMMAND.main


def _tags(manifest: Manifest) -> list[str]:
    """A line about images that are not named by digest."""
    images = sorted({container["image"] for container in containers(manifest)})
    tags = ", ".join(image for image in images if "@sha256:" not in image)
    return [f"{tags}: a tag may name another image at a retry, a digest cannot"] if tags else []


def _require_label(place: str, value: str | None) -> None:
    if value is not None and not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", value):
        raise ValueError(
            f"{place} must be 1 to {MAX_NAME} small letters, digits and hyphens, the first a "
            f"letter; found {value!r}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
