"""A stored run on the pretended device: what it stores is what a CPU's run stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectro.formats.product import read_product
from spectro.pipeline.run import Goal, run_pipeline
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Psgld
from spectro.storage.store import Store
from spectro.work.progress import Progress
from tests.device.measured import cuda_sizes_on_cpu
from tests.device.pretended_device import pretended_cuda

SAMPLERS: list[Sampler] = [Psgld(step_size=1e-3), Reweighted()]
MOVED_BY = {
    "formats/draws.py", "measure/tiles.py", "models/consistency.py", "models/groups.py",
    "models/load.py", "models/token_ids.py", "models/token_loss.py", "sampling/chain_batch.py",
    "sampling/component_trace.py", "sampling/evaluate.py", "susceptibility/measurement.py",
    "susceptibility/score.py", "work/model_info.py",
}  # fmt: skip
"""Files that move tensors, or read them: loading, digests of the weights, stored draws, and those
of test_engine_on_device.py."""


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["psgld", "reweighted"])
def test_a_run_stores_what_a_cpus_run_stores(
    make_config: Callable[..., Any], tmp_path: Path, sampler: Sampler
) -> None:
    on_cpu = make_config(tmp_path / "cpu", sampler=sampler)
    with cuda_sizes_on_cpu():
        run_pipeline(on_cpu, Progress(), goal=Goal.SAMPLE)
    on_device = dataclasses.replace(
        on_cpu,
        model=dataclasses.replace(on_cpu.model, device="cuda"),
        run=dataclasses.replace(on_cpu.run, uri=str(tmp_path / "cuda")),
    )
    with pretended_cuda() as card:
        run_pipeline(on_device, Progress(), goal=Goal.SAMPLE)
    found, expected = (read_product(Store(str(tmp_path / name))) for name in ("cuda", "cpu"))
    assert np.array_equal(found.chi_NH, expected.chi_NH)
    assert found.table.equals(expected.table)
    assert {name.split(" ")[-2] for name in card.moves} <= MOVED_BY
