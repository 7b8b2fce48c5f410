"""Fills in the manifests of a run's jobs (ADR 047, 083)."""

from __future__ import annotations

import dataclasses
import re
import secrets
import shlex
from collections.abc import Sequence

from spectro.models.config import PACKAGED, ModelConfig
from spectro.storage.locations import is_uri, resolve_location

from .manifests import Manifest, built, containers, plain_job, pod_templates, refuse_secrets
from .pods import (
    CPU,
    CPU_GROUP,
    GPU,
    GPU_GROUP,
    allow_on_demand,
    drop_gpus,
    enlarge_scratch,
    group_named,
    hold_all,
    limit,
    scratch_folder,
    size_pods,
)
from .render import BY_OVERLAY, MAX_NAME, PLAIN_JOBS, RenderConfig, RenderJob
from .render_checks import clusters_line, refuse_what_does_not_fit

MARGIN_HOURS = 1.0
"""Between the driver's deadline and the cluster's: its start, and handing back."""
SCRATCH_MARGIN = 1.25
"""Of the volume over the plan's files."""
HUB_SECRET = "spectro-hub"
OF_THE_MANIFEST = {
    "run.ray_address": "render.overlay",
    "run.num_workers": "render.workers",
    "run.gpus_per_worker": "render.overlay",
    "run.scratch": "an overlay with another volume",
}
"""Settings that follow from the manifest, and what to give in their place."""


def rendered(
    job: RenderJob, overrides: Sequence[str], experiment: str | None
) -> tuple[Manifest, list[str]]:
    """The job for a run.

    Args:
        job: the composed configuration.
        overrides: what was given on the command line; those of `render` stay out of the job.
        experiment: name of its experiment, if it has one.

    Returns: the manifest, and lines about what it needs. Raises ValueError if the run cannot be
    done there, or a credential would be written down.
    """
    passed = [text for text in overrides if not re.match(r"[+~]*(render[.=@]|run\.root=)", text)]
    if not any(text.startswith("run.uri=") for text in passed):  # its settings gave it a place
        passed.append(f"run.uri={job.run.uri}")
    refuse_secrets(passed)
    _refuse_overrides(passed)
    name = _job_name(job.render, experiment)
    if job.render.job in PLAIN_JOBS:
        manifest, notes = _plain(job, passed, name), list[str]()
    else:
        manifest, notes = _on_ray(job, passed, name)
    _fill(manifest, job.render)
    refuse_secrets(manifest)
    return manifest, notes


def _plain(job: RenderJob, passed: list[str], name: str) -> Manifest:
    """A Job without Ray: the model's files, or the token sequences."""
    manifest = plain_job(job.render.job)
    [container] = containers(manifest)
    if job.render.job == "stage":
        container["command"] = _download(job.model)
    else:
        _require_shared(resolve_location(job.run.uri), manifest)
        container["command"] = ["spectro", "tokens", *passed, "run.num_workers=0"]
    manifest["metadata"] = _metadata(manifest["metadata"], job.render, name)
    return manifest


def _download(model: ModelConfig) -> list[str]:
    name = model.name_or_path
    if name in PACKAGED or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ValueError(
            f"render.job=stage fetches a model of the hub, found {name!r}: pods read it where it is"
        )
    revision = [] if model.revision is None else ["--revision", model.revision]
    return ["hf", "download", name, *revision]


def _on_ray(job: RenderJob, passed: list[str], name: str) -> tuple[Manifest, list[str]]:
    """A RayJob: `pipeline`, `sample` or `cluster`."""
    render, given = job.render, {_name(text) for text in passed}
    manifest = built(render.overlay, ["queue"] if render.queue is not None else [])
    _require_shared(resolve_location(job.run.uri), manifest)
    if render.job == "cluster":
        drop_gpus(manifest)
        passed = [text for text in passed if re.match(r"[+~]*(run\.|cluster[.=@])", text)]
    settings = size_pods(
        manifest,
        workers=render.workers,
        gpus_per_pod=render.gpus_per_pod,
        cpu_workers=render.cpu_workers,
        cores=job.run.cpu_worker_cores,
        threads=job.run.threads_per_worker if "run.threads_per_worker" in given else None,
    )
    if not render.spot:
        allow_on_demand(manifest)
    if not render.autoscale:
        hold_all(manifest)
    hours = _deadline(job, manifest)
    notes = _compared(job, manifest, hours)
    uses_gpus = group_named(manifest, GPU_GROUP) is not None
    own = {
        "run.ray_address": "auto",
        "run.job": name,
        **settings,
        "run.scratch": scratch_folder(manifest),
        "run.deadline_hours": f"{hours:g}",
        "model.device": None if render.job == "cluster" else "cuda" if uses_gpus else "cpu",
    }
    added = [f"{k}={v}" for k, v in own.items() if v is not None and k not in given]
    manifest["metadata"] = _metadata(manifest["metadata"], render, name)
    manifest["spec"] |= {
        "entrypoint": shlex.join(["spectro", render.job, *passed, *added]),
        "backoffLimit": render.retries,
        "activeDeadlineSeconds": max(1, round((hours + MARGIN_HOURS) * 3600)),
    }
    return manifest, notes


def _deadline(job: RenderJob, manifest: Manifest) -> float:
    """Hours after which the driver stops."""
    ours, own = job.render.deadline_hours, job.run.deadline_hours
    if ours is not None and own is not None:
        raise ValueError("render.deadline_hours is run.deadline_hours of the job: give one of them")
    overlays: float = manifest["spec"]["activeDeadlineSeconds"] / 3600 - MARGIN_HOURS
    return ours or own or overlays


def _compared(job: RenderJob, manifest: Manifest, hours: float) -> list[str]:
    """Lines of the plan, after it was compared with the job; none without rates."""
    from spectro.planning.rates import file_of_rates  # not for --help

    render, rates = job.render, job.render.rates
    if rates == BY_OVERLAY:
        rates = f"{render.overlay}-assumed"
        if not file_of_rates(rates).is_file():
            return [f"no rates of {render.overlay}: not compared with a plan (render.rates)"]
    if rates is None:
        return []
    from spectro.planning.job_estimate import estimate_job  # torch: not where it is not needed

    cpu_group = group_named(manifest, CPU_GROUP)
    assert cpu_group is not None
    cores = int(limit(cpu_group, CPU))
    planned = dataclasses.replace(job, run=dataclasses.replace(job.run, cpu_worker_cores=cores))
    try:
        estimate = estimate_job(planned, rates, render.workers)
    except (ValueError, OSError) as error:
        raise ValueError(f"{error} (render.rates=null renders without the plan)") from error
    refuse_what_does_not_fit(estimate, job, manifest, render.job, hours)
    enlarge_scratch(manifest, SCRATCH_MARGIN * estimate.scratch_bytes)
    if render.job == "cluster":
        return [clusters_line(estimate)]
    return estimate.lines(job.run.price_per_gpu_hour)


def _refuse_overrides(overrides: Sequence[str]) -> None:
    for text in overrides:
        name = _name(text)
        if name in OF_THE_MANIFEST:
            instead = OF_THE_MANIFEST[name]
            raise ValueError(f"{name} follows from the manifest: give {instead}, not {name}")
        if "$(" in text:
            raise ValueError(f"{name}: Kubernetes would expand its `$(`; write it differently")


def _name(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _job_name(render: RenderConfig, experiment: str | None) -> str:
    """A name that no other job has; as `run.job`, that whose attempts count together."""
    kind = "" if render.job == "pipeline" else f"-{render.job}"
    stem = render.name or f"spectro-{experiment or 'run'}"
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[: MAX_NAME - len(kind)]
    return f"{plain}{kind}-{secrets.token_hex(3)}"


def _metadata(old: Manifest, render: RenderConfig, name: str) -> Manifest:
    metadata: Manifest = {"name": name}
    if render.namespace is not None:
        metadata["namespace"] = render.namespace
    metadata |= {key: value for key, value in old.items() if key != "name"}
    if render.queue is not None and render.job not in PLAIN_JOBS:
        metadata["labels"]["kueue.x-k8s.io/queue-name"] = render.queue
        if render.priority is not None:
            metadata["labels"]["kueue.x-k8s.io/priority-class"] = render.priority
        if not render.autoscale:
            del metadata["annotations"]
    return metadata


def _fill(manifest: Manifest, render: RenderConfig) -> None:
    """Images, credentials and the service account."""
    for template in pod_templates(manifest):
        spec = template["spec"]
        container = spec["containers"][0]
        has_gpu = GPU in container["resources"]["limits"]
        image = render.image if has_gpu else render.cpu_image or render.image
        container["image"] = image or container["image"]
        if container["name"] in ("ray-job-submitter", "stage"):
            continue
        if render.service_account is not None:
            spec["serviceAccountName"] = render.service_account
        if render.credentials is not None:
            hub = [e for e in container.get("envFrom", ()) if e["secretRef"]["name"] == HUB_SECRET]
            container["envFrom"] = [{"secretRef": {"name": render.credentials}}, *hub]


def _require_shared(uri: str, manifest: Manifest) -> None:
    """Raise ValueError if pods would not see the run at the same place."""
    mounts = containers(manifest)[-1].get("volumeMounts", [])
    own = ("scratch", "models")
    shared = [mount["mountPath"] for mount in mounts if mount["name"] not in own]
    if is_uri(uri):
        return
    if any(uri.startswith(f"{place}/") for place in shared):
        return
    places = " or ".join(["s3://bucket/run", *(f"{place}/<name>" for place in shared)])
    raise ValueError(f"run.uri must be storage that all pods see, {places}; found {uri!r}")
