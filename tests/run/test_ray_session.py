"""The Ray that a run starts for itself: where it listens, and what it serves to Prometheus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OFTEN = {"RAY_metrics_report_interval_ms": "500"}
"""Numbers travel every ten seconds otherwise."""
NOWHERE = "http://127.0.0.1:9"
ELSEWHERE = {
    "RAY_ADDRESS": "127.0.0.1:1", "RAY_NAMESPACE": "x", "RAY_RUNTIME_ENV_HOOK": "no.such.hook",
    "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"code_search_path": 1}', "RAY_TMPDIR": "/no/such/folder",
    "RAY_REDIS_ADDRESS": "127.0.0.1:1", "RAY_USE_TLS": "1", "RAY_AUTH_MODE": "token",
    "HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE, "https_proxy": NOWHERE, "ALL_PROXY": NOWHERE,
}  # fmt: skip
"""Of clusters and proxies that are not there; a run with a Ray of its own needs none of them."""
PROGRAM = """
import jobs  # as every command does, before Ray is imported
import os, time, urllib.request, ray
from spectro.work.config import RunConfig
from spectro.work.metrics import Metrics
from spectro.work.outcome import WorkerCounts, UnitResult, Outcome
from spectro.work.ray_session import ray_session
from spectro.formats.sessions import StageCount
with ray_session(RunConfig(uri="runs/x", num_workers=1)):
    node, = ray.nodes()
    print(node["NodeManagerAddress"], ray.get_runtime_context().namespace != "x")
    metrics = Metrics("runs/x")
    count = StageCount(units=9, done=4, cost=9.0, done_cost=4.5, seconds=1.0)
    metrics.state(WorkerCounts(num_workers=3, num_starting=0, worker_seconds=5.0), {"tiles": count})
    metrics.undone(Outcome(unit_id="a", result=UnitResult.CRASHED))
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    text = ""
    for _ in range(120):
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        if "spectro_units_undone" in text and "spectro_work_share" in text:
            break
        time.sleep(0.5)
    for line in text.splitlines():
        if line.startswith("ray_spectro"):
            name, _, rest = line.partition("{")
            tags = [t for t in rest.split(",") if t.startswith(("run=", "stage", "state", "fate"))]
            print(name, *sorted(t.partition("}")[0] for t in tags), line.split()[-1])
"""


def test_it_listens_on_this_machine_alone_and_serves_the_runs_numbers(tmp_path: Path) -> None:
    """In an environment of other clusters, dead proxies and a TMPDIR too long for sockets."""
    folder = tmp_path / ("it's #1 = é $x [a] " * 8)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **OFTEN, **ELSEWHERE, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "127.0.0.1 True" in lines
    metrics = lines[lines.index("127.0.0.1 True") :]
    assert list(folder.iterdir()) == []
    assert {
        'ray_spectro_units run="runs/x" stage="tiles" state="done" 4.0',
        'ray_spectro_units run="runs/x" stage="tiles" state="left" 5.0',
        'ray_spectro_work_share run="runs/x" stage="tiles" 0.5',
        'ray_spectro_workers run="runs/x" 3.0',
    } <= set(metrics)
    assert any("undone" in line and 'fate="crashed"' in line for line in metrics)
