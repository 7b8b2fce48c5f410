"""The figures of a job are those of its plan, whoever asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from spectro.config import PipelineConfig
from spectro.planning.config import Assumptions
from spectro.planning.device_costs import Device
from spectro.planning.job_estimate import estimate_job
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.planning.plan import make_plan
from spectro.planning.rates import file_of_rates, load_rates

MakeConfig = Callable[..., PipelineConfig]
H200 = "h200-assumed"


def test_a_job_needs_what_its_plan_says(make_config: MakeConfig) -> None:
    config, rates = make_config(), load_rates(file_of_rates(H200))
    device = Device(rates=rates, precision="float32", num_devices=3)
    plan = make_plan(config, size_of_checkpoint(config.model), device, Assumptions())
    found = estimate_job(config, H200, 3)
    assert found.gpu_hours == pytest.approx(plan.device_seconds / 3600)
    assert found.finish_hours == pytest.approx(plan.finish_seconds / 3600)
    assert found.device_bytes == max(stage.device_bytes for stage in plan.stages)
    assert found.gpu_memory_bytes == 141e9
    assert not found.measured


def test_cost_needs_a_price(make_config: MakeConfig) -> None:
    found = dataclasses.replace(estimate_job(make_config(), H200, 1), gpu_hours=12.5)
    assert found.cost(None) is None
    assert found.cost(4.0) == pytest.approx(50.0)
    assert "cost" not in found.lines()[0]
    assert "12 GPU-hours, cost 50 at 4 an hour" in found.lines(4.0)[0]


def test_products_of_the_run_decide_the_rates(make_config: MakeConfig) -> None:
    config = make_config()
    rounded = dataclasses.replace(config.model, precision="bfloat16")
    slow, fast = (
        estimate_job(c, H200, 1) for c in (config, dataclasses.replace(config, model=rounded))
    )
    assert fast.gpu_hours < slow.gpu_hours
