"""`spectro render` refuses a job that its deadline, its budget or its pods cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from jobs.manifests import built
from jobs.pods import enlarge_scratch, group_named
from jobs.render_checks import clusters_line, refuse_what_does_not_fit

Job = Callable[..., int]
URI = "run.uri=s3://bucket/run"


@dataclass(kw_only=True)
class Estimate:
    """A plan's figures, of which one is changed in each test."""

    gpu_hours: float = 100.0
    finish_hours: float = 10.0
    cluster_hours: float = 5.0
    cluster_cores: int = 15
    device_bytes: int = 100 * 10**9
    gpu_memory_bytes: float | None = 141e9
    host_bytes: int = 30 * 10**9
    cpu_worker_bytes: int = 20 * 10**9
    scratch_bytes: int = 80 * 10**9

    def cost(self, price: float | None) -> float | None:
        return None if price is None else self.gpu_hours * price


@dataclass(kw_only=True)
class Run:
    max_gpu_hours: float | None = None
    max_cost: float | None = None
    price_per_gpu_hour: float | None = None


@dataclass(kw_only=True)
class Config:
    run: Run


def compare(estimate: Estimate, kind: str = "pipeline", hours: float = 72.0, **run: Any) -> None:
    config = Config(run=Run(**run))
    refuse_what_does_not_fit(estimate, config, built("h200"), kind, hours)  # type: ignore[arg-type]


def test_what_fits_is_not_refused() -> None:
    compare(Estimate())
    compare(Estimate(), hours=15.0, max_gpu_hours=100, max_cost=300, price_per_gpu_hour=3)
    compare(Estimate(gpu_memory_bytes=None, device_bytes=10**13))  # rates of a CPU


REFUSED: list[tuple[Estimate, dict[str, Any], str]] = [
    (Estimate(), {"hours": 14.0}, "the plan takes 15.0 h, the deadline is 14 h"),
    (Estimate(), {"hours": 9.0, "kind": "sample"}, "the plan takes 10.0 h"),
    (Estimate(), {"hours": 4.0, "kind": "cluster"}, "the plan takes 5.0 h"),
    (Estimate(), {"max_gpu_hours": 99}, "takes 100 GPU-hours, run.max_gpu_hours is 99"),
    (Estimate(), {"max_cost": 299, "price_per_gpu_hour": 3}, "costs 300, run.max_cost is 299"),
    (Estimate(device_bytes=179 * 10**9), {}, "needs 179 GB on a card of 141 GB"),
    (Estimate(host_bytes=207 * 10**9), {}, "207 GB on its host, the pod has 206 GB for each GPU"),
    (Estimate(cpu_worker_bytes=108 * 10**9), {}, "108 GB on a machine, the pod has 107 GB"),
]


@pytest.mark.parametrize(("estimate", "given", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_what_does_not_fit_is_refused_with_both_figures(
    estimate: Estimate, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="renders without the plan") as error:
        compare(estimate, **given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_all_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"deadline.*card.*max_gpu_hours"):
        compare(Estimate(device_bytes=10**12), hours=1.0, max_gpu_hours=1)


def test_clusters_alone_are_held_to_no_gpu_budget() -> None:
    compare(Estimate(), kind="cluster", max_gpu_hours=1)
    assert "5.0 h on one machine of 15 cores" in clusters_line(Estimate())  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_bytes", "size"), [(10, "200Gi"), (300 * 2**30 + 1, "301Gi")])
def test_scratch_is_as_large_as_the_plan_says(num_bytes: float, size: str) -> None:
    job = built("h200")
    enlarge_scratch(job, num_bytes)
    group = group_named(job, "cpu-workers")
    assert group is not None
    claim = group["template"]["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]
    assert claim["spec"]["resources"]["requests"]["storage"] == size


@pytest.mark.slow
def test_the_published_job_is_compared_with_its_plan(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures on standard error, the manifest on standard output; a budget too small: one line."""
    given = ["experiment=pythia_1_4b_fast", URI, "render.workers=32"]
    assert job("render", *given) == 0
    shown = capsys.readouterr()
    assert "GPU-hours" in shown.err and "32 × NVIDIA H200" in shown.err
    assert yaml.safe_load(shown.out)["kind"] == "RayJob"
    assert job("render", *given, "run.max_gpu_hours=5") == 2
    shown = capsys.readouterr()
    assert "run.max_gpu_hours is 5" in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_without_rates_nothing_is_compared(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("render", URI, "render.rates=null", "run.max_gpu_hours=0.001") == 0
    assert "GPU-hours" not in capsys.readouterr().err
    assert job("render", "render.overlay=local-cpu", "run.uri=/runs/a") == 0
    assert "no rates of local-cpu: not compared" in capsys.readouterr().err
