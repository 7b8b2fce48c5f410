"""How near to a large matrix product does the engine run? Scoring and stepping, by component kind.

    python -m benchmarks.roofline --shape 14m --out benchmarks/results
    python -m benchmarks.roofline --shape 1.4b --device cuda --precision bfloat16 --out …

Counted flops over seconds, as a fraction of a square product's in the same precision, measured
in turn with them in one run. Scoring is `losses` of one component without gradient, its draws
stacked until a pass is full; stepping is `prepare`, `losses` and the gradient of a whole group,
as a chain does it. The operations that took the time stand in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import common, meter, shapes
from spectro.models.architecture import GroupModel, Weights
from spectro.models.components import FULL_GROUP, Group
from spectro.models.config import Precision
from spectro.models.cost.rows import scoring_budget
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.models.precision import multiply

PRODUCT = "matrix product"
DISPLACEMENT = 300**-0.5
"""A draw at nβ = 0, γ = 300, per weight."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to time."""

    name: str
    run: Callable[[], Any]
    rows: int
    """Token positions × draws."""
    calls: int = 1
    """Calls per timing, so that a timing is not too short."""


def product_case(size: int, precision: Precision, device: str) -> Case:
    """The reference: a square product, for bfloat16 with a result of that type, the fastest."""
    dtype = torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    if precision is Precision.TF32:
        return Case(name=PRODUCT, run=lambda: multiply(left, right, precision), rows=size)
    return Case(name=PRODUCT, run=lambda: torch.mm(left, right, out=out), rows=size)


def rows_of(resident: GPTNeoX) -> int:
    """Of a scoring pass, as a run's worker sizes it."""
    return scoring_budget(resident).rows


def cases_of(resident: GPTNeoX, ids_BT1: Tensor, rows: int) -> list[Case]:
    """Scoring of one component of every kind, and stepping of every kind of group."""
    shape = resident.shape
    middle = shape.num_layers // 2
    names = [f"l{middle}*", "embed", "unembed"]
    groups = (*shape.groups(names, with_full=False), FULL_GROUP)
    found = []
    for group in groups:
        found += _scoring(resident, group, ids_BT1, rows)
        found.append(_stepping(resident, group, ids_BT1))
    return found


def _scoring(resident: GPTNeoX, group: Group, ids_BT1: Tensor, rows: int) -> list[Case]:
    part = group_model(resident, group)
    positions = ids_BT1[:, 1:].numel()
    found = []
    for name in part.names:
        is_head = "h" in name and name[0] == "l"
        if is_head and not name.endswith("h0"):
            continue
        draws = 1 if name == "full" else max(1, rows // positions)
        found.append(_score_case(part, name, ids_BT1, draws, positions))
    return found


def _score_case(
    part: GroupModel[Any], name: str, ids_BT1: Tensor, draws: int, positions: int
) -> Case:
    with torch.no_grad():
        clean = part.prepare(ids_BT1)
    displaced = _displaced(part.weights(name), draws)

    @torch.no_grad()
    def score() -> Any:
        return part.losses(clean, {name: displaced})

    return Case(name=f"score {name}", run=score, rows=draws * positions)


def _stepping(resident: GPTNeoX, group: Group, ids_BT1: Tensor) -> Case:
    part = group_model(resident, group)
    displaced = {name: _displaced(part.weights(name), 1) for name in part.names}
    leaves = [t.requires_grad_() for blocks in displaced.values() for t in blocks.values()]

    def step() -> Any:
        with torch.no_grad():
            clean = part.prepare(ids_BT1)
        means = [loss.mean() for loss in part.losses(clean, displaced).values()]
        return torch.autograd.grad(torch.stack(means).sum(), leaves)

    rows = len(part.names) * ids_BT1[:, 1:].numel()
    return Case(name=f"step {group.name}", run=step, rows=rows)


def _displaced(weights: Weights, draws: int) -> Weights:
    return {
        block: (weight + DISPLACEMENT * torch.randn_like(weight.expand(draws, *weight.shape)))
        for block, weight in weights.items()
    }


def measure(cases: Sequence[Case], rounds: int, device: str) -> dict[str, Any]:
    """Flops per second of every case and its fraction of the matrix product, round by round."""
    flops = {case.name: _flops(case) for case in cases}
    sides = {case.name: lambda case=case: _seconds(case, device) for case in cases}
    seconds = common.alternate(sides, rounds)
    rates = {name: [flops[name] / s for s in found] for name, found in seconds.items()}
    return {
        case.name: {
            "rows": case.rows,
            "flops": flops[case.name],
            "seconds": seconds[case.name],
            "tflops_per_second": [rate / 1e12 for rate in rates[case.name]],
            "of_matrix_product": common.ratio(rates[case.name], rates[PRODUCT]),
            "profile": meter.top_operations(case.run, device),
        }
        for case in cases
    }


def _flops(case: Case) -> float:
    return sum(meter.count_flops(lambda _: case.run()).values())


def _seconds(case: Case, device: str) -> float:
    read = meter.seconds_reader(device)
    start = read()
    for _ in range(case.calls):
        case.run()
    return (read() - start) / case.calls


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    found = common.parser(__doc__, shapes.NAMES)
    found.add_argument("--precision", choices=[p.value for p in Precision], default="float32")
    found.add_argument("--context", type=int, default=128)
    found.add_argument("--sequences", type=int, help="of a pass; by default a quarter of its rows")
    found.add_argument("--rows", type=int, help="positions × draws of a pass; default the engine's")
    found.add_argument("--product", type=int, help="size of the square product")
    options = common.parse(found, arguments)
    on_gpu = options.device == "cuda"
    context = 16 if options.toy else options.context
    size = options.product or (128 if options.toy else 8192 if on_gpu else 2048)
    precision = Precision(options.precision)
    model = shapes.model_of(options.shape, options.device)
    resident = GPTNeoX.from_pretrained_model(model, precision=precision)
    rows = options.rows or (64 if options.toy else rows_of(resident))
    num_seq = options.sequences or max(1, rows // (4 * context))
    ids = shapes.ids_of(
        model, options.shape, sampling=1, evaluation=1, probe=num_seq, context=context
    ).probe.to(options.device)
    cases = [product_case(size, precision, options.device), *cases_of(resident, ids, rows)]
    result = measure(cases, options.rounds, options.device)
    for name, case in result.items():
        rate = max(case["tflops_per_second"])
        print(common.show(f"{name:20} {rate:8.3f} TFLOP/s", case["of_matrix_product"]))
    common.write(
        f"roofline-{options.shape}-{options.precision}",
        options,
        {
            "question": "flops per second of scoring and stepping over those of a matrix product",
            "rows": rows,
            "product_size": size,
            "context": context,
            "sequences": num_seq,
            "cases": result,
        },
    )


if __name__ == "__main__":
    main()
