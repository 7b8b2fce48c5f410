"""Dashboard, alerts and the pods that are scraped name what exists."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml
from test_manifests import kustomized

from jobs.manifests import K8S, built, pod_templates
from spectro.work import metrics
from spectro.work.outcome import UnitResult

FOLDER = K8S / "monitoring"
POD_MONITOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["selector", "podMetricsEndpoints"],
    "properties": {
        "selector": {"type": "object"},
        "podTargetLabels": {"type": "array", "items": {"type": "string"}},
        "podMetricsEndpoints": {
            "type": "array",
            "items": {
                "additionalProperties": False,
                "properties": {"port": {"type": "string"}, "interval": {"pattern": r"^\d+s$"}},
            },
        },
    },
}
RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["alert", "expr", "annotations"],
    "properties": {
        "alert": {"type": "string"},
        "expr": {"type": "string"},
        "for": {"pattern": r"^\d+[smhd]$"},
        "labels": {"type": "object"},
        "annotations": {"type": "object", "required": ["summary"]},
    },
}
"""What is used of the Prometheus operator's kinds (monitoring.coreos.com/v1), closed."""


def expressions() -> list[str]:
    board = json.loads((FOLDER / "spectro.json").read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in rules())]


def rules() -> list[dict[str, object]]:
    [group] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
    found: list[dict[str, object]] = group["rules"]
    return found


def test_every_metric_of_dashboard_and_alerts_exists() -> None:
    named = set(re.findall(r"ray_(spectro_\w+)", " ".join(expressions())))
    assert named >= {"spectro_work_share", "spectro_gpus", "spectro_units_undone"}
    assert named <= set(re.findall(r"spectro_\w+", str(metrics.__doc__)))


def test_fates_in_expressions_are_fates() -> None:
    fates = {f for text in expressions() for f in re.findall(r'fate=~"([^"]*)"', text)}
    assert {fate for text in fates for fate in text.split("|")} <= {str(r) for r in UnitResult}


def test_the_kinds_have_the_fields_that_the_operator_knows() -> None:
    documents = {d["kind"]: d for d in kustomized(FOLDER)}
    assert set(documents) == {"PodMonitor", "PrometheusRule", "ConfigMap"}
    jsonschema.validate(documents["PodMonitor"]["spec"], POD_MONITOR)
    for rule in rules():
        jsonschema.validate(rule, RULE)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(rule | {"expression": "1"}, RULE)
    board = json.loads(documents["ConfigMap"]["data"]["spectro.json"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_monitor_finds_the_port_of_head_and_workers() -> None:
    monitor = yaml.safe_load((FOLDER / "pods.yaml").read_text())["spec"]
    [endpoint] = monitor["podMetricsEndpoints"]
    _, *in_cluster = pod_templates(built("h200"))
    for template in in_cluster:
        labels = template["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        ports = template["spec"]["containers"][0]["ports"]
        assert endpoint["port"] in [port["name"] for port in ports]
