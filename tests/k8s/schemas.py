"""Manifests against the released schemas, closed: a field that nobody knows is an error.

Custom resources are checked against their CRDs (`$SPECTRO_CRDS`, or `shared/crds` beside the
checkout), core kinds and the pods inside RayJobs by kubernetes-validate in its strict mode. CEL
rules and the operators' own checks are not in these schemas; the few that matter are in `rules`.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from jobs.manifests import pod_templates

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = "1.32"
Manifest = dict[str, Any]


def crd_folder() -> Path:
    """Where the CRDs are; skips the test if they are nowhere."""
    named = os.environ.get("SPECTRO_CRDS")
    folder = Path(named) if named else ROOT.parent / "shared" / "crds"
    if not folder.is_dir():
        pytest.skip(f"no CRDs of KubeRay and Kueue in {folder}; SPECTRO_CRDS names their folder")
    return folder


@functools.cache
def crd_schema(folder: Path, api_version: str, kind: str) -> Manifest | None:
    """Closed schema of a custom kind; None if it is not one of theirs."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # one file alone has 1.4 MB
    for path in sorted(folder.glob(f"*_{kind.lower()}*.yaml")):
        spec = yaml.load(path.read_text(), Loader=loader)["spec"]
        for version in spec["versions"]:
            if (api_version, kind) == (f"{spec['group']}/{version['name']}", spec["names"]["kind"]):
                schema: Manifest = closed(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                return schema
    return None


def closed(schema: Any) -> Any:
    """A CRD's schema as JSON schema that knows no other fields; `nullable` allows null."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: closed(item) for name, item in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict):
        result["properties"] = {k: closed(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable"):
        result = {"anyOf": [{"type": "null"}, result]}
    return result


def validate(manifest: Manifest) -> None:
    """Raise an exception unless a manifest is what the cluster's API would take."""
    schema = crd_schema(crd_folder(), manifest["apiVersion"], manifest["kind"])
    if schema is None:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.Draft7Validator(schema).validate(manifest)
    metadata = manifest["metadata"]
    _validate_core({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    if manifest["kind"] == "RayJob":
        for template in pod_templates(manifest):
            metadata, spec = template.get("metadata", {}), template["spec"]
            _validate_core({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        rules(manifest)


def rules(job: Manifest) -> None:
    """What KubeRay 1.7 and Kueue 0.19 check beyond their schemas."""
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec["backoffLimit"] >= 0
    assert spec["activeDeadlineSeconds"] > 0
    assert "jobId" not in spec, "a retry would meet the submission id of the attempt before"
    assert len(job["metadata"]["name"]) <= 47
    for template in pod_templates(job):
        assert template["spec"]["restartPolicy"] == "Never"  # autoscaler v2
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    is_queued = "kueue.x-k8s.io/queue-name" in job["metadata"].get("labels", {})
    assert spec.get("suspend", False) == is_queued, "suspended jobs start only by their queue"
    if is_queued:
        elastic = job["metadata"].get("annotations", {}).get("kueue.x-k8s.io/elastic-job")
        assert spec["shutdownAfterJobFinishes"]
        assert cluster["enableInTreeAutoscaling"] == (elastic == "true")


def _validate_core(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
