"""The checks of `make gpu` on the pretended device: they pass there, and see what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from benchmarks import gpu_checks
from benchmarks.gpu_checks import CHECKS, Setup
from spectro.models import precision
from spectro.models.cost import budget
from spectro.sampling.keys import KeyedRandomness
from tests.device.pretended_device import pretended_cuda

SETUP = Setup(device="cuda", quick=True)


def on_device(check: str) -> dict[str, Any]:
    with (
        mock.patch.object(gpu_checks, "WORKSPACE", 0),  # no library of the device takes any
        pretended_cuda(),
    ):
        return CHECKS[check](SETUP)


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_passes_on_the_pretended_device(check: str) -> None:
    found = on_device(check)
    assert found["ok"], found
    if check == "memory":
        assert all(row["used_bytes"] > 0 for row in found["rows"])
    if check == "halving":
        assert found["rows_after"] < found["rows"]


def test_products_that_round_too_much_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of float32's products in bfloat16, as a wrong switch would give them."""
    right = torch.nn.functional.linear

    def rounded(states: Tensor, *rest: Tensor) -> Tensor:
        found = right(states, *rest)
        return found.bfloat16().to(found.dtype) if states.is_cuda else found

    monkeypatch.setattr(precision.functional, "linear", rounded)
    for check in ("arithmetic", "gradients"):
        found = on_device(check)
        bad = {row.get("precision") for row in found["rows"] if not row["ok"]}
        assert "float32" in bad and not found["ok"]


def test_noise_without_its_key_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(
        self: KeyedRandomness, component: str, chain: int, step: int, like: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {name: torch.randn_like(tensor) for name, tensor in like.items()}

    monkeypatch.setattr(KeyedRandomness, "noise", anew)
    assert not on_device("noise")["ok"] and not on_device("determinism")["ok"]


def test_a_plan_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = gpu_checks.step_bytes
    monkeypatch.setattr(gpu_checks, "step_bytes", lambda *call: 2 * planned(*call))
    bad = [row["call"] for row in on_device("memory")["rows"] if not row["ok"]]
    assert bad == ["step embed", "step l1", "step unembed", "step full"]


def test_budgets_that_are_not_halved_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_out_of_memory", lambda error: False)
    with pytest.raises(torch.OutOfMemoryError):
        on_device("halving")


def test_a_cpu_has_no_memory_to_check() -> None:
    on_cpu = dataclasses.replace(SETUP, device="cpu")
    assert "skipped" in CHECKS["memory"](on_cpu) and "skipped" in CHECKS["halving"](on_cpu)
