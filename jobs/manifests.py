"""Kubernetes manifests from `k8s/`: a RayJob with its overlay's patches applied, and plain Jobs.

Overlays and components consist of RFC 6902 patches alone, so that applying them here gives what
`kubectl kustomize` gives, without kubectl (ADR 047; a test compares the two).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

K8S = Path(__file__).parent.parent / "k8s"
Manifest = dict[str, Any]

SECRET_NAME = re.compile(
    r"(?i)(^|[._\-?&{,\s])(aws_)?(secret|password|passwd|credential|private_key|access_?key|"
    r"api_?key|session_?token|auth_?token|hf_?token|sas_?token|client_secret)[a-z_]*\s*[=:]"
)
SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bhf_[A-Za-z0-9]{20,}|-----BEGIN|\bgh[pousr]_[A-Za-z0-9]{30,}"
)
SIGNED = {"x-amz-signature", "x-amz-credential", "x-goog-signature", "sig", "awsaccesskeyid"}
AZURE = {"abfs", "abfss", "wasb", "wasbs"}
"""Schemes in which what stands before the @ is a container."""
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"\]},]+")


def overlays() -> list[str]:
    """Names of the overlays."""
    return sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))


def require_manifests() -> None:
    """Raise ValueError if the manifests are not beside the code."""
    if not overlays():
        raise ValueError(f"no manifests in {K8S}: render from a checkout, not from an installation")


def built(overlay: str, components: Sequence[str] = ()) -> Manifest:
    """The RayJob of an overlay, with further components.

    Raises ValueError if there is no such overlay, or no manifests at all.
    """
    require_manifests()
    if overlay not in overlays():
        raise ValueError(
            f"render.overlay must be one of {', '.join(overlays())}, found {overlay!r}"
        )
    folder = K8S / "overlays" / overlay
    listed = [(folder / name).resolve() for name in _kustomization(folder).get("components", [])]
    added = [K8S / "components" / name for name in components]
    manifest: Manifest = _unshared(
        yaml.safe_load((K8S / "base" / "rayjob.yaml").read_text(encoding="utf-8"))
    )
    for place in (*listed, folder, *added):
        manifest = patched(manifest, _patches(place))
    return manifest


def patched(document: Manifest, operations: Sequence[Mapping[str, Any]]) -> Manifest:
    """A document after `add`, `replace` and `remove` operations of RFC 6902.

    Raises ValueError if an operation has no place to work on.
    """
    result: Manifest = _unshared(document)
    for operation in operations:
        names = [
            name.replace("~1", "/").replace("~0", "~") for name in operation["path"].split("/")[1:]
        ]
        try:
            _apply(result, names, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(f"{operation['op']} {operation['path']}: no such place") from error
    return result


def _apply(document: Any, names: Sequence[str], operation: Mapping[str, Any]) -> None:
    for name in names[:-1]:
        document = document[int(name) if isinstance(document, list) else name]
    last: Any = names[-1]
    kind, value = operation["op"], _unshared(operation.get("value"))
    if isinstance(document, list):
        last = len(document) if last == "-" else int(last)
        if kind == "add":
            document.insert(last, value)
            return
    if kind not in ("add", "replace", "remove"):
        raise ValueError(kind)
    if kind == "remove":
        del document[last]
    else:
        if kind == "replace" and isinstance(document, dict) and last not in document:
            raise KeyError(last)
        document[last] = value


def plain_job(name: str) -> Manifest:
    """A Job without Ray: `stage` or `tokens`."""
    require_manifests()
    manifest: Manifest = yaml.safe_load((K8S / name / "job.yaml").read_text(encoding="utf-8"))
    return manifest


def pod_templates(job: Manifest) -> list[Manifest]:
    """Those of the submitter, the head and the groups of workers; of a plain Job, its one."""
    if job["kind"] == "Job":
        return [job["spec"]["template"]]
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [job["spec"]["submitterPodTemplate"], *(group["template"] for group in groups)]


def containers(job: Manifest) -> list[Manifest]:
    """The containers of `pod_templates`, in their order."""
    return [template["spec"]["containers"][0] for template in pod_templates(job)]


def refuse_secrets(value: Any) -> None:
    """Raise ValueError if a text in a manifest, or in overrides, looks like a credential.

    The message names the place of it, never the text itself.
    """
    for place, text in _texts(value):
        if _is_secret(text):
            raise ValueError(
                f"{place or 'a value'} holds what looks like a credential: manifests are kept and "
                "shared; put it into the secret that render.credentials names"
            )


def _is_secret(text: str) -> bool:
    if SECRET_NAME.search(text) or SECRET_VALUE.search(text):
        return True
    for uri in URI.findall(text):
        parts = urlsplit(uri)
        user, at, _ = parts.netloc.rpartition("@")
        names_container = parts.scheme in AZURE and ":" not in user
        if (at and not names_container) or SIGNED & {
            name.lower() for name, _ in parse_qsl(parts.query)
        }:
            return True
    return False


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("value"), str):  # an environment variable
            yield f"{place}.value", f"{value.get('name')}={value['value']}"
        for name, item in value.items():
            yield from _texts(item, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}[{index}]")
    elif isinstance(value, str):
        yield place, value


def _unshared(value: Any) -> Any:
    """A copy in which nothing stands in two places: YAML's aliases would be patched together."""
    return json.loads(json.dumps(value))


def _kustomization(folder: Path) -> Manifest:
    found = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _patches(folder: Path) -> list[Mapping[str, Any]]:
    files = [patch["path"] for patch in _kustomization(folder)["patches"]]
    return [
        step
        for name in files
        for step in yaml.safe_load((folder / name).read_text(encoding="utf-8"))
    ]
