"""A model that one GPU does not hold is refused with the figure: by the plan, and by a worker
before it reads the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from spectro.measure import resident_model
from spectro.measure.resident_model import ResidentModel
from spectro.models.cost.memory import require_fits, resident_bytes
from spectro.models.size import ModelSize
from spectro.pipeline.preflight import load_described
from spectro.planning.model_sizes import published_sizes
from spectro.planning.rates import RATES_FOLDER
from tests.device.pretended_device import pretended_cuda

SIZE = ModelSize(num_layers=32, num_heads=32, hidden_size=4096, vocab_size=50432)


def test_the_weights_and_one_pass_must_fit() -> None:
    require_fits(SIZE, 4, 1024, 80e9, "cuda:0")
    with pytest.raises(ValueError, match=r"takes 27\.4 GB and a pass .* cuda:0 has 24\.0 GB") as it:
        require_fits(SIZE, 4, 1024, 24e9, "cuda:0")
    assert "\n" not in str(it.value) and "tf32" not in str(it.value)
    with pytest.raises(ValueError, match=r"takes 41\.1 GB .* tf32 products"):
        require_fits(SIZE, 2, 1024, 40e9, "cuda:0")
    exactly = resident_bytes(SIZE)
    with pytest.raises(ValueError, match="does not fit"):
        require_fits(SIZE, 4, 1024, exactly, "cuda:0")  # no room for a pass


def test_a_plan_refuses_it(
    tmp_path: Path, job: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rates = yaml.safe_load((RATES_FOLDER / "h200-assumed.yaml").read_text())
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump({**rates, "device": "a small card", "memory_bytes": 4e9}))
    size = published_sizes()["pythia-1.4b"]
    assert resident_bytes(size, 2) > 4e9
    asked = ("experiment=pythia_1_4b_fast", f"plan.rates={small}")
    assert job("plan", *asked) == 2
    said = capsys.readouterr().err
    assert "the model does not fit one GPU" in said and "a small card has 4.0 GB" in said


@pytest.mark.parametrize(("card_bytes", "fits"), [(10**4, False), (10**9, True)])
def test_a_worker_refuses_it_before_it_reads_the_weights(
    make_config: Callable[..., Any], card_bytes: int, fits: bool
) -> None:
    config = make_config()
    model = dataclasses.replace(config.model, device="cuda")
    resident = ResidentModel(dataclasses.replace(config, model=model))
    read = mock.Mock(wraps=resident_model.load_model)
    with pretended_cuda(card_bytes), mock.patch.object(resident_model, "load_model", read):
        if fits:
            assert load_described(resident).device == "cuda:0"
        else:
            with pytest.raises(ValueError, match=r"does not fit one GPU: .* cuda has 0\.0 GB"):
                load_described(resident)
    assert read.called is fits
