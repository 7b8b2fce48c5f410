"""Whether a device computes what a CPU does: arithmetic, noise, determinism, memory, halving.

Every check returns its figures, `ok` among them. Nothing here knows that the device is CUDA but
`memory` and `halving`, which ask its allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import precision, shapes
from spectro.models.components import FULL, FULL_GROUP, Component, Group
from spectro.models.config import ModelConfig, Precision
from spectro.models.cost.budget import RowBudget, fit
from spectro.models.delta import DrawSlice, pack_losses
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.load import load_model
from spectro.models.scoring import Scoring
from spectro.planning.call_memory import CallShape, scoring_bytes, step_bytes
from spectro.planning.model_sizes import size_of_checkpoint
from spectro.sampling.advance import advance, start
from spectro.sampling.draws import gaussian_draws
from spectro.sampling.gradients import VocabularySample, minibatch_gradients
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.samplers import Exponential, Gaussian

MOST_TIMES_A_CPU = 3.0
"""Error on the device over that of a CPU in the same precision, both against float64: sums have
another order, and kernels round attention less or more (spectro/models/precision.py)."""
LEAST_ERROR = 1e-6
"""Relative errors below this are float32's and not compared."""
SAMPLED_ERROR = 1e-3
"""Of gradients by the sampled softmax, a CPU's in float32 being the reference: an entry whose
place in the cumulative probabilities is a rounding away may be another."""
MEMORY_FACTOR, WORKSPACE = 1.5, 2**27
"""Peaks over the plan's, and bytes that libraries take for themselves, at most."""
RANDOMNESS = KeyedRandomness(seed=0)
GAMMA = 300.0
SHIPPED_SIZE = size_of_checkpoint(ModelConfig())


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where and how long."""

    device: str
    quick: bool
    """Sizes at which a CPU ends in seconds."""

    @property
    def context(self) -> int:
        return 8 if self.quick else 128


def arithmetic(setup: Setup) -> dict[str, Any]:
    """Δℓ of draws of every kind of component in every precision, against float64 on a CPU."""
    ids, num_evaluation = precision.sequences("cpu", setup.context, 1)
    ways = {
        device: precision.load(device, ids[:num_evaluation].to(device))
        for device in ("cpu", setup.device)
    }
    truth_of = ways["cpu"][precision.TRUTH]
    rows = []
    for component in (*SHIPPED_SIZE.select(precision.COMPONENTS), FULL):
        draws = precision.displacements(truth_of[0], component, GAMMA, 2 if setup.quick else 4)
        truth = precision.traces(truth_of, component, draws, ids)
        for name in precision.WAYS:
            errors = {
                device: _relative(
                    precision.traces(ways[device][name], component, draws, ids.to(device)), truth
                )
                for device in ways
            }
            rows.append({"component": component.name, "precision": name, **_compared(errors)})
    return _all_ok(rows)


def gradients(setup: Setup) -> dict[str, Any]:
    """Gradients of a minibatch in every precision, and by the sampled softmax."""
    ids, _ = precision.sequences("cpu", setup.context, 1)
    ids, rows = ids[: 2 if setup.quick else 8], []
    for group in SHIPPED_SIZE.groups(["embed", "l1*", "unembed"], with_full=False):
        truth = _gradient("cpu", None, group, ids)
        for kind in Precision:
            errors = {
                device: _relative(_gradient(device, kind, group, ids), truth)
                for device in ("cpu", setup.device)
            }
            rows.append({"group": group.name, "precision": str(kind), **_compared(errors)})
        if group.name != "unembed":
            own, theirs = (
                _gradient(device, Precision.FLOAT32, group, ids, sample=128)
                for device in (setup.device, "cpu")
            )
            error = _relative(own, theirs)
            rows.append({"group": group.name, "sampled": error, "ok": error < SAMPLED_ERROR})
    return _all_ok(rows)


def noise(setup: Setup) -> dict[str, Any]:
    """Keyed noise: the same numbers for a key whatever came between, others for another key."""
    like = {"b": torch.empty(257, 129, device=setup.device), "a": torch.empty(63, device="cpu")}
    like["a"] = like["a"].to(setup.device)

    def drawn(component: str, chain: int, step: int) -> Tensor:
        return RANDOMNESS.noise(component, chain, step, like)["b"].double().flatten().cpu()

    first = drawn("l0h0", 0, 0)
    others = {key: drawn(*key) for key in (("l0h1", 0, 0), ("l0h0", 1, 0), ("l0h0", 0, 1))}
    limit = 5 / len(first) ** 0.5
    correlations = {str(key): float(np.corrcoef(first, own)[0, 1]) for key, own in others.items()}
    found = {
        "again": bool(torch.equal(first, drawn("l0h0", 0, 0))),
        "mean": float(first.mean()),
        "variance": float(first.var()),
        "correlations": correlations,
    }
    near = abs(found["mean"]) < limit and abs(found["variance"] - 1) < 2 * limit
    apart = all(abs(r) < limit for r in correlations.values())
    return {**found, "ok": found["again"] and near and apart}


def determinism(setup: Setup) -> dict[str, Any]:
    """Scoring twice and stepping twice: the same bits. Where a step has others, the figures say by
    how much, and whether torch's deterministic kernels have not."""
    model = _small_model(setup)
    ids = torch.randint(model.shape.vocab_size, (4, setup.context + 1), device=setup.device)
    rows = []
    for group in _groups(model):
        score = [_scored(model, group, ids, RowBudget(rows=2**13)) for _ in range(2)]
        steps = [_stepped(model, group, ids) for _ in range(2)]
        row = {
            "group": group.name,
            "scoring": bool(torch.equal(*score)),
            "stepping": bool(torch.equal(*steps)),
            "stepping_difference": float((steps[0] - steps[1]).abs().max()),
        }
        if not row["stepping"]:
            row["with_deterministic_kernels"] = _same_bits_by_deterministic_kernels(
                partial(_stepped, model, group, ids)
            )
        rows.append({**row, "ok": row["scoring"] and row["stepping"]})
    return _all_ok(rows)


def memory(setup: Setup) -> dict[str, Any]:
    """Peaks of scoring and of a step against the plan's."""
    if setup.device != "cuda":
        return {"skipped": "a CPU has no count of its peak"}
    model = _small_model(setup)
    ids = torch.randint(model.shape.vocab_size, (4, setup.context + 1), device=setup.device)
    budget, rows = 8 * setup.context, []
    call = CallShape(size=model.shape, device_type="cuda", context=setup.context, rows=budget)
    for group in _groups(model):
        component = group.components[-1]
        alone = Group(name=group.name, components=(component,))
        one = partial(_scored, model, alone, ids, RowBudget(rows=budget))
        planned = scoring_bytes(call, component, len(ids), num_draws=8)
        rows.append({"call": f"score {component.name}", **_peaks(_peak(one), planned)})
        step = partial(_stepped, model, group, ids, RowBudget(rows=budget))
        planned = step_bytes(call, group.components, Exponential(), len(ids))
        rows.append({"call": f"step {group.name}", **_peaks(_peak(step), planned)})
    return _all_ok(rows)


def halving(setup: Setup) -> dict[str, Any]:
    """The process is left a third of what a pass takes: batches are halved, and results stay."""
    if setup.device != "cuda":
        return {"skipped": "memory of a CPU's process is not limited"}
    model = _small_model(setup)
    num_seq = 4 if setup.quick else 64
    ids = torch.randint(model.shape.vocab_size, (num_seq, setup.context + 1), device="cuda")
    group, rows = _groups(model)[1], 8 * num_seq * setup.context
    whole = _scored(model, group, ids, RowBudget(rows=rows))  # libraries take their workspaces
    before = torch.cuda.memory_allocated()
    needed = _peak(lambda: _scored(model, group, ids, RowBudget(rows=rows)))
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    budget = RowBudget(rows=rows)
    torch.cuda.set_per_process_memory_fraction((before + needed / 3) / total)
    try:
        halved = fit(budget, lambda: _scored(model, group, ids, budget))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    difference = float((whole - halved).abs().max())
    figures = {"rows": rows, "rows_after": budget.rows, "difference": difference}
    return {**figures, "ok": budget.rows < rows and difference < 1e-4}


CHECKS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "arithmetic": arithmetic,
    "gradients": gradients,
    "noise": noise,
    "determinism": determinism,
    "memory": memory,
    "halving": halving,
}


def _small_model(setup: Setup) -> GPTNeoX:
    shape = "toy" if setup.quick else "14m"
    return GPTNeoX.from_pretrained_model(shapes.model_of(shape, setup.device))


def _groups(model: GPTNeoX) -> tuple[Group, ...]:
    size = model.shape
    return (*size.groups(["embed", "l1*", "unembed"], with_full=False), FULL_GROUP)


def _gradient(
    device: str, kind: Precision | None, group: Group, ids: Tensor, sample: int = 0
) -> np.ndarray[Any, Any]:
    """Gradients of all components of a group at Gaussian draws, as one array; None: float64."""
    dtype = "float64" if kind is None else "float32"
    hf = load_model(ModelConfig(name_or_path="embedded", device=device, dtype=dtype))
    model = GPTNeoX.from_pretrained_model(hf, kind or Precision.FLOAT32)
    part = group_model(model, group)
    where = {c.name: [_displacement(model, c)] for c in group.components}
    drawn = None
    if sample:
        softmax = model.sampled_softmax(sample)
        assert softmax is not None
        drawn = VocabularySample(softmax, [[0.5] * len(ids)])
    _, found = minibatch_gradients(part, where, ids.to(device)[None], sample=drawn)
    parts = [g.double().flatten().cpu() for own in found.values() for g in own.values()]
    return torch.cat(parts).numpy()


def _displacement(model: GPTNeoX, component: Component) -> dict[str, Tensor]:
    draws = precision.displacements(model, component, GAMMA, 1)
    like = model.params[model.unembed_name]
    return {block: own[0].to(like) for block, own in draws.items()}


@torch.no_grad()
def _scored(model: GPTNeoX, group: Group, ids: Tensor, budget: RowBudget) -> Tensor:
    """Δℓ of 8 draws of every component of a group, on the host."""
    part = group_model(model, group)
    weights = {name: part.weights(name) for name in part.names}
    draws = gaussian_draws(weights, Gaussian(gamma=GAMMA), 0, RANDOMNESS)
    wanted = [DrawSlice(0, name, slice(0, 8)) for name in part.names]
    packs = pack_losses(part, ids, {0: draws}, wanted, Scoring(budget=budget))
    return torch.cat([delta.cpu() for pack in packs for _, delta in pack])


def _stepped(model: GPTNeoX, group: Group, ids: Tensor, budget: RowBudget | None = None) -> Tensor:
    """Displacements of all components of a group after a step, on the host."""
    part, rule = group_model(model, group), Exponential(gamma=GAMMA)
    states = {
        name: {0: start(rule, part.weights(name), name, 0, RANDOMNESS)} for name in part.names
    }
    states, _ = advance(
        part, dict.fromkeys(part.names, rule), states, ids[None], 0, RANDOMNESS,
        adjusted=dict.fromkeys(part.names, True), budget=budget,
    )  # fmt: skip
    blocks = [own[0].displacement for own in states.values()]
    return torch.cat([t.flatten().cpu() for own in blocks for t in own.values()])


def _same_bits_by_deterministic_kernels(call: Callable[[], Tensor]) -> bool | str:
    """Whether torch's setting makes two calls the same; its message where it has no kernel."""
    torch.use_deterministic_algorithms(True)
    try:
        return bool(torch.equal(call(), call()))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.use_deterministic_algorithms(False)


def _peak(call: Callable[[], Any]) -> int:
    """Bytes that a call holds beside what was there."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return int(torch.cuda.max_memory_allocated()) - before


def _peaks(used: int, planned: int) -> dict[str, Any]:
    ok = planned / MEMORY_FACTOR - WORKSPACE <= used <= planned * MEMORY_FACTOR + WORKSPACE
    return {"used_bytes": used, "planned_bytes": planned, "ok": ok}


def _compared(errors: Mapping[str, float]) -> dict[str, Any]:
    """The device's error beside the CPU's, which is first; they are the same where it is one."""
    on_cpu, on_device = errors["cpu"], list(errors.values())[-1]
    limit = max(MOST_TIMES_A_CPU * on_cpu, LEAST_ERROR)
    return {"error": on_device, "error_on_cpu": on_cpu, "ok": on_device <= limit}


def _relative(found: Any, truth: Any) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def _all_ok(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": rows, "ok": all(row["ok"] for row in rows)}
